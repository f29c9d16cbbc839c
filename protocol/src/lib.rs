//! The words every room shares: names, timestamps, headers, limits, ranges, conditions, records. Pure: no I/O, no clock.

pub mod conditions;
pub mod date;
pub mod hash;
pub mod header;
pub mod identity;
pub mod limits;
pub mod listing;
pub mod name;
pub mod packed;
pub mod percent;
pub mod policy;
pub mod query;
pub mod range;
pub mod record;
pub mod row;
pub mod rows;
pub mod sync;
pub mod timestamp;
pub mod update;
pub mod version;
