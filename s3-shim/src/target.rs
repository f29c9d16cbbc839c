//! Which bucket and key a request is about, from its path and its host, and which names are allowed. Pure.

use crate::errors::{Code, S3Error, S3Result};
use http::request::Parts;
use martlet_protocol::percent;
use martlet_service::headers::text;

/// What a request is about. An empty bucket is the service itself; an empty key is the bucket itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub bucket: String,
    pub key: String,
}

/// The bucket in the host name, when the host is `bucket.` and one of our domains.
pub fn host_bucket(parts: &Parts, domains: &[String]) -> Option<String> {
    let host =
        text(&parts.headers, "host").or_else(|| parts.uri.authority().map(|authority| authority.as_str()))?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    let bucket = domains
        .iter()
        .find_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))?;
    (!bucket.is_empty()).then(|| bucket.to_owned())
}

/// Reads the path; `host_bucket` is the bucket of a virtual-host style request.
pub fn parse(path: &str, host_bucket: Option<&str>, max_key_bytes: usize) -> S3Result<Target> {
    let decoded = percent::unquote(path).map_err(|_| S3Error::from(Code::InvalidURI))?;
    let path = decoded.strip_prefix('/').unwrap_or(&decoded);
    let (bucket, key) = match host_bucket {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    check_key(key, max_key_bytes)?;
    Ok(Target {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    })
}

/// Keys are any UTF-8 but the NUL that the cluster keeps for itself.
pub fn check_key(key: &str, max_key_bytes: usize) -> S3Result<()> {
    if key.contains('\0') {
        return Err(Code::InvalidURI.into());
    }
    if key.len() > max_key_bytes {
        return Err(S3Error::from(Code::KeyTooLongError)
            .with("Size", key.len().to_string())
            .with("MaxSizeAllowed", max_key_bytes.to_string()));
    }
    Ok(())
}

/// Whether a bucket may be reached: S3's old rules, so that containers made through Swift can be seen too.
pub fn is_bucket_name(name: &str) -> bool {
    (3..=242).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !matches!(name, "." | "..")
}

/// Whether a bucket may be created: a name that is good as a host name, and is no IP address.
pub fn is_new_bucket_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    (3..=63).contains(&name.len())
        && name.split('.').all(label)
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// The error for a bucket name.
pub fn invalid_bucket(name: &str) -> S3Error {
    S3Error::from(Code::InvalidBucketName).with("BucketName", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, host: Option<&str>) -> (String, String) {
        let target = parse(path, host, 1024).unwrap();
        (target.bucket, target.key)
    }

    #[test]
    fn paths_of_both_styles() {
        let pair = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
        assert_eq!(target("/", None), pair("", ""));
        assert_eq!(target("/bucket", None), pair("bucket", ""));
        assert_eq!(target("/bucket/", None), pair("bucket", ""));
        assert_eq!(target("/bucket/a%2Fb//c/", None), pair("bucket", "a/b//c/"));
        assert_eq!(target("/bucket//", None), pair("bucket", "/"));
        assert_eq!(target("/a/b", Some("bucket")), pair("bucket", "a/b"));
        assert_eq!(target("/", Some("bucket")), pair("bucket", ""));
        assert!(parse("/b/%ff", None, 1024).is_err());
        assert!(parse("/b/%00", None, 1024).is_err());
        assert_eq!(parse("/b/abcd", None, 3).unwrap_err().code, Code::KeyTooLongError);
    }

    #[test]
    fn hosts() {
        let bucket = |host: &str| {
            let request = http::Request::builder()
                .uri("/k")
                .header("host", host)
                .body(())
                .unwrap();
            host_bucket(&request.into_parts().0, &["s3.example.net".to_owned()])
        };
        assert_eq!(bucket("b.s3.example.net"), Some("b".into()));
        assert_eq!(bucket("My.Bucket.S3.example.net:8080"), Some("my.bucket".into()));
        assert_eq!(bucket("s3.example.net"), None);
        assert_eq!(bucket(".s3.example.net"), None);
        assert_eq!(bucket("xs3.example.net"), None);
        assert_eq!(bucket("127.0.0.1:8080"), None);
    }

    #[test]
    fn bucket_names() {
        for good in ["abc", "my-bucket.name-1", "1bucket"] {
            assert!(is_new_bucket_name(good), "{good}");
        }
        for bad in [
            "ab",
            "Bucket",
            "a_b",
            "a..b",
            "-abc",
            "abc-",
            "a.-b",
            "192.168.1.1",
            "bucket+x",
            ".abc",
            "",
        ] {
            assert!(!is_new_bucket_name(bad), "{bad}");
        }
        assert!(!is_new_bucket_name(&"a".repeat(64)));
        assert!(is_bucket_name("My_Container.1"));
        for bad in ["ab", "bucket+x", "a\0b", "a b", "üüü"] {
            assert!(!is_bucket_name(bad), "{bad}");
        }
    }
}
