//! Reads a backend request strictly: its path, timestamp and policy. Whatever is wrong becomes a refusal, never a panic.

use crate::errors::Refusal;
use http::{HeaderMap, HeaderValue};
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ContainerName, NameError, ObjectName};
use martlet_protocol::percent;
use martlet_protocol::policy::{Policies, PolicyIndex};
use martlet_protocol::query::Query;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::{VersionId, parse_version_name};
use martlet_service::headers;
use std::borrow::Cow;

/// Starts the names that only the cluster itself may use (versions, for one).
pub const RESERVED: char = '\0';

/// `/device/partition/account[/container[/object]]`, decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct BackendPath {
    pub device: String,
    pub account: AccountName,
    pub container: Option<ContainerName>,
    pub object: Option<ObjectName>,
}

impl BackendPath {
    /// 412 for bytes that are not UTF-8, 400 for everything else that is no such path, as in Swift.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::BadRequest(format!("Invalid path: {}", percent::quote(path)));
        let decoded = if path.contains('%') {
            let decoded = percent::unquote(path);
            Cow::Owned(
                decoded.map_err(|_| Refusal::PreconditionFailed("Invalid UTF8 or contains NULL".into()))?,
            )
        } else {
            Cow::Borrowed(path)
        };
        let mut parts = decoded.strip_prefix('/').ok_or_else(bad)?.splitn(5, '/');
        let device = parts
            .next()
            .filter(|device| !matches!(*device, "" | "." | ".."))
            .ok_or_else(bad)?;
        // The partition is the proxy's business; here it only has to be one.
        let partition = parts.next().ok_or_else(bad)?;
        if partition.is_empty()
            || !partition.bytes().all(|b| b.is_ascii_digit())
            || partition.parse::<u32>().is_err()
        {
            return Err(Refusal::BadRequest(format!(
                "Invalid partition: {}",
                percent::quote_segment(partition)
            )));
        }
        let account = AccountName::new(parts.next().ok_or_else(bad)?)?;
        let last = |part: &Option<&str>| part.is_none_or(str::is_empty);
        let (container, object) = (parts.next(), parts.next());
        if last(&container) {
            return if object.is_some() {
                Err(bad())
            } else {
                Self::checked(device, account, None, None)
            };
        }
        let container = container.map(ContainerName::new).transpose()?;
        let object = object
            .filter(|object| !object.is_empty())
            .map(ObjectName::new)
            .transpose()?;
        Self::checked(device, account, container, object)
    }

    /// The path of an object's row, from names as they are.
    pub fn of_row(device: &str, account: &str, container: &str, object: &str) -> Result<Self, Refusal> {
        let (account, container) = (AccountName::new(account)?, ContainerName::new(container)?);
        Self::checked(device, account, Some(container), Some(ObjectName::new(object)?))
    }

    /// Names with the reserved byte begin with it, as in Swift. Containers of the cluster's own, and all containers of
    /// accounts of its own, take objects of any name: there the cluster alone chooses names (an S3 upload session is
    /// called `key NUL upload id`). Of names with the reserved byte users' containers take those of versions only.
    fn checked(
        device: &str,
        account: AccountName,
        container: Option<ContainerName>,
        object: Option<ObjectName>,
    ) -> Result<Self, Refusal> {
        let refuse = |text: &str| Err(Refusal::BadRequest(text.into()));
        let misused = |name: &str| name.contains(RESERVED) && !name.starts_with(RESERVED);
        if misused(&account) {
            return refuse("Invalid reserved-namespace account");
        }
        if container.as_deref().is_some_and(misused) {
            return refuse("Invalid reserved-namespace container");
        }
        let is_own = account.starts_with('.')
            || container
                .as_deref()
                .is_some_and(|name| name.starts_with(RESERVED));
        let is_foreign = |name: &ObjectName| name.contains(RESERVED) && parse_version_name(name).is_none();
        if !is_own && object.as_ref().is_some_and(is_foreign) {
            return refuse("Invalid reserved-namespace object in user-namespace container");
        }
        Ok(BackendPath {
            device: device.to_owned(),
            account,
            container,
            object,
        })
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Refusal::BadRequest(format!("Invalid path: {error}"))
    }
}

/// What a request says in named fields: the headers of one that was sent, or those that a row would be sent with.
pub trait Fields {
    /// The first value of a name, which is given in lower case.
    fn value(&self, name: &str) -> Option<&[u8]>;

    /// The same as UTF-8.
    fn utf8(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn is_true(&self, name: &str) -> bool {
        self.utf8(name).is_some_and(martlet_protocol::listing::is_true)
    }
}

impl Fields for HeaderMap {
    fn value(&self, name: &str) -> Option<&[u8]> {
        headers::find(self, name).map(HeaderValue::as_bytes)
    }
}

impl Fields for [(String, String)] {
    fn value(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_bytes())
    }
}

/// The decoded query string of a listing.
pub fn query(uri: &http::Uri) -> Result<Query, Refusal> {
    Query::parse(uri.query().unwrap_or(""))
        .map_err(|_| Refusal::BadRequest("query parameter not valid UTF-8".into()))
}

/// `X-Timestamp`, which every write carries.
pub fn timestamp(headers: &(impl Fields + ?Sized)) -> Result<Timestamp, Refusal> {
    required_timestamp(headers, header::X_TIMESTAMP)
}

/// A timestamp that must be there.
pub fn required_timestamp(headers: &(impl Fields + ?Sized), name: &str) -> Result<Timestamp, Refusal> {
    optional_timestamp(headers, name)?.ok_or_else(|| Refusal::BadRequest(format!("Missing {name} header")))
}

/// A timestamp that may be absent, but not wrong.
pub fn optional_timestamp(
    headers: &(impl Fields + ?Sized),
    name: &str,
) -> Result<Option<Timestamp>, Refusal> {
    if headers.value(name).is_none() {
        return Ok(None);
    }
    let parsed = headers
        .utf8(name)
        .and_then(|text| Timestamp::parse(text.trim()).ok());
    parsed
        .map(Some)
        .ok_or_else(|| Refusal::BadRequest(format!("Invalid {name} header")))
}

/// The version of an object that is current, when the object has versions.
pub fn optional_version(headers: &(impl Fields + ?Sized)) -> Result<Option<VersionId>, Refusal> {
    let name = header::X_BACKEND_MARTLET_VERSION_ID;
    if headers.value(name).is_none() {
        return Ok(None);
    }
    let parsed = headers.utf8(name).and_then(|text| VersionId::parse(text).ok());
    parsed
        .map(Some)
        .ok_or_else(|| Refusal::BadRequest(format!("Invalid {name} header")))
}

/// A count or size that must be there: a whole number, not negative.
pub fn required_number(headers: &(impl Fields + ?Sized), name: &str) -> Result<u64, Refusal> {
    if headers.value(name).is_none() {
        return Err(Refusal::BadRequest(format!("Missing {name} header")));
    }
    let parsed = headers
        .utf8(name)
        .and_then(|text| text.trim().parse::<u64>().ok());
    // Counts are added as signed numbers: more than that cannot be a size.
    parsed
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or_else(|| Refusal::BadRequest(format!("Invalid {name} header")))
}

/// UTF-8 text that must be there.
pub fn required_text<'a>(headers: &'a (impl Fields + ?Sized), name: &str) -> Result<&'a str, Refusal> {
    if headers.value(name).is_none() {
        return Err(Refusal::BadRequest(format!("Missing {name} header")));
    }
    headers
        .utf8(name)
        .ok_or_else(|| Refusal::BadRequest(format!("Invalid {name} header")))
}

/// `X-Backend-Storage-Policy-Index` when given; 400 when it names no policy of this cluster.
pub fn policy(headers: &(impl Fields + ?Sized), policies: &Policies) -> Result<Option<PolicyIndex>, Refusal> {
    named_policy(headers, header::X_BACKEND_STORAGE_POLICY_INDEX, policies)
}

/// `X-Backend-Storage-Policy-Index` when given, be it known here or not: an account keeps rows of retired policies.
pub fn any_policy(headers: &HeaderMap) -> Result<Option<PolicyIndex>, Refusal> {
    let name = header::X_BACKEND_STORAGE_POLICY_INDEX;
    let Some(value) = headers::find(headers, name) else {
        return Ok(None);
    };
    let index = headers::value_text(value).and_then(|text| PolicyIndex::parse(text.trim()));
    index
        .map(Some)
        .ok_or_else(|| Refusal::BadRequest(format!("Invalid {name} header")))
}

/// A policy index in some header, checked against the cluster's policies.
pub fn named_policy(
    headers: &(impl Fields + ?Sized),
    name: &str,
    policies: &Policies,
) -> Result<Option<PolicyIndex>, Refusal> {
    let Some(value) = headers.value(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value).ok();
    let index = text.and_then(|text| PolicyIndex::parse(text.trim()));
    match index.filter(|index| policies.by_index(*index).is_some()) {
        Some(index) => Ok(Some(index)),
        None => {
            let shown = String::from_utf8_lossy(value).into_owned();
            Err(Refusal::BadRequest(format!("Invalid {name} {shown:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> Result<(String, String, Option<String>, Option<String>), Refusal> {
        BackendPath::parse(path).map(|path| {
            let text = |name: &str| name.to_owned();
            (
                path.device,
                path.account.to_string(),
                path.container.as_deref().map(text),
                path.object.as_deref().map(text),
            )
        })
    }

    #[test]
    fn paths_are_split_as_in_swift() {
        let some = |text: &str| Some(text.to_owned());
        let path = |container, object| Ok(("d".to_owned(), "a".to_owned(), container, object));
        assert_eq!(shown("/d/1/a"), path(None, None));
        assert_eq!(shown("/d/1/a/"), path(None, None));
        assert_eq!(shown("/d/1/a/c"), path(some("c"), None));
        assert_eq!(shown("/d/1/a/c/"), path(some("c"), None));
        assert_eq!(shown("/d/1/a/c/o/p%20q/"), path(some("c"), some("o/p q/")));
        assert_eq!(
            shown("/d/1/a/%C3%BC/%00"),
            Err(Refusal::BadRequest(
                "Invalid reserved-namespace object in user-namespace container".into()
            ))
        );
        assert_eq!(shown("/d/1/a/%00c/%00o"), path(some("\0c"), some("\0o")));
        assert_eq!(shown("/d/1/a/%00c/key%00id"), path(some("\0c"), some("key\0id")));
    }

    #[test]
    fn bad_paths_are_refused() {
        for path in [
            "",
            "/",
            "/d",
            "/d/1",
            "/d/1/",
            "/d/1//c",
            "/d/1/a//o",
            "//1/a",
            "/../1/a",
            "/./1/a",
            "/d/x/a",
            "/d/-1/a",
            "/d/+1/a",
            "/d/99999999999/a",
            "d/1/a",
            "/d/1/a%00b/c",
            "/d/1/a/c%00d",
        ] {
            assert!(
                matches!(BackendPath::parse(path), Err(Refusal::BadRequest(_))),
                "{path}"
            );
        }
        assert!(matches!(
            BackendPath::parse("/d/1/a/%ff"),
            Err(Refusal::PreconditionFailed(_))
        ));
    }
}
