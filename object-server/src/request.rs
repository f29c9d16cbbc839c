//! A backend request taken apart: the address in its path, and headers that become typed values or a 400.

use crate::config::ObjectServerConfig;
use crate::errors::Refusal;
use http::{HeaderMap, StatusCode};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::timestamp::Timestamp;
use martlet_protocol::version::VersionId;
use martlet_protocol::{header, percent};
use martlet_service::headers;
use std::borrow::Cow;

/// The largest second that Swift writes as `X-Delete-At`.
const MAX_DELETE_AT_SECS: i128 = 9_999_999_999;

/// Where an object is: `/device/partition/account/container/object`, decoded, and the policy it is under.
pub(crate) struct Address<'r> {
    pub device: Cow<'r, str>,
    pub account: Cow<'r, str>,
    pub container: Cow<'r, str>,
    pub object: Cow<'r, str>,
    pub policy: PolicyIndex,
    pub hash: PathHash,
}

impl<'r> Address<'r> {
    pub fn parse(path: &'r str, map: &HeaderMap, config: &ObjectServerConfig) -> Result<Self, Refusal> {
        let policy = policy(map, config)?;
        let allows_reserved = headers::is_true(map, header::X_BACKEND_ALLOW_RESERVED_NAMES);
        let mut segments = path.strip_prefix('/').unwrap_or_default().splitn(5, '/');
        let mut next = || match segments.next() {
            Some(segment) if !segment.is_empty() => decode(segment, allows_reserved),
            _ => Err(Refusal::bad_request(format!("Invalid path: {path}"))),
        };
        let (device, partition, account, container, object) = (next()?, next()?, next()?, next()?, next()?);
        if matches!(&*device, "." | "..") || device.contains('/') {
            return Err(Refusal::bad_request(format!("Invalid device: {device}")));
        }
        // The hash says where the record is; the partition only has to be one.
        if partition.parse::<u32>().is_err() {
            return Err(Refusal::bad_request(format!("Invalid partition: {partition}")));
        }
        if account.contains('/') || container.contains('/') {
            return Err(Refusal::bad_request(format!("Invalid path: {path}")));
        }
        let longest = config.limits.longest_object_name(&container, &object);
        if object.len() > longest {
            let length = object.len();
            return Err(Refusal::bad_request(format!(
                "Object name length of {length} longer than {longest}"
            )));
        }
        let hash = config.salt.hash(&account, Some(&container), Some(&object));
        Ok(Address {
            device,
            account,
            container,
            object,
            policy,
            hash,
        })
    }
}

/// Decodes one segment, without a copy when nothing in it is encoded.
fn decode(segment: &str, allows_reserved: bool) -> Result<Cow<'_, str>, Refusal> {
    let refused = || Refusal::precondition_failed("Invalid UTF8 or contains NULL");
    let text = match segment.contains('%') {
        true => Cow::Owned(percent::unquote(segment).map_err(|_| refused())?),
        false => Cow::Borrowed(segment),
    };
    // Names with NUL are the cluster's own; clients are kept from saying them at the proxy.
    if text.contains('\0') && !allows_reserved {
        Err(refused())
    } else {
        Ok(text)
    }
}

/// No header means policy 0, as in Swift.
fn policy(headers: &HeaderMap, config: &ObjectServerConfig) -> Result<PolicyIndex, Refusal> {
    let text = text(headers, header::X_BACKEND_STORAGE_POLICY_INDEX)?.unwrap_or("");
    let index = if text.is_empty() {
        Some(PolicyIndex(0))
    } else {
        PolicyIndex::parse(text)
    };
    match index.and_then(|index| config.policies.by_index(index)) {
        Some(policy) => Ok(policy.index),
        None => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("No policy with index {text}"),
        )),
    }
}

/// A header as text. `None`: it is not there. Bytes that are not UTF-8 are a 400.
pub(crate) fn text<'h>(map: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    match headers::find(map, name) {
        None => Ok(None),
        Some(value) => match headers::value_text(value) {
            Some(text) => Ok(Some(text)),
            None => Err(Refusal::bad_request(format!("Header {name} is not valid UTF-8"))),
        },
    }
}

/// The caller works on copies, not for a client: expired objects are shown and old expiries accepted.
pub(crate) fn opens_expired(map: &HeaderMap) -> bool {
    headers::is_true(map, header::X_BACKEND_OPEN_EXPIRED)
        || headers::is_true(map, header::X_BACKEND_REPLICATION)
}

/// The version of the object that is current, as the caller knows.
pub(crate) fn current_version(map: &HeaderMap) -> Result<Option<VersionId>, Refusal> {
    match text(map, header::X_BACKEND_MARTLET_VERSION_ID)? {
        None => Ok(None),
        Some(id) => match VersionId::parse(id) {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(Refusal::bad_request("Invalid version id")),
        },
    }
}

/// The moment of a write.
pub(crate) fn required_timestamp(map: &HeaderMap) -> Result<Timestamp, Refusal> {
    match text(map, header::X_TIMESTAMP)? {
        Some(text) => {
            Timestamp::parse(text.trim()).map_err(|_| Refusal::bad_request("Invalid X-Timestamp header"))
        }
        None => Err(Refusal::bad_request("Missing X-Timestamp header")),
    }
}

/// The moment a read is judged at: the caller's, or `now`.
pub(crate) fn timestamp_or(map: &HeaderMap, now: impl FnOnce() -> Timestamp) -> Result<Timestamp, Refusal> {
    if map.contains_key(header::X_TIMESTAMP) {
        return required_timestamp(map);
    }
    Ok(now())
}

/// Seconds as Python reads an integer (blanks and signs allowed), kept within what ten digits can write.
fn seconds(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<i128>().ok()
}

fn within_ten_digits(seconds: i128) -> u64 {
    seconds.clamp(0, MAX_DELETE_AT_SECS) as u64
}

/// The expiry a PUT asks for. It must lie after the request's moment, unless a copy is being made.
pub(crate) fn put_delete_at(map: &HeaderMap, at: Timestamp) -> Result<Option<u64>, Refusal> {
    let past = |delete_at: u64| Timestamp::from_secs(delete_at) <= at;
    if let Some(after) = text(map, header::X_DELETE_AFTER)? {
        let after = seconds(after).ok_or_else(|| Refusal::bad_request("Non-integer X-Delete-After"))?;
        let delete_at = within_ten_digits(i128::from(at.secs()) + after);
        if past(delete_at) {
            return Err(Refusal::bad_request("X-Delete-After in past"));
        }
        return Ok(Some(delete_at));
    }
    let Some(delete_at) = text(map, header::X_DELETE_AT)? else {
        return Ok(None);
    };
    let delete_at = seconds(delete_at).ok_or_else(|| Refusal::bad_request("Non-integer X-Delete-At"))?;
    let delete_at = within_ten_digits(delete_at);
    if past(delete_at) && !headers::is_true(map, header::X_BACKEND_REPLICATION) {
        return Err(Refusal::bad_request("X-Delete-At in past"));
    }
    Ok(Some(delete_at))
}

/// The expiry a POST asks for; none, empty and 0 all take an expiry away.
pub(crate) fn post_delete_at(map: &HeaderMap, at: Timestamp) -> Result<Option<u64>, Refusal> {
    let delete_at = match text(map, header::X_DELETE_AT)? {
        None | Some("") => return Ok(None),
        Some(delete_at) => {
            seconds(delete_at).ok_or_else(|| Refusal::bad_request("Non-integer X-Delete-At"))?
        }
    };
    if delete_at == 0 {
        return Ok(None);
    }
    let past = delete_at < 0 || Timestamp::from_secs(within_ten_digits(delete_at)) < at;
    if past {
        return Err(Refusal::bad_request("X-Delete-At in past"));
    }
    Ok(Some(within_ten_digits(delete_at)))
}

/// The expiry a DELETE insists on.
pub(crate) fn if_delete_at(map: &HeaderMap) -> Result<Option<u64>, Refusal> {
    match text(map, header::X_IF_DELETE_AT)? {
        None => Ok(None),
        Some(text) => match Timestamp::parse(text.trim()) {
            Ok(at) => Ok(Some(at.secs())),
            Err(_) => Err(Refusal::bad_request("Bad X-If-Delete-At header value")),
        },
    }
}

/// `abc` of `"abc"`, lower-case.
pub(crate) fn bare_etag(text: &str) -> String {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    bare.unwrap_or(text).to_ascii_lowercase()
}
