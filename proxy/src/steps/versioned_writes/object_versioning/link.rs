//! The object as a link to its current version: made, recognised, shown. Pure.

use super::names::{self, VersionId};
use super::{NULL, VERSION_ID};
use crate::context::is_true;
use crate::steps::symlink::link::{Link, TARGET};
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_service::headers;

/// Marks a link to a version; no client can make one.
pub const VERSIONS_SYMLINK: &str = "x-object-sysmeta-versions-symlink";
const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// What of a client's PUT belongs to the version and not to the link.
const OF_VERSIONS: [&str; 10] = [
    "etag",
    "content-length",
    "transfer-encoding",
    "expect",
    "x-detect-content-type",
    header::X_IF_DELETE_AT,
    header::X_OBJECT_MANIFEST,
    header::X_STATIC_LARGE_OBJECT,
    header::X_COPY_FROM,
    header::X_COPY_FROM_ACCOUNT,
];

/// A version as its link knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: VersionId,
    pub path: ObjectPath,
    /// Of the object itself: what a client is told.
    pub etag: String,
    /// What a link to it promises: of a static link, what that one promises.
    pub promise: String,
    pub bytes: u64,
    pub content_type: String,
}

/// The headers of the PUT that makes a version current; `asked` are those of the client's.
pub fn headers(asked: &HeaderMap, version: &Version) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in asked {
        let text = name.as_str();
        let is_left = OF_VERSIONS.contains(&text)
            || text.starts_with("x-symlink-")
            || (header::is_sysmeta(text) && text != header::OVERRIDE_ETAG)
            || header::is_transient_sysmeta(text);
        if !is_left {
            map.append(name.clone(), value.clone());
        }
    }
    let link = Link {
        target: percent::quote(&format!("{}/{}", version.path.container, version.path.object)),
        account: None,
        etag: Some(version.promise.clone()),
        bytes: Some(version.bytes.to_string()),
        extends_loop: true,
        allows_reserved: true,
    };
    link.keep(&mut map);
    let own = headers::text(&map, header::OVERRIDE_ETAG).unwrap_or(MD5_OF_NOTHING);
    let row = format!("{own}; {}", link.row_parameters());
    headers::set(&mut map, header::OVERRIDE_ETAG, &row);
    headers::set(&mut map, VERSIONS_SYMLINK, "true");
    headers::set(
        &mut map,
        CONTENT_TYPE.as_str(),
        &plain_type(&version.content_type),
    );
    map.remove(TRANSFER_ENCODING);
    map.insert(CONTENT_LENGTH, HeaderValue::from(0_u64));
    map
}

/// What the row of a version says of it beside where it leads itself: the link's row says the same.
pub fn row_of_version(map: &HeaderMap) -> Option<String> {
    let row = headers::text(map, header::OVERRIDE_ETAG)?;
    let items = row.split("; ").filter(|item| !item.starts_with("symlink_"));
    Some(items.collect::<Vec<_>>().join("; "))
}

/// A content type without parameters of the cluster's own.
fn plain_type(content_type: &str) -> String {
    let items = content_type.split(';').map(str::trim);
    let kept: Vec<&str> = items.filter(|item| !item.starts_with("swift_")).collect();
    kept.join("; ")
}

/// Whether headers are those of a link to a version.
pub fn is_link(map: &HeaderMap) -> bool {
    headers::text(map, VERSIONS_SYMLINK).is_some_and(is_true)
}

/// Where such a link leads. `None`: to no version in this hidden container.
pub fn version_of(
    map: &HeaderMap,
    own: &ObjectPath,
    hidden: &ContainerName,
) -> Option<(ObjectPath, VersionId)> {
    let path = Link::of(map).filter(|_| is_link(map))?.path(&own.account)?;
    let (_, id) = names::parse_version_object(&path.object)?;
    (path.account == own.account && path.container == *hidden).then_some((path, id))
}

/// Tells the client which version an answer about the current object is of, and never where versions are kept.
pub fn show(map: &mut HeaderMap, own: &ObjectPath, hidden: &ContainerName) {
    for name in [
        VERSIONS_SYMLINK,
        "x-object-sysmeta-symloop-extend",
        "x-object-sysmeta-allow-reserved-names",
    ] {
        map.remove(name);
    }
    headers::set(map, VERSION_ID, NULL);
    if let Some(id) = location(map).and_then(|path| version_at(&path, own, hidden)) {
        let public = format!("/v1{}?version-id={}", own.path(), id.text());
        headers::set(map, CONTENT_LOCATION.as_str(), &public);
        headers::set(map, VERSION_ID, &id.text());
    }
    let target = headers::text(map, TARGET).and_then(|target| percent::unquote(target).ok());
    let target = target.and_then(|target| Target::parse(&format!("{}/{target}", own.account)).ok());
    if let Some(Target::Object(path)) = target
        && let Some(id) = version_at(&path, own, hidden)
    {
        let public = percent::quote(&format!("{}/{}", own.container, own.object));
        headers::set(map, TARGET, &format!("{public}?version-id={}", id.text()));
        headers::set(map, VERSION_ID, &id.text());
    }
}

/// The object that an answer comes from, when links led there.
pub fn location(map: &HeaderMap) -> Option<ObjectPath> {
    let location = percent::unquote(headers::text(map, CONTENT_LOCATION.as_str())?).ok()?;
    match Target::parse(location.strip_prefix("/v1/")?).ok()? {
        Target::Object(path) => Some(path),
        Target::Account(_) | Target::Container(_) => None,
    }
}

fn version_at(path: &ObjectPath, own: &ObjectPath, hidden: &ContainerName) -> Option<VersionId> {
    if path.account != own.account || path.container != *hidden {
        return None;
    }
    names::parse_version_object(&path.object).map(|(_, id)| id)
}

/// What a link promises of its target, given the target's own head.
pub fn promise(head: &HeaderMap) -> Option<String> {
    Link::of(head).and_then(|link| link.etag).or_else(|| etag(head))
}

/// The ETag of an answer, without quotes.
pub fn etag(map: &HeaderMap) -> Option<String> {
    let etag = headers::text(map, ETAG.as_str())?.trim_matches('"');
    (!etag.is_empty()).then(|| etag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::name::{AccountName, ObjectName};
    use martlet_service::headers::of as map;

    fn own() -> ObjectPath {
        ObjectPath {
            account: AccountName::new("a").unwrap(),
            container: ContainerName::new("c").unwrap(),
            object: ObjectName::new("o p").unwrap(),
        }
    }

    fn hidden() -> ContainerName {
        names::versions_container("c").unwrap()
    }

    fn version() -> Version {
        let id = VersionId::parse("1234567890.12345").unwrap();
        Version {
            id,
            path: names::version_path(&own(), &hidden(), id).unwrap(),
            etag: "own".into(),
            promise: "e".into(),
            bytes: 7,
            content_type: "a/b; charset=x; swift_bytes=9".into(),
        }
    }

    #[test]
    fn a_link_has_what_is_the_links() {
        let asked = map(&[
            ("x-object-meta-a", "1"),
            ("x-delete-at", "9999999999"),
            ("etag", "e"),
            ("x-static-large-object", "True"),
            ("x-object-sysmeta-slo-etag", "s"),
            ("x-object-sysmeta-martlet-multipart", "u"),
            (header::OVERRIDE_SIZE, "7"),
            (header::OVERRIDE_ETAG, "m; slo_etag=s"),
            ("x-symlink-target", "d/p"),
            ("content-type", "a/b"),
            ("transfer-encoding", "chunked"),
        ]);
        let link = headers(&asked, &version());
        let target = "%00versions%00c/%00o%20p%008765432109.87654";
        assert_eq!(
            link,
            map(&[
                ("x-object-meta-a", "1"),
                ("x-delete-at", "9999999999"),
                ("content-type", "a/b; charset=x"),
                ("content-length", "0"),
                (VERSIONS_SYMLINK, "true"),
                ("x-object-sysmeta-symlink-target", target),
                ("x-object-sysmeta-symlink-target-etag", "e"),
                ("x-object-sysmeta-symlink-target-bytes", "7"),
                ("x-object-sysmeta-symloop-extend", "true"),
                ("x-object-sysmeta-allow-reserved-names", "true"),
                (
                    header::OVERRIDE_ETAG,
                    &format!(
                        "m; slo_etag=s; symlink_target={target}; symlink_target_etag=e; symlink_target_bytes=7"
                    )
                ),
            ])
        );
        let (path, id) = version_of(&link, &own(), &hidden()).unwrap();
        assert_eq!((path, id), (version().path, version().id));
        let other = ContainerName::new("\0versions\0d").unwrap();
        assert_eq!(version_of(&link, &own(), &other), None);
        let mut of_a_client = link;
        of_a_client.remove(VERSIONS_SYMLINK);
        assert_eq!(version_of(&of_a_client, &own(), &hidden()), None);
    }

    #[test]
    fn a_links_row_says_what_the_versions_says() {
        for (row, expected) in [
            ("m; slo_etag=s", "m; slo_etag=s"),
            (
                "m; symlink_target=c/o; slo_etag=s; symlink_target_etag=e",
                "m; slo_etag=s",
            ),
        ] {
            assert_eq!(
                row_of_version(&map(&[(header::OVERRIDE_ETAG, row)])).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(row_of_version(&map(&[])), None);
    }

    #[test]
    fn answers_name_versions_and_hide_their_place() {
        let place = "%00versions%00c/%00o%20p%008765432109.87654";
        let id = "1234567890.12345";
        let mut followed = map(&[("content-location", &format!("/v1/a/{place}"))]);
        show(&mut followed, &own(), &hidden());
        assert_eq!(
            followed,
            map(&[
                ("content-location", "/v1/a/c/o%20p?version-id=1234567890.12345"),
                (VERSION_ID, id)
            ])
        );
        let mut link = map(&[
            (TARGET, place),
            (VERSIONS_SYMLINK, "true"),
            ("x-object-sysmeta-allow-reserved-names", "true"),
        ]);
        show(&mut link, &own(), &hidden());
        assert_eq!(
            link,
            map(&[(TARGET, "c/o%20p?version-id=1234567890.12345"), (VERSION_ID, id)])
        );
        for other in [
            map(&[]),
            map(&[("content-location", "/v1/a/d/p")]),
            map(&[(TARGET, "d/p")]),
        ] {
            let mut shown = other.clone();
            show(&mut shown, &own(), &hidden());
            assert_eq!(shown.remove(VERSION_ID).unwrap(), NULL);
            assert_eq!(shown, other);
        }
    }
}
