//! The devices of a node, those that are mounted and those that are not.

use crate::config::DeviceConfig;
use crate::device::Device;
use crate::error::Unavailable;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const IN_DOUBT: &str = "it was away while deletions were forgotten, and is being compared";

/// Every device that the configuration names. Clones share them.
#[derive(Clone, Debug)]
pub struct DeviceSet(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    name: String,
    config: DeviceConfig,
    state: Result<Device, String>,
}

impl DeviceSet {
    /// Opens what is mounted; the rest is remembered with the reason why not. Blocks.
    pub fn new(devices: Vec<(String, DeviceConfig)>) -> DeviceSet {
        let open = |(name, config): (String, DeviceConfig)| {
            let state = open(&name, &config);
            Entry { name, config, state }
        };
        DeviceSet(Arc::new(Mutex::new(devices.into_iter().map(open).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open device of this name.
    pub fn get(&self, name: &str) -> Result<Device, Unavailable> {
        let unavailable = |reason: &str| Unavailable {
            device: name.to_owned(),
            reason: reason.to_owned(),
        };
        match self.lock().iter().find(|entry| entry.name == name) {
            Some(entry) => match &entry.state {
                Ok(device) if device.is_in_doubt() => Err(unavailable(IN_DOUBT)),
                state => state.clone().map_err(|reason| unavailable(&reason)),
            },
            None => Err(unavailable("this node has no device of that name")),
        }
    }

    /// The open device of this name, also one that is in doubt: for those who settle the doubt.
    pub fn get_in_doubt(&self, name: &str) -> Option<Device> {
        let entries = self.lock();
        let entry = entries.iter().find(|entry| entry.name == name)?;
        entry.state.clone().ok()
    }

    /// Every device with its folder: open, or why not.
    pub fn states(&self) -> Vec<(String, PathBuf, Result<Device, String>)> {
        let state = |entry: &Entry| (entry.name.clone(), entry.config.path.clone(), entry.state.clone());
        self.lock().iter().map(state).collect()
    }

    /// All names, open or not.
    pub fn names(&self) -> Vec<String> {
        self.lock().iter().map(|entry| entry.name.clone()).collect()
    }

    /// The open devices, but for those in doubt.
    pub fn iter(&self) -> impl Iterator<Item = (String, Device)> {
        self.iter_all().filter(|(_, device)| !device.is_in_doubt())
    }

    /// The open devices, those in doubt too.
    pub fn iter_all(&self) -> impl Iterator<Item = (String, Device)> + use<> {
        let open = |entry: &Entry| Some((entry.name.clone(), entry.state.clone().ok()?));
        let all: Vec<_> = self.lock().iter().filter_map(open).collect();
        all.into_iter()
    }

    /// Tries again to open what is not open (a disk was mounted meanwhile); how many came. Each is shown to `admit`
    /// before anybody may use it. Blocks.
    pub fn reopen_missing(&self, admit: impl Fn(&Device)) -> usize {
        let missing = |entry: &Entry| {
            entry
                .state
                .is_err()
                .then(|| (entry.name.clone(), entry.config.clone()))
        };
        let missing: Vec<_> = self.lock().iter().filter_map(missing).collect();
        let mut opened = 0;
        for (name, config) in missing {
            // Opened outside the lock: others go on using their devices meanwhile.
            if let Ok(device) = Device::open(config) {
                admit(&device);
                let mut entries = self.lock();
                let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) else {
                    continue;
                };
                tracing::info!(device = name, "device is open again");
                entry.state = Ok(device);
                opened += 1;
            }
        }
        opened
    }

    /// Closes all devices, each after its queued commits.
    pub async fn close(&self) {
        for (_, device) in self.iter_all() {
            device.close().await;
        }
    }
}

fn open(name: &str, config: &DeviceConfig) -> Result<Device, String> {
    Device::open(config.clone()).map_err(|error| {
        tracing::error!(device = name, %error, "device is not available");
        error.to_string()
    })
}
