//! The marker file that makes a directory a device: whose it is, and in which format. Without it nothing is written.

use crate::config::DeviceIdentity;
use crate::error::OpenError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Name of the marker in the device's directory.
const MARKER: &str = "martlet-device.json";
/// The format this program writes and reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Marker {
    cluster: String,
    device: String,
    format: u32,
}

/// The directories of a device.
pub(crate) struct Layout {
    pub(crate) index: PathBuf,
    pub(crate) bodies: PathBuf,
    pub(crate) incoming: PathBuf,
    pub(crate) quarantine: PathBuf,
}

impl Layout {
    pub(crate) fn of(device: &Path) -> Self {
        Layout {
            index: device.join("index"),
            bodies: device.join("bodies"),
            incoming: device.join("incoming"),
            quarantine: device.join("quarantine"),
        }
    }
}

/// Makes `path` a device of this identity. A device that already is one of this identity is left as it is.
pub(crate) fn format(path: &Path, identity: &DeviceIdentity) -> Result<(), OpenError> {
    match check(path, identity) {
        Ok(()) => return Ok(()),
        Err(OpenError::Missing(_)) => {}
        Err(other) => return Err(other),
    }
    let io = |error: std::io::Error| io_error(path, &error);
    fs::create_dir_all(path).map_err(io)?;
    let layout = Layout::of(path);
    for folder in [
        &layout.index,
        &layout.bodies,
        &layout.incoming,
        &layout.quarantine,
    ] {
        fs::create_dir_all(folder).map_err(io)?;
    }
    for first in 0..=255u8 {
        fs::create_dir_all(layout.bodies.join(format!("{first:02x}"))).map_err(io)?;
    }
    sync_folder(&layout.bodies).map_err(io)?;
    let marker = Marker {
        cluster: identity.cluster.clone(),
        device: identity.device.clone(),
        format: FORMAT,
    };
    let text = serde_json::to_vec_pretty(&marker).map_err(|error| OpenError::Marker {
        path: path.join(MARKER),
        reason: error.to_string(),
    })?;
    // The marker comes last and whole: a device whose formatting was cut short is not a device.
    let half_done = path.join(".martlet-device.json.new");
    let mut file = File::create(&half_done).map_err(io)?;
    file.write_all(&text).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&half_done, path.join(MARKER)).map_err(io)?;
    sync_folder(path).map_err(io)
}

/// The directory is a device of this identity, in a format this program reads.
pub(crate) fn check(path: &Path, identity: &DeviceIdentity) -> Result<(), OpenError> {
    let marker_path = path.join(MARKER);
    let text = match fs::read(&marker_path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(OpenError::Missing(path.to_owned()));
        }
        Err(error) => return Err(io_error(path, &error)),
    };
    let bad = |reason: String| OpenError::Marker {
        path: marker_path.clone(),
        reason,
    };
    let marker: Marker = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if marker.format != FORMAT {
        let reason = format!(
            "format {} is not the format {FORMAT} of this program",
            marker.format
        );
        return Err(bad(reason));
    }
    if marker.cluster != identity.cluster || marker.device != identity.device {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
            found: format!("device {} of cluster {}", marker.device, marker.cluster),
            expected: format!("device {} of cluster {}", identity.device, identity.cluster),
        });
    }
    Ok(())
}

/// Makes names in a directory durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn io_error(path: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
