//! The explicit table of what S3 requests mean here. What is not in it is refused. Pure.

use crate::errors::{Code, S3Error, S3Result};
use http::Method;
use martlet_protocol::query::Query;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Service,
    Bucket,
    Object,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketVersioning,
    PutBucketVersioning,
    GetBucketAcl,
    PutBucketAcl,
    /// A configuration this bucket does not have and S3 shows as an empty document.
    GetEmptyConfiguration(&'static str),
    /// A configuration this bucket does not have, with S3's error for that.
    GetMissingConfiguration(Code),
    GetRequestPayment,
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    DeleteObjects,
    ListMultipartUploads,
    GetObject,
    HeadObject,
    GetObjectAcl,
    PutObjectAcl,
    GetObjectTagging,
    GetObjectAttributes,
    /// A configuration this object does not have, with S3's error for that.
    GetMissingObjectConfiguration(Code),
    PutObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
}

/// Query parameters that change what a request means. The first of this list that stands in the query decides.
const SUBRESOURCES: &[&str] = &[
    "uploadId",
    "uploads",
    "delete",
    "acl",
    "location",
    "versioning",
    "versions",
    "policy",
    "policyStatus",
    "cors",
    "lifecycle",
    "tagging",
    "object-lock",
    "encryption",
    "website",
    "replication",
    "publicAccessBlock",
    "ownershipControls",
    "logging",
    "notification",
    "requestPayment",
    "accelerate",
    "inventory",
    "analytics",
    "metrics",
    "intelligent-tiering",
    "retention",
    "legal-hold",
    "attributes",
    "torrent",
    "select",
    "restore",
    "metadataTable",
    "metadataConfiguration",
    "session",
    "renameObject",
    "append",
    "abac",
];

use Action::*;
use Level::{Bucket, Object, Service};

/// Method, level, subresource, action.
#[rustfmt::skip]
const TABLE: &[(&str, Level, &str, Action)] = &[
    ("GET",    Service, "",                  ListBuckets),

    ("PUT",    Bucket,  "",                  CreateBucket),
    ("HEAD",   Bucket,  "",                  HeadBucket),
    ("DELETE", Bucket,  "",                  DeleteBucket),
    ("GET",    Bucket,  "",                  ListObjects),
    ("GET",    Bucket,  "versions",          ListObjectVersions),
    ("GET",    Bucket,  "uploads",           ListMultipartUploads),
    ("POST",   Bucket,  "delete",            DeleteObjects),
    ("GET",    Bucket,  "location",          GetBucketLocation),
    ("GET",    Bucket,  "versioning",        GetBucketVersioning),
    ("PUT",    Bucket,  "versioning",        PutBucketVersioning),
    ("GET",    Bucket,  "acl",               GetBucketAcl),
    ("PUT",    Bucket,  "acl",               PutBucketAcl),
    ("GET",    Bucket,  "logging",           GetEmptyConfiguration("BucketLoggingStatus")),
    ("GET",    Bucket,  "notification",      GetEmptyConfiguration("NotificationConfiguration")),
    ("GET",    Bucket,  "accelerate",        GetEmptyConfiguration("AccelerateConfiguration")),
    ("GET",    Bucket,  "requestPayment",    GetRequestPayment),
    ("GET",    Bucket,  "policy",            GetMissingConfiguration(Code::NoSuchBucketPolicy)),
    ("GET",    Bucket,  "policyStatus",      GetMissingConfiguration(Code::NoSuchBucketPolicy)),
    ("GET",    Bucket,  "cors",              GetMissingConfiguration(Code::NoSuchCORSConfiguration)),
    ("GET",    Bucket,  "lifecycle",         GetMissingConfiguration(Code::NoSuchLifecycleConfiguration)),
    ("GET",    Bucket,  "tagging",           GetMissingConfiguration(Code::NoSuchTagSet)),
    ("GET",    Bucket,  "object-lock",       GetMissingConfiguration(Code::ObjectLockConfigurationNotFoundError)),
    ("GET",    Bucket,  "encryption",        GetMissingConfiguration(Code::ServerSideEncryptionConfigurationNotFoundError)),
    ("GET",    Bucket,  "website",           GetMissingConfiguration(Code::NoSuchWebsiteConfiguration)),
    ("GET",    Bucket,  "replication",       GetMissingConfiguration(Code::ReplicationConfigurationNotFoundError)),
    ("GET",    Bucket,  "publicAccessBlock", GetMissingConfiguration(Code::NoSuchPublicAccessBlockConfiguration)),
    ("GET",    Bucket,  "ownershipControls", GetMissingConfiguration(Code::OwnershipControlsNotFoundError)),

    ("GET",    Object,  "",                  GetObject),
    ("HEAD",   Object,  "",                  HeadObject),
    ("PUT",    Object,  "",                  PutObject),
    ("DELETE", Object,  "",                  DeleteObject),
    ("GET",    Object,  "acl",               GetObjectAcl),
    ("PUT",    Object,  "acl",               PutObjectAcl),
    ("GET",    Object,  "tagging",           GetObjectTagging),
    ("GET",    Object,  "attributes",        GetObjectAttributes),
    ("GET",    Object,  "retention",         GetMissingObjectConfiguration(Code::NoSuchObjectLockConfiguration)),
    ("GET",    Object,  "legal-hold",        GetMissingObjectConfiguration(Code::NoSuchObjectLockConfiguration)),
    ("POST",   Object,  "uploads",           CreateMultipartUpload),
    ("PUT",    Object,  "uploadId",          UploadPart),
    ("GET",    Object,  "uploadId",          ListParts),
    ("POST",   Object,  "uploadId",          CompleteMultipartUpload),
    ("DELETE", Object,  "uploadId",          AbortMultipartUpload),
];

/// The action of a request, or S3's refusal.
pub fn route(method: &Method, level: Level, query: &Query) -> S3Result<Action> {
    let subresource = SUBRESOURCES
        .iter()
        .find(|name| query.has(name))
        .copied()
        .unwrap_or_default();
    let found = TABLE
        .iter()
        .find(|(known, at, sub, _)| *known == method.as_str() && *at == level && *sub == subresource);
    match found {
        Some((.., ListObjects)) if query.get("list-type") == Some("2") => Ok(ListObjectsV2),
        Some((.., action)) => Ok(*action),
        None => Err(refusal(method, level, subresource)),
    }
}

fn refusal(method: &Method, level: Level, subresource: &str) -> S3Error {
    let is_s3_method = matches!(method.as_str(), "GET" | "HEAD" | "PUT" | "POST" | "DELETE");
    let not_allowed = || {
        S3Error::from(Code::MethodNotAllowed)
            .with("Method", method.as_str())
            .with(
                "ResourceType",
                match level {
                    Service => "SERVICE",
                    Bucket => "BUCKET",
                    Object => "OBJECT",
                },
            )
    };
    if !is_s3_method || level == Service {
        return not_allowed();
    }
    match subresource {
        // A browser's form upload is a POST to the bucket; the other methods S3 has for these resources are above.
        "" if level == Bucket => Code::NotImplemented.into(),
        "" | "uploads" | "uploadId" | "delete" | "location" | "versions" => not_allowed(),
        _ => S3Error::new(Code::NotImplemented, "The requested resource is not implemented"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, level: Level, query: &str) -> Result<Action, Code> {
        let method = method.parse().unwrap();
        route(&method, level, &Query::parse(query).unwrap()).map_err(|error| error.code)
    }

    #[test]
    fn what_requests_mean() {
        assert_eq!(check("GET", Service, ""), Ok(ListBuckets));
        assert_eq!(check("GET", Bucket, "prefix=a"), Ok(ListObjects));
        assert_eq!(check("GET", Bucket, "list-type=2&prefix=acl"), Ok(ListObjectsV2));
        assert_eq!(check("GET", Bucket, "list-type=1"), Ok(ListObjects));
        assert_eq!(check("POST", Bucket, "delete"), Ok(DeleteObjects));
        assert_eq!(check("PUT", Object, "partNumber=1&uploadId=x"), Ok(UploadPart));
        assert_eq!(check("POST", Object, "uploads="), Ok(CreateMultipartUpload));
        assert_eq!(check("GET", Object, "partNumber=1"), Ok(GetObject));
        assert_eq!(
            check("GET", Bucket, "policy"),
            Ok(GetMissingConfiguration(Code::NoSuchBucketPolicy))
        );
        assert_eq!(check("PUT", Bucket, "versioning"), Ok(PutBucketVersioning));
        assert_eq!(check("PUT", Object, "x-id=PutObject"), Ok(PutObject));
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        assert_eq!(check("PUT", Bucket, "policy"), Err(Code::NotImplemented));
        assert_eq!(check("DELETE", Bucket, "lifecycle"), Err(Code::NotImplemented));
        assert_eq!(check("PUT", Object, "tagging"), Err(Code::NotImplemented));
        assert_eq!(check("DELETE", Object, "tagging"), Err(Code::NotImplemented));
        assert_eq!(
            check("POST", Object, "select&select-type=2"),
            Err(Code::NotImplemented)
        );
        assert_eq!(check("POST", Bucket, ""), Err(Code::NotImplemented));
        assert_eq!(check("POST", Object, ""), Err(Code::MethodNotAllowed));
        assert_eq!(check("PUT", Bucket, "uploads"), Err(Code::MethodNotAllowed));
        assert_eq!(check("PATCH", Object, ""), Err(Code::MethodNotAllowed));
        assert_eq!(check("COPY", Object, ""), Err(Code::MethodNotAllowed));
        assert_eq!(check("PUT", Service, ""), Err(Code::MethodNotAllowed));
        assert_eq!(check("DELETE", Object, "acl"), Err(Code::NotImplemented));
    }

    #[test]
    fn the_table_has_no_row_twice() {
        for (position, row) in TABLE.iter().enumerate() {
            assert!(
                !TABLE[..position]
                    .iter()
                    .any(|other| (other.0, other.1, other.2) == (row.0, row.1, row.2)),
                "{row:?}"
            );
            assert!(row.2.is_empty() || SUBRESOURCES.contains(&row.2), "{row:?}");
        }
    }
}
