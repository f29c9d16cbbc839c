//! The metadata of an object in S3's words and in Swift's, both ways.

use crate::checksum;
use crate::errors::{Code, S3Error, S3Result};
use http::{HeaderMap, HeaderName};
use martlet_protocol::date::format_http_date;
use martlet_service::headers::{set, text};
use martlet_service::{OddHeader, OddHeaders};

/// Keeps the ETag S3 shows for a multipart object.
pub const S3_ETAG: &str = "x-object-sysmeta-martlet-s3-etag";
/// Keeps the upload a multipart object was made by; its parts go when the object goes.
pub const MULTIPART: &str = "x-object-sysmeta-martlet-multipart";
/// Makes listings show an ETag other than the stored one.
pub const LISTING_ETAG: &str = "x-object-sysmeta-container-update-override-etag";

/// S3's limit on the names and values of user metadata together, in bytes.
const MAX_USER_METADATA_BYTES: usize = 2 * 1024;
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
/// Headers that are the same in both APIs and are kept with an object.
const KEPT: &[&str] = &[
    "content-type",
    "cache-control",
    "content-disposition",
    "content-language",
    "expires",
    "x-robots-tag",
];
/// What an answer to GET and HEAD carries over besides metadata.
const SHOWN: &[&str] = &[
    "content-length",
    "content-range",
    "last-modified",
    "content-encoding",
];
/// When Swift is to delete the object; S3's own clients may say it too.
pub const EXPIRY: [&str; 2] = ["x-delete-at", "x-delete-after"];
/// What Swift calls a version that was named or made.
pub const SWIFT_VERSION: &str = "x-object-version-id";
/// The type of the objects that mark deletions among Swift's versions.
pub const DELETE_MARKER_TYPE: &str = "application/x-deleted;swift_versions_deleted=1";

/// Refuses headers whose meaning would be lost here.
pub fn refuse_unsupported(headers: &HeaderMap) -> S3Result<()> {
    if let Some(class) = text(headers, "x-amz-storage-class")
        && class != "STANDARD"
    {
        return Err(S3Error::from(Code::InvalidStorageClass).with("StorageClassRequested", class));
    }
    let lost = headers.keys().map(HeaderName::as_str).find(|name| {
        name.starts_with("x-amz-server-side-encryption")
            || name.starts_with("x-amz-copy-source-server-side-encryption")
            || name.starts_with("x-amz-object-lock-")
            || matches!(
                *name,
                "x-amz-tagging" | "x-amz-website-redirect-location" | "x-amz-write-offset-bytes"
            )
    });
    match lost {
        Some(name) => Err(S3Error::new(
            Code::NotImplemented,
            format!("The header {name} is not implemented."),
        )
        .with("Header", name)),
        None => Ok(()),
    }
}

/// What a client asks to keep with an object, in Swift's words.
pub fn to_swift(headers: &HeaderMap, odd: Option<&OddHeaders>) -> S3Result<HeaderMap> {
    let mut kept = HeaderMap::new();
    for name in KEPT {
        if let Some(value) = headers.get(*name) {
            kept.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if kept.get("content-type").is_none_or(|value| value.is_empty()) {
        set(&mut kept, "content-type", DEFAULT_CONTENT_TYPE);
    }
    if let Some(encoding) = text(headers, "content-encoding") {
        // aws-chunked tells how the request was sent, not what the object is.
        let own: Vec<&str> = encoding
            .split(',')
            .map(str::trim)
            .filter(|coding| !coding.is_empty() && *coding != "aws-chunked")
            .collect();
        if !own.is_empty() {
            set(&mut kept, "content-encoding", &own.join(","));
        }
    }
    let mut bytes = 0;
    for name in headers.keys() {
        let Some(meta) = name
            .as_str()
            .strip_prefix("x-amz-meta-")
            .filter(|meta| !meta.is_empty())
        else {
            continue;
        };
        let values: Vec<&[u8]> = headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes())
            .collect();
        let value = String::from_utf8(values.join(&b","[..]))
            .map_err(|_| S3Error::argument("metadata", meta, "Metadata must be UTF-8."))?;
        bytes += meta.len() + value.len();
        set(&mut kept, &kept_name(meta), &value);
    }
    for header in odd.iter().flat_map(|odd| &odd.0) {
        let Some(meta) = header
            .name
            .strip_prefix("x-amz-meta-")
            .filter(|meta| is_kept(meta))
        else {
            continue;
        };
        let value = String::from_utf8(header.value.clone())
            .map_err(|_| S3Error::argument("metadata", meta, "Metadata must be UTF-8."))?;
        bytes += meta.len() + value.len();
        set(&mut kept, &kept_name(meta), &value);
    }
    if bytes > MAX_USER_METADATA_BYTES {
        return Err(S3Error::from(Code::MetadataTooLarge)
            .with("Size", bytes.to_string())
            .with("MaxSizeAllowed", MAX_USER_METADATA_BYTES.to_string()));
    }
    Ok(kept)
}

/// Of the names that HTTP does not have S3 keeps those with a `(`; headers of other such names it passes over.
fn is_kept(meta: &str) -> bool {
    !meta.contains([
        ' ', '"', ')', ',', '/', ';', '<', '=', '>', '?', '@', '[', '\\', ']', '{', '}',
    ])
}

/// The name that Swift keeps user metadata under: HTTP's own, with what HTTP does not have in percent form.
fn kept_name(meta: &str) -> String {
    let meta = meta.replace('%', "%25").replace('(', "%28");
    format!("x-object-meta-{meta}")
}

/// The name S3 knows user metadata by.
fn shown_name(meta: &str) -> String {
    let meta = meta.replace("%28", "(").replace("%25", "%");
    format!("x-amz-meta-{meta}")
}

/// User metadata whose name HTTP does not have.
pub fn odd_from_swift(stored: &HeaderMap) -> OddHeaders {
    let odd = stored.iter().filter_map(|(name, value)| {
        let name = shown_name(name.as_str().strip_prefix("x-object-meta-")?);
        let value = value.as_bytes().to_vec();
        name.contains('(').then_some(OddHeader { name, value })
    });
    OddHeaders(odd.collect())
}

/// The metadata of a stored object as it is to be stored again, with a copy.
pub fn to_copy(stored: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in stored {
        let name_text = name.as_str();
        if KEPT.contains(&name_text)
            || name_text == "content-encoding"
            || name_text == "x-delete-at"
            || name_text.starts_with("x-object-meta-")
        {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// The headers of an answer to GET or HEAD. Only what is named here leaves.
pub fn from_swift(stored: &HeaderMap) -> HeaderMap {
    let mut shown = HeaderMap::new();
    for (name, value) in stored {
        let name_text = name.as_str();
        if KEPT.contains(&name_text) || SHOWN.contains(&name_text) {
            shown.insert(name.clone(), value.clone());
        } else if let Some(meta) = name_text.strip_prefix("x-object-meta-")
            && let Ok(name) = HeaderName::from_bytes(shown_name(meta).as_bytes())
        {
            shown.insert(name, value.clone());
        }
    }
    if let Some(at) = text(stored, "x-delete-at").and_then(|at| at.parse().ok()) {
        let words = format!(
            "expiry-date=\"{}\", rule-id=\"swift-object-expiration\"",
            format_http_date(at)
        );
        set(&mut shown, "x-amz-expiration", &words);
    }
    show_version(stored, &mut shown);
    set(&mut shown, "etag", &quoted(&etag(stored)));
    set(&mut shown, "accept-ranges", "bytes");
    shown
}

/// Shows which version an answer is about, in a bucket that has versions, and whether it marks a deletion.
pub fn show_version(stored: &HeaderMap, shown: &mut HeaderMap) {
    if let Some(version) = text(stored, SWIFT_VERSION).filter(|version| !version.is_empty()) {
        set(shown, "x-amz-version-id", version);
    }
    if text(stored, "x-backend-content-type") == Some(DELETE_MARKER_TYPE) {
        set(shown, "x-amz-delete-marker", "true");
    }
}

/// Adds the stored checksum, when there is one.
pub fn show_checksum(stored: &HeaderMap, shown: &mut HeaderMap) {
    if let Some((algorithm, value, kind)) = checksum::stored(stored) {
        set(shown, algorithm.header(), &value);
        set(shown, "x-amz-checksum-type", kind.as_str());
    }
}

/// The bare ETag S3 shows for a stored object.
pub fn etag(stored: &HeaderMap) -> String {
    if let Some(own) = text(stored, S3_ETAG) {
        return own.to_owned();
    }
    let bare = text(stored, "etag")
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned();
    // A large object made through Swift: the dash tells clients that this is not the MD5 of the body.
    if martlet_service::headers::is_true(stored, "x-static-large-object") && !bare.contains('-') {
        return format!("{bare}-N");
    }
    bare
}

/// The bare ETag S3 shows for a row of a listing, whose hash may carry Swift's parameters.
pub fn listed_etag(hash: &str) -> String {
    let mut fields = hash.split(';').map(str::trim);
    let bare = fields.next().unwrap_or_default().trim_matches('"');
    let mut is_large = false;
    for field in fields {
        match field.split_once('=') {
            Some(("s3_etag", etag)) => return etag.trim_matches('"').to_owned(),
            Some(("slo_etag", _)) => is_large = true,
            _ => {}
        }
    }
    if is_large && !bare.contains('-') {
        format!("{bare}-N")
    } else {
        bare.to_owned()
    }
}

/// An ETag as it stands in headers and documents.
pub fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            set(&mut headers, name, value);
        }
        headers
    }

    #[test]
    fn metadata_goes_both_ways() {
        let kept = to_swift(
            &headers(&[
                ("x-amz-meta-color", "blau ü"),
                ("content-encoding", "aws-chunked, gzip"),
                ("cache-control", "no-cache"),
                ("x-object-sysmeta-evil", "1"),
                ("x-amz-date", "x"),
            ]),
            None,
        )
        .unwrap();
        assert_eq!(text(&kept, "x-object-meta-color"), Some("blau ü"));
        assert_eq!(text(&kept, "content-encoding"), Some("gzip"));
        assert_eq!(text(&kept, "content-type"), Some("binary/octet-stream"));
        assert_eq!(kept.len(), 4);
        let mut stored = kept;
        set(&mut stored, "etag", "abc");
        set(&mut stored, "x-object-sysmeta-secret", "1");
        let shown = from_swift(&stored);
        assert_eq!(text(&shown, "x-amz-meta-color"), Some("blau ü"));
        assert_eq!(text(&shown, "etag"), Some("\"abc\""));
        assert!(!shown.contains_key("x-object-sysmeta-secret"));
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        let code = |pairs| refuse_unsupported(&headers(pairs)).unwrap_err().code;
        assert_eq!(
            code(&[("x-amz-storage-class", "GLACIER")]),
            Code::InvalidStorageClass
        );
        assert_eq!(code(&[("x-amz-tagging", "a=b")]), Code::NotImplemented);
        assert_eq!(
            code(&[("x-amz-server-side-encryption-customer-key", "k")]),
            Code::NotImplemented
        );
        assert!(
            refuse_unsupported(&headers(&[
                ("x-amz-storage-class", "STANDARD"),
                ("x-amz-acl", "public-read")
            ]))
            .is_ok()
        );
        let large = "x".repeat(3000);
        assert_eq!(
            to_swift(&headers(&[("x-amz-meta-a", &large)]), None)
                .unwrap_err()
                .code,
            Code::MetadataTooLarge
        );
    }

    #[test]
    fn expiry_and_version_are_shown_in_s3s_words() {
        let shown = from_swift(&headers(&[
            ("x-delete-at", "784111777"),
            ("x-object-version-id", "1700000000.00000"),
            ("x-robots-tag", "noindex"),
        ]));
        assert_eq!(
            text(&shown, "x-amz-expiration"),
            Some("expiry-date=\"Sun, 06 Nov 1994 08:49:37 GMT\", rule-id=\"swift-object-expiration\"")
        );
        assert_eq!(text(&shown, "x-amz-version-id"), Some("1700000000.00000"));
        assert_eq!(text(&shown, "x-robots-tag"), Some("noindex"));
        assert!(!shown.contains_key("x-delete-at") && !shown.contains_key("x-amz-delete-marker"));
    }

    #[test]
    fn names_that_http_does_not_have_go_both_ways() {
        let odd = |name: &str| OddHeader {
            name: format!("x-amz-meta-{name}"),
            value: b"v".to_vec(),
        };
        let given = OddHeaders(vec![odd("("), odd(")"), odd("a/b"), odd("(%28")]);
        let kept = to_swift(&headers(&[("x-amz-meta-%", "p")]), Some(&given)).unwrap();
        assert_eq!(text(&kept, "x-object-meta-%28"), Some("v"));
        assert_eq!(text(&kept, "x-object-meta-%28%2528"), Some("v"));
        assert_eq!(kept.len(), 4);
        assert_eq!(text(&from_swift(&kept), "x-amz-meta-%"), Some("p"));
        let shown = odd_from_swift(&kept);
        assert_eq!(shown.get("x-amz-meta-("), Some(b"v".to_vec()));
        assert_eq!(shown.0.len(), 2);
    }

    #[test]
    fn etags_of_rows() {
        assert_eq!(listed_etag("abc"), "abc");
        assert_eq!(listed_etag("abc; s3_etag=def-2; slo_etag=x"), "def-2");
        assert_eq!(listed_etag("abc-3; slo_etag=x"), "abc-3");
        assert_eq!(listed_etag("abc; slo_etag=x"), "abc-N");
    }
}
