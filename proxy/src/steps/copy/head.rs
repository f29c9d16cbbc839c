//! The headers of a copy: where from, where to, and which of the source's metadata the new object gets. Pure.

use crate::context::is_true;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ContainerName, ObjectName, ObjectPath};
use martlet_protocol::percent;
use martlet_service::headers;

/// Source and destination of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub source: ObjectPath,
    pub destination: ObjectPath,
}

impl Paths {
    /// Of a `COPY`; the error is a sentence for a 412.
    pub fn of_copy(map: &HeaderMap, source: &ObjectPath) -> Result<Self, &'static str> {
        let value = headers::text(map, header::DESTINATION).filter(|value| !value.is_empty());
        let value = value.ok_or("Destination header required")?;
        if headers::text(map, header::DESTINATION_ACCOUNT) == Some("") {
            return Err("Account name cannot be empty");
        }
        let account = account(map, header::DESTINATION_ACCOUNT, &source.account)?;
        let (container, object) = container_and_object(value)
            .ok_or("Destination header must be of the form <container name>/<object name>")?;
        Ok(Paths {
            source: source.clone(),
            destination: ObjectPath {
                account,
                container,
                object,
            },
        })
    }

    /// Of a `PUT` with `X-Copy-From`.
    pub fn of_put(map: &HeaderMap, destination: &ObjectPath) -> Result<Self, &'static str> {
        let account = account(map, header::X_COPY_FROM_ACCOUNT, &destination.account)?;
        let (container, object) = headers::text(map, header::X_COPY_FROM)
            .and_then(container_and_object)
            .ok_or("X-Copy-From header must be of the form <container name>/<object name>")?;
        Ok(Paths {
            source: ObjectPath {
                account,
                container,
                object,
            },
            destination: destination.clone(),
        })
    }
}

fn account(map: &HeaderMap, name: &str, own: &AccountName) -> Result<AccountName, &'static str> {
    let Some(value) = headers::text(map, name).filter(|value| !value.is_empty()) else {
        return Ok(own.clone());
    };
    let value = percent::unquote(value).map_err(|_| "Account name must be UTF-8")?;
    if value.contains('/') {
        return Err("Account name cannot contain slashes");
    }
    AccountName::new(value).map_err(|_| "Account name is not valid")
}

fn container_and_object(value: &str) -> Option<(ContainerName, ObjectName)> {
    let value = percent::unquote(value).ok()?;
    let (container, object) = value.strip_prefix('/').unwrap_or(&value).split_once('/')?;
    Some((ContainerName::new(container).ok()?, ObjectName::new(object).ok()?))
}

/// What the source's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The whole of a plain object: its ETag must be the copy's.
    Whole,
    /// A range, or the joined segments of a large object: the copy is another body with another ETag.
    Derived,
    /// The list of a static large object, asked for as such.
    StaticManifest,
    /// The (empty) body of a dynamic large object's manifest, asked for as such.
    DynamicManifest,
}

impl SourceKind {
    pub fn of(source: &HeaderMap, status: StatusCode, wants_manifest: bool) -> Self {
        let is_static = headers::text(source, header::X_STATIC_LARGE_OBJECT).is_some_and(is_true);
        let is_dynamic = source.contains_key(header::X_OBJECT_MANIFEST);
        match (is_static, is_dynamic) {
            (true, _) if wants_manifest => SourceKind::StaticManifest,
            (false, true) if wants_manifest => SourceKind::DynamicManifest,
            (false, false) if status == StatusCode::OK => SourceKind::Whole,
            _ => SourceKind::Derived,
        }
    }
}

/// The headers of the PUT that writes the copy.
pub fn sink(
    asked: &HeaderMap,
    source: &HeaderMap,
    kind: SourceKind,
    is_fresh: bool,
    length: u64,
) -> HeaderMap {
    let mut sink = HeaderMap::new();
    let expires_anew = asked.contains_key(header::X_DELETE_AT) || asked.contains_key(header::X_DELETE_AFTER);
    // A link that is copied as such: its row is made anew, from where it leads.
    let is_link = source.contains_key(LINK_TARGET);
    for (name, value) in source {
        let text = name.as_str();
        let is_wanted = if header::is_sysmeta(text) {
            belongs_to_copy(text, kind) && !(is_link && text == header::OVERRIDE_ETAG)
        } else if OF_LINKS.contains(&text) {
            true
        } else {
            !is_fresh && is_copied(text) && !(expires_anew && text == header::X_DELETE_AT)
        };
        if is_wanted {
            sink.append(name.clone(), value.clone());
        }
    }
    for name in asked.keys().filter(|name| !is_about_the_copying(name.as_str())) {
        sink.remove(name);
        for value in asked.get_all(name) {
            sink.append(name.clone(), value.clone());
        }
    }
    // An account named for another target does not go with the target that is kept.
    if asked.contains_key(LINK_TARGET) {
        for name in OF_LINKS.iter().filter(|name| !asked.contains_key(**name)) {
            sink.remove(*name);
        }
    }
    let has_type = asked.get(CONTENT_TYPE).is_some_and(|value| !value.is_empty());
    if !has_type && let Some(value) = source.get(CONTENT_TYPE) {
        sink.insert(CONTENT_TYPE, value.clone());
    }
    match kind {
        SourceKind::Whole => carry(&mut sink, source, ETAG),
        SourceKind::DynamicManifest => {
            carry(&mut sink, source, ETAG);
            carry(
                &mut sink,
                source,
                HeaderName::from_static(header::X_OBJECT_MANIFEST),
            );
        }
        SourceKind::StaticManifest | SourceKind::Derived => {}
    }
    sink.insert(CONTENT_LENGTH, HeaderValue::from(length));
    sink
}

const LINK_TARGET: &str = "x-symlink-target";
/// A link's public headers, which a source shows when the request says `symlink=get`.
const OF_LINKS: [&str; 3] = [LINK_TARGET, "x-symlink-target-account", "x-symlink-target-etag"];

fn carry(sink: &mut HeaderMap, source: &HeaderMap, name: HeaderName) {
    if let Some(value) = source.get(&name) {
        sink.insert(name, value.clone());
    }
}

/// What a copy has from its source, beside system metadata.
fn is_copied(name: &str) -> bool {
    header::is_user_meta(name)
        || header::is_transient_sysmeta(name)
        || (header::KEPT_OBJECT_HEADERS.contains(&name) && name != header::X_OBJECT_MANIFEST)
}

/// System metadata that describes the bytes holds only while they are the same bytes, and the marks of a large object
/// only while it is one.
fn belongs_to_copy(name: &str, kind: SourceKind) -> bool {
    const OF_MANIFESTS: [&str; 3] = [
        "x-object-sysmeta-slo-",
        "x-object-sysmeta-martlet-multipart",
        "x-object-sysmeta-martlet-s3-etag",
    ];
    const OF_BYTES: [&str; 2] = [
        "x-object-sysmeta-s3-checksum-",
        "x-object-sysmeta-container-update-override-",
    ];
    let is_any_of = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    !is_any_of(&OF_MANIFESTS) && (kind == SourceKind::Whole || !is_any_of(&OF_BYTES))
}

/// Headers that say how to copy and do not belong to the new object.
fn is_about_the_copying(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        header::X_COPY_FROM,
        header::X_COPY_FROM_ACCOUNT,
        header::X_FRESH_METADATA,
        header::DESTINATION,
        header::DESTINATION_ACCOUNT,
        "content-length",
        "transfer-encoding",
        "expect",
        "range",
        "if-match",
        "if-modified-since",
        "if-unmodified-since",
        header::X_NEWEST,
    ];
    NAMES.contains(&name)
}

/// What the answer says of the copy: where it came from, and its metadata.
pub fn shown(source: &ObjectPath, source_headers: &HeaderMap, sink: &HeaderMap) -> HeaderMap {
    let mut shown = HeaderMap::new();
    headers::set(&mut shown, "x-copied-from", &super::shown_path(source));
    headers::set(
        &mut shown,
        "x-copied-from-account",
        &percent::quote_segment(&source.account),
    );
    if let Some(value) = source_headers.get(LAST_MODIFIED) {
        shown.insert(
            HeaderName::from_static("x-copied-from-last-modified"),
            value.clone(),
        );
    }
    if let Some(value) = source_headers.get("x-object-version-id") {
        shown.insert(HeaderName::from_static("x-copied-from-version-id"), value.clone());
    }
    for (name, value) in sink {
        let text = name.as_str();
        if header::is_user_meta(text) || header::is_sysmeta(text) || text == header::X_DELETE_AT {
            shown.insert(name.clone(), value.clone());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    fn object(account: &str, container: &str, object: &str) -> ObjectPath {
        ObjectPath {
            account: AccountName::new(account).unwrap(),
            container: ContainerName::new(container).unwrap(),
            object: ObjectName::new(object).unwrap(),
        }
    }

    #[test]
    fn where_to_and_where_from() {
        let own = object("a", "c", "o");
        let to = |pairs: &[(&str, &str)]| Paths::of_copy(&map(pairs), &own).map(|paths| paths.destination);
        assert_eq!(
            to(&[("destination", "/d/p%20q/r")]),
            Ok(object("a", "d", "p q/r"))
        );
        assert_eq!(
            to(&[("destination", "d/p"), ("destination-account", "b")]),
            Ok(object("b", "d", "p"))
        );
        assert_eq!(to(&[]), Err("Destination header required"));
        for bad in ["d", "/d", "/d/", "//p", "/"] {
            let words = "Destination header must be of the form <container name>/<object name>";
            assert_eq!(to(&[("destination", bad)]), Err(words), "{bad}");
        }
        let bad_account = [("destination", "d/p"), ("destination-account", "b%2Fc")];
        assert_eq!(to(&bad_account), Err("Account name cannot contain slashes"));
        let no_account = [("destination", "d/p"), ("destination-account", "")];
        assert_eq!(to(&no_account), Err("Account name cannot be empty"));
        let from = |pairs: &[(&str, &str)]| Paths::of_put(&map(pairs), &own).map(|paths| paths.source);
        assert_eq!(from(&[("x-copy-from", "/d/p?q")]), Ok(object("a", "d", "p?q")));
        assert_eq!(
            from(&[("x-copy-from", "d")]),
            Err("X-Copy-From header must be of the form <container name>/<object name>")
        );
    }

    #[test]
    fn metadata_is_merged_or_fresh() {
        let source = map(&[
            ("x-object-meta-a", "old"),
            ("x-object-meta-b", "kept"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("etag", "abc"),
            ("last-modified", "Thu, 01 Jan 1970 00:00:01 GMT"),
            ("x-object-sysmeta-s3-checksum-crc32", "x"),
            ("x-object-sysmeta-martlet-multipart", "upload"),
            ("x-timestamp", "1"),
        ]);
        let asked = map(&[
            ("x-object-meta-a", "new"),
            ("x-copy-from", "/c/o"),
            ("content-length", "0"),
        ]);
        let merged = sink(&asked, &source, SourceKind::Whole, false, 7);
        assert_eq!(
            merged,
            map(&[
                ("x-object-meta-a", "new"),
                ("x-object-meta-b", "kept"),
                ("content-type", "text/plain"),
                ("content-encoding", "gzip"),
                ("etag", "abc"),
                ("x-object-sysmeta-s3-checksum-crc32", "x"),
                ("content-length", "7"),
            ])
        );
        let fresh = sink(&asked, &source, SourceKind::Derived, true, 7);
        assert_eq!(
            fresh,
            map(&[
                ("x-object-meta-a", "new"),
                ("content-type", "text/plain"),
                ("content-length", "7")
            ])
        );
        let own_type = sink(
            &map(&[("content-type", "image/png")]),
            &source,
            SourceKind::Whole,
            false,
            7,
        );
        assert_eq!(own_type["content-type"], "image/png");
    }

    #[test]
    fn links_are_copied_as_links() {
        let source = map(&[
            ("x-symlink-target", "c/o"),
            ("x-symlink-target-account", "b"),
            ("x-symlink-target-etag", "e"),
            ("x-symlink-target-bytes", "5"),
            (
                "x-object-sysmeta-container-update-override-etag",
                "d; symlink_target=c/o",
            ),
        ]);
        for is_fresh in [true, false] {
            let copied = sink(&map(&[]), &source, SourceKind::Whole, is_fresh, 0);
            let expected = map(&[
                ("x-symlink-target", "c/o"),
                ("x-symlink-target-account", "b"),
                ("x-symlink-target-etag", "e"),
                ("content-length", "0"),
            ]);
            assert_eq!(copied, expected);
        }
        let elsewhere = sink(
            &map(&[("x-symlink-target", "d/p")]),
            &source,
            SourceKind::Whole,
            false,
            0,
        );
        assert_eq!(
            elsewhere,
            map(&[("x-symlink-target", "d/p"), ("content-length", "0")])
        );
    }

    #[test]
    fn kinds_of_sources() {
        let slo = map(&[("x-static-large-object", "True")]);
        let dlo = map(&[("x-object-manifest", "c/p")]);
        let plain = map(&[]);
        for (source, status, wants_manifest, expected) in [
            (&plain, StatusCode::OK, false, SourceKind::Whole),
            (&plain, StatusCode::PARTIAL_CONTENT, false, SourceKind::Derived),
            (&plain, StatusCode::OK, true, SourceKind::Whole),
            (&slo, StatusCode::OK, false, SourceKind::Derived),
            (&slo, StatusCode::OK, true, SourceKind::StaticManifest),
            (&dlo, StatusCode::OK, false, SourceKind::Derived),
            (&dlo, StatusCode::OK, true, SourceKind::DynamicManifest),
        ] {
            assert_eq!(SourceKind::of(source, status, wants_manifest), expected);
        }
        let copied = sink(&plain, &dlo, SourceKind::DynamicManifest, false, 0);
        assert_eq!(copied["x-object-manifest"], "c/p");
        assert!(!sink(&plain, &dlo, SourceKind::Derived, false, 0).contains_key("x-object-manifest"));
    }
}
