//! `/info` of the dev cluster: the sections and fields that OpenStack Swift 2.38.3 shows with all of its middleware on.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use support::Cluster;
use support::http::request;

/// What Swift's `register_swift_info` calls give with its sample pipeline and every step switched on.
const SECTIONS: &[(&str, &[&str])] = &[
    ("account_quotas", &[]),
    ("bulk_delete", &["max_deletes_per_request", "max_failed_deletes"]),
    (
        "bulk_upload",
        &["max_containers_per_extraction", "max_failed_extractions"],
    ),
    ("container_quotas", &[]),
    ("container_sync", &["realms"]),
    ("crossdomain", &[]),
    ("domain_remap", &["default_reseller_prefix"]),
    ("etag_quoter", &["enable_by_default"]),
    ("formpost", &["allowed_digests", "deprecated_digests"]),
    ("object_versioning", &[]),
    (
        "ratelimit",
        &[
            "account_ratelimit",
            "container_listing_ratelimits",
            "container_ratelimits",
            "max_sleep_time_seconds",
        ],
    ),
    (
        "s3api",
        &[
            "allow_multipart_uploads",
            "max_bucket_listing",
            "max_multi_delete_objects",
            "max_parts_listing",
            "max_upload_part_num",
            "min_segment_size",
            "s3_acl",
        ],
    ),
    (
        "slo",
        &[
            "allow_async_delete",
            "max_manifest_segments",
            "max_manifest_size",
            "min_segment_size",
            "yield_frequency",
        ],
    ),
    ("staticweb", &[]),
    (
        "swift",
        &[
            "account_autocreate",
            "account_listing_limit",
            "allow_account_management",
            "allow_open_expired",
            "container_listing_limit",
            "extra_header_count",
            "max_account_name_length",
            "max_container_name_length",
            "max_file_size",
            "max_header_size",
            "max_meta_count",
            "max_meta_name_length",
            "max_meta_overall_size",
            "max_meta_value_length",
            "max_object_name_length",
            "policies",
            "strict_cors_mode",
            "version",
        ],
    ),
    ("symlink", &["static_links", "symloop_max"]),
    ("tempauth", &["account_acls"]),
    (
        "tempurl",
        &[
            "allowed_digests",
            "deprecated_digests",
            "incoming_allow_headers",
            "incoming_remove_headers",
            "methods",
            "outgoing_allow_headers",
            "outgoing_remove_headers",
        ],
    ),
    ("versioned_writes", &["allowed_flags"]),
];

/// Fields that Swift shows only when they have something to say.
const OPTIONAL: &[(&str, &str)] = &[
    ("tempurl", "deprecated_digests"),
    ("formpost", "deprecated_digests"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_steps_as_swift_with_all_of_its_own() {
    let cluster = Cluster::start();
    let info = request(cluster.address(), "GET", "/info", &[], "").await.unwrap();
    let info: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(&info.body).expect("sections with fields");
    for (name, fields) in &info {
        // What this server is, beside what it is compatible with.
        if name == "martlet" {
            continue;
        }
        let expected = SECTIONS.iter().find(|(known, _)| known == name);
        let expected = expected
            .unwrap_or_else(|| panic!("Swift has no section {name}"))
            .1;
        let is_optional = |field: &str| OPTIONAL.contains(&(name.as_str(), field));
        let shown: Vec<&str> = fields
            .keys()
            .map(String::as_str)
            .filter(|field| !is_optional(field))
            .collect();
        let expected: Vec<&str> = expected
            .iter()
            .copied()
            .filter(|field| !is_optional(field))
            .collect();
        assert_eq!(shown, expected, "{name}");
    }
    for (name, _) in SECTIONS {
        assert!(info.contains_key(*name), "section {name} is missing");
    }
    assert_eq!(info["bulk_delete"]["max_deletes_per_request"], 10_000);
    assert_eq!(info["bulk_upload"]["max_failed_extractions"], 1_000);
    assert_eq!(info["ratelimit"]["account_ratelimit"], 0.0);
    assert_eq!(info["ratelimit"]["max_sleep_time_seconds"], 60.0);
    assert_eq!(info["ratelimit"]["container_ratelimits"], serde_json::json!([]));
}
