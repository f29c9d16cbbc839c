//! Devices whose server is in this process.

use crate::Node;
use martlet_service::Handler;
use std::sync::{Arc, RwLock};

struct LocalDevice {
    device: String,
    ip: String,
    port: u16,
    handler: Arc<dyn Handler>,
}

impl LocalDevice {
    fn is(&self, device: &str, ip: &str, port: u16) -> bool {
        self.port == port && self.device == device && self.ip == ip
    }
}

/// A short list: a process serves a handful of devices, so looking through it beats hashing.
#[derive(Default)]
pub(crate) struct LocalDevices(RwLock<Vec<LocalDevice>>);

impl LocalDevices {
    pub fn register(&self, device: &str, ip: &str, port: u16, handler: Arc<dyn Handler>) {
        let mut list = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.retain(|known| !known.is(device, ip, port));
        list.push(LocalDevice {
            device: device.into(),
            ip: ip.into(),
            port,
            handler,
        });
    }

    pub fn unregister(&self, device: &str, ip: &str, port: u16) {
        let mut list = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.retain(|known| !known.is(device, ip, port));
    }

    pub fn find(&self, node: &Node) -> Option<Arc<dyn Handler>> {
        let list = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = list
            .iter()
            .find(|known| known.is(&node.device, &node.ip, node.port));
        found.map(|known| known.handler.clone())
    }
}
