//! The steps of the pipeline; their order, and why, stands in `pipeline.rs`.

pub mod accept;
pub mod answer;
pub mod catch_errors;
pub mod copy;
pub mod cors;
pub mod dispatch;
pub mod dlo;
pub mod domain_remap;
pub mod etag_quoter;
pub mod gatekeeper;
pub mod healthcheck;
pub mod heartbeat;
pub mod info;
pub mod listing_formats;
pub mod listing_page;
pub mod logging;
pub mod paths;
pub mod report;
pub mod s3;
pub mod s3_segments;
pub mod segments;
pub mod slo;
pub mod symlink;
pub mod tempauth;
pub mod tempurl;
pub mod versioned_writes;
