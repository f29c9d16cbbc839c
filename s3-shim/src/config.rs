//! What an operator may choose about the S3 door; names are those of Swift's s3api where it has them.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// The region that signatures must name.
    pub location: String,
    /// Host names under which `bucket.host` is a bucket; a port is not part of them.
    pub storage_domain: Vec<String>,
    /// Whether access lists are S3's own, kept with buckets and objects. Without them Swift's container ACLs rule.
    pub s3_acl: bool,
    /// Whether users see only their own buckets in the list of buckets. Without `s3_acl` it changes nothing.
    pub check_bucket_owner: bool,
    /// Origins whose browsers may send signed requests; `*` is all, none is none.
    pub cors_preflight_allow_origin: Vec<String>,
    /// Most parts of one upload.
    pub max_upload_part_num: u32,
    /// Smallest part but the last, in bytes.
    pub min_segment_size: u64,
    /// Largest object one request may store or copy, in bytes.
    pub max_put_bytes: u64,
    /// Largest page of a listing of a bucket.
    pub max_bucket_listing: usize,
    /// Largest page of a listing of uploads or parts.
    pub max_parts_listing: usize,
    /// Most objects one DeleteObjects may name.
    pub max_multi_delete_objects: usize,
    /// Objects that one DeleteObjects deletes at the same time.
    pub multi_delete_concurrency: usize,
    /// Largest XML document taken from a client, in bytes.
    pub max_document_bytes: usize,
    /// Longest key, in bytes of UTF-8.
    pub max_key_bytes: usize,
    /// How long a completion may take before white space is sent to keep the connection alive, in milliseconds.
    pub keep_alive_ms: u64,
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            location: "us-east-1".to_owned(),
            storage_domain: Vec::new(),
            s3_acl: false,
            check_bucket_owner: false,
            cors_preflight_allow_origin: Vec::new(),
            max_upload_part_num: 10_000,
            min_segment_size: 5 * 1024 * 1024,
            max_put_bytes: 5 * 1024 * 1024 * 1024,
            max_bucket_listing: 1_000,
            max_parts_listing: 1_000,
            max_multi_delete_objects: 1_000,
            multi_delete_concurrency: 8,
            max_document_bytes: 4 * 1024 * 1024,
            max_key_bytes: 1_024,
            keep_alive_ms: 5_000,
        }
    }
}

impl S3Config {
    /// The door's section of `/info`.
    pub fn info(&self) -> serde_json::Value {
        serde_json::json!({
            "allow_multipart_uploads": true,
            "max_bucket_listing": self.max_bucket_listing,
            "max_multi_delete_objects": self.max_multi_delete_objects,
            "max_parts_listing": self.max_parts_listing,
            "max_upload_part_num": self.max_upload_part_num,
            "min_segment_size": self.min_segment_size,
            "s3_acl": self.s3_acl,
        })
    }
}
