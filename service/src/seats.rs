//! How many requests each device of a node may work on at once. Whoever finds no seat is sent away at once: it has other
//! devices to ask, and waiting would only make the queue longer.

use std::collections::HashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Seats of a node's devices.
pub struct DeviceSeats(HashMap<String, Semaphore>);

/// All seats of a device are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSeat;

impl DeviceSeats {
    /// So many for each device.
    pub fn new(devices: impl IntoIterator<Item = String>, count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        let seats = devices.into_iter().map(|name| (name, Semaphore::new(count)));
        DeviceSeats(seats.collect())
    }

    /// A seat of a device; `None` if it is none of this node's, which whoever looks for it will find out.
    pub fn take(&self, device: &str) -> Result<Option<SemaphorePermit<'_>>, NoSeat> {
        match self.0.get(device) {
            Some(seats) => seats.try_acquire().map(Some).map_err(|_| {
                metrics::counter!("martlet_shed_total", "what" => "device").increment(1);
                NoSeat
            }),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_own() {
        let seats = DeviceSeats::new(["a".to_owned(), "b".to_owned()], 1);
        let held = seats.take("a").unwrap();
        assert!(held.is_some());
        assert_eq!(seats.take("a").unwrap_err(), NoSeat);
        assert!(seats.take("b").unwrap().is_some());
        assert!(seats.take("c").unwrap().is_none());
        drop(held);
        assert!(seats.take("a").unwrap().is_some());
    }
}
