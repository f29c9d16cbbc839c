//! How operators name devices: `r1z2-10.0.0.1:6200R10.0.1.1:6300/sdb1_remarks`, whole to add one, in parts to find some.
//!
//! The forms are those of `swift-ring-builder`; see
//! <https://docs.openstack.org/swift/latest/admin_guide.html#managing-the-rings>.

mod add;
mod address;
mod change;
mod scan;
mod search;

pub use add::parse_device;
pub use address::{normalize_address, normalize_ip};
pub use change::DeviceChange;
pub use search::DeviceSearch;

use std::fmt;

/// What an operator wrote is not of the form it should have; the text says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError(pub String);

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SyntaxError {}
