//! A pass of a worker that goes over the devices of its node one after the other.

use martlet_storage::{Device, DeviceSet, StorageError};

/// What a pass did, on one device or on all.
pub trait Tally: Default + Send {
    /// Adds what it did on another device.
    fn add(&mut self, other: &Self);

    /// A device could not be gone through to its end.
    fn fail(&mut self);
}

/// Goes over one device.
pub trait Sweep: Sync {
    type Report: Tally;
    /// For the log: what of a device cannot be read when its pass breaks off.
    const UNREADABLE: &'static str;

    /// One device, by its name in the rings; what was done is in the report, however it ends.
    fn sweep(
        &self,
        name: &str,
        device: &Device,
        report: &mut Self::Report,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// Goes over every device; one that breaks off does not keep the others from their turn.
pub async fn over_devices<S: Sweep>(devices: &DeviceSet, sweep: &S) -> S::Report {
    let mut sum = S::Report::default();
    for (name, device) in devices.iter() {
        let mut report = S::Report::default();
        if let Err(error) = sweep.sweep(&name, &device, &mut report).await {
            tracing::error!(device = name, %error, "{} cannot be read", S::UNREADABLE);
            report.fail();
        }
        sum.add(&report);
    }
    sum
}
