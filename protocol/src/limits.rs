//! Swift's constraints, with its names and defaults (`[swift-constraints]` of `swift.conf`); shown in `/info`.

use serde::{Deserialize, Serialize};

/// Sizes are bytes, lengths bytes of UTF-8, counts numbers of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_file_size: u64,
    pub max_meta_name_length: usize,
    pub max_meta_value_length: usize,
    pub max_meta_count: usize,
    pub max_meta_overall_size: usize,
    pub max_header_size: usize,
    pub max_object_name_length: usize,
    pub container_listing_limit: usize,
    pub account_listing_limit: usize,
    pub max_account_name_length: usize,
    pub max_container_name_length: usize,
    pub extra_header_count: usize,
}

/// Bytes that a name of the cluster's own (of a version, of an upload's part) may be longer than a client's.
const RESERVED_ROOM: usize = 128;

impl Limits {
    /// How long the name of an object in this container may be. The cluster's own names hold a client's and add to it.
    pub fn longest_object_name(&self, container: &str, object: &str) -> usize {
        let is_own = container.starts_with('\0') || object.starts_with('\0');
        self.max_object_name_length + if is_own { RESERVED_ROOM } else { 0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_file_size: 5_368_709_122,
            max_meta_name_length: 128,
            max_meta_value_length: 256,
            max_meta_count: 90,
            max_meta_overall_size: 4_096,
            max_header_size: 8_192,
            max_object_name_length: 1_024,
            container_listing_limit: 10_000,
            account_listing_limit: 10_000,
            max_account_name_length: 256,
            max_container_name_length: 256,
            extra_header_count: 0,
        }
    }
}
