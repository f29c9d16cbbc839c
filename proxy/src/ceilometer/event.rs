//! What a request used, in the form that Ceilometer's `objectstore.http.request` meters read: an event of CADF (DMTF's
//! DSP0262) in a notification of oslo.messaging. Pure.

use super::Driver;
use serde_json::{Map, Value, json};

const EVENT_TYPE: &str = "objectstore.http.request";
/// Whom ceilometermiddleware names as the sender; readers may choose by it.
const PUBLISHER: &str = "ceilometermiddleware";
const ENVELOPE_VERSION: &str = "2.0";

/// One request, as it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub method: String,
    /// Quoted, without the slash at its beginning: `v1/AUTH_test/container/object`.
    pub path: String,
    /// The user's and project's ids, where Keystone knows them.
    pub user: Option<String>,
    pub project: Option<String>,
    /// Number and name of the storage policy.
    pub policy: Option<(u16, String)>,
    /// Names as notifications show them (`x_object_meta_color`), and values.
    pub headers: Vec<(String, String)>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// The request ended in a fault of the proxy itself. Refusals are no failures.
    pub has_failed: bool,
    /// When it ended, microseconds since 1970.
    pub at_micros: u64,
}

/// The parts of a path, all quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'a> {
    version: &'a str,
    account: &'a str,
    container: Option<&'a str>,
    object: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `None`: not about an account.
    fn of(path: &'a str) -> Option<Self> {
        let (version, rest) = path.split_once('/')?;
        let (account, rest) = match rest.split_once('/') {
            Some((account, rest)) => (account, Some(rest).filter(|rest| !rest.is_empty())),
            None => (rest, None),
        };
        let (container, object) = match rest.map(|rest| rest.split_once('/').ok_or(rest)) {
            None => (None, None),
            Some(Ok((container, object))) => (Some(container), Some(object)),
            Some(Err(container)) => (Some(container), None),
        };
        (!version.is_empty() && !account.is_empty()).then_some(Parts {
            version,
            account,
            container,
            object,
        })
    }
}

/// CADF's name for what a method does.
fn action(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" | "OPTIONS" => "read",
        "POST" => "create",
        "PUT" | "PATCH" => "update",
        "DELETE" => "delete",
        "TRACE" => "capture",
        _ => "unknown",
    }
}

/// The body of the notification; `None` for a path that is not about an account. `prefix` is what account names have
/// before the id of their project. `id` gives a new identifier each time.
fn payload(usage: &Usage, prefix: &str, mut id: impl FnMut() -> String) -> Option<Value> {
    let parts = Parts::of(&usage.path)?;
    let mut metadata = Map::new();
    metadata.insert("path".into(), usage.path.as_str().into());
    metadata.insert("version".into(), parts.version.into());
    metadata.insert("container".into(), parts.container.into());
    metadata.insert("object".into(), parts.object.into());
    if let Some((index, name)) = &usage.policy {
        metadata.insert("policy_idx".into(), index.to_string().into());
        metadata.insert("policy_name".into(), name.as_str().into());
        metadata.insert("policy_type".into(), "replication".into());
    }
    for (name, value) in &usage.headers {
        metadata.insert(format!("http_header_{name}"), value.as_str().into());
    }
    let resource = match prefix {
        "" => parts.account,
        _ => match parts.account.split_once(prefix) {
            Some((_, project)) if !project.is_empty() => project,
            _ => &usage.path,
        },
    };
    let mut measure = |name: &str, unit: &str, result: u64| json!({"result": result, "metric": {"metricId": id(), "name": name, "unit": unit}});
    let mut measurements = vec![measure("storage.api.request", "request", 1)];
    if usage.received_bytes > 0 {
        measurements.push(measure(
            "storage.objects.incoming.bytes",
            "B",
            usage.received_bytes,
        ));
    }
    if usage.sent_bytes > 0 {
        measurements.push(measure("storage.objects.outgoing.bytes", "B", usage.sent_bytes));
    }
    Some(json!({
        "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
        "eventType": "activity",
        "id": id(),
        "eventTime": moment(usage.at_micros, 'T'),
        "action": action(&usage.method),
        "outcome": if usage.has_failed { "failure" } else { "success" },
        "observer": {"id": "target"},
        "initiator": {
            "typeURI": "service/security/account/user",
            "id": usage.user.clone().unwrap_or_else(&mut id),
            "project_id": usage.project,
        },
        "target": {
            "typeURI": "service/storage/object",
            "id": resource,
            "action": usage.method.to_ascii_lowercase(),
            "metadata": metadata,
        },
        "measurements": measurements,
    }))
}

/// The whole message, as the broker gets it; `None` for a path that is not about an account.
pub fn message(usage: &Usage, prefix: &str, driver: Driver) -> Option<Vec<u8>> {
    let message = json!({
        "message_id": uuid(),
        "publisher_id": PUBLISHER,
        "event_type": EVENT_TYPE,
        "priority": "INFO",
        "payload": payload(usage, prefix, uuid)?,
        "timestamp": moment(usage.at_micros, ' '),
        // By which readers see that one has come twice.
        "_unique_id": uuid().replace('-', ""),
    });
    let whole = match driver {
        Driver::Messaging => message,
        Driver::Messagingv2 => {
            json!({"oslo.version": ENVELOPE_VERSION, "oslo.message": message.to_string()})
        }
    };
    Some(whole.to_string().into_bytes())
}

/// A moment of UTC as Python writes it, without a zone.
fn moment(micros: u64, between: char) -> String {
    let nanos = i128::from(micros) * 1_000;
    let at =
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second, micro)) = (at.date(), at.time().as_hms_micro());
    format!("{date}{between}{hour:02}:{minute:02}:{second:02}.{micro:06}")
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Usage {
        Usage {
            method: "PUT".into(),
            path: "v1/AUTH_abc/con%20tainer/o%20b/j".into(),
            user: Some("uid".into()),
            project: Some("abc".into()),
            policy: Some((0, "gold".into())),
            headers: vec![("x_object_meta_color".into(), "blue".into())],
            received_bytes: 5,
            at_micros: 1_795_644_723_543_863,
            ..Usage::default()
        }
    }

    fn numbered() -> impl FnMut() -> String {
        let mut last = 0;
        move || {
            last += 1;
            format!("id-{last}")
        }
    }

    /// What ceilometermiddleware 3.13.0 sent of this request, but for the ids.
    #[test]
    fn an_upload_reads_as_from_ceilometermiddleware() {
        let expected = json!({
            "action": "update",
            "eventTime": "2026-11-25T22:12:03.543863",
            "eventType": "activity",
            "id": "id-3",
            "initiator": {"id": "uid", "project_id": "abc", "typeURI": "service/security/account/user"},
            "measurements": [
                {"metric": {"metricId": "id-1", "name": "storage.api.request", "unit": "request"}, "result": 1},
                {"metric": {"metricId": "id-2", "name": "storage.objects.incoming.bytes", "unit": "B"}, "result": 5},
            ],
            "observer": {"id": "target"},
            "outcome": "success",
            "target": {
                "action": "put",
                "id": "abc",
                "metadata": {
                    "container": "con%20tainer",
                    "http_header_x_object_meta_color": "blue",
                    "object": "o%20b/j",
                    "path": "v1/AUTH_abc/con%20tainer/o%20b/j",
                    "policy_idx": "0",
                    "policy_name": "gold",
                    "policy_type": "replication",
                    "version": "v1",
                },
                "typeURI": "service/storage/object",
            },
            "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
        });
        assert_eq!(payload(&usage(), "AUTH_", numbered()).unwrap(), expected);
    }

    #[test]
    fn of_a_visitor_there_is_no_project_and_a_new_id() {
        let visitor = Usage {
            method: "GET".into(),
            path: "v1/AUTH_abc".into(),
            user: None,
            project: None,
            policy: None,
            headers: Vec::new(),
            received_bytes: 0,
            sent_bytes: 17,
            has_failed: true,
            ..usage()
        };
        let seen = payload(&visitor, "AUTH_", numbered()).unwrap();
        assert_eq!(seen["initiator"]["project_id"], Value::Null);
        assert!(seen["initiator"]["id"].as_str().unwrap().starts_with("id-"));
        assert_eq!(
            (&seen["action"], &seen["outcome"]),
            (&json!("read"), &json!("failure"))
        );
        let metadata = json!({"path": "v1/AUTH_abc", "version": "v1", "container": null, "object": null});
        assert_eq!(seen["target"]["metadata"], metadata);
        assert_eq!(
            seen["measurements"][1]["metric"]["name"],
            "storage.objects.outgoing.bytes"
        );
        assert_eq!(seen["measurements"][1]["result"], 17);
    }

    #[test]
    fn the_resource_is_the_account_without_its_prefix() {
        for (path, prefix, expected) in [
            ("v1/AUTH_abc/c", "AUTH_", "abc"),
            ("v1/SWIFT_abc/c", "AUTH_", "v1/SWIFT_abc/c"),
            ("v1/AUTH_/c", "AUTH_", "v1/AUTH_/c"),
            ("v1/AUTH_abc/c", "", "AUTH_abc"),
        ] {
            let usage = Usage {
                path: path.into(),
                ..usage()
            };
            assert_eq!(
                payload(&usage, prefix, numbered()).unwrap()["target"]["id"],
                expected,
                "{path}"
            );
        }
        for path in ["", "v1", "v1/", "/x", "/"] {
            let usage = Usage {
                path: path.into(),
                ..usage()
            };
            assert_eq!(payload(&usage, "AUTH_", numbered()), None, "{path:?}");
        }
    }

    #[test]
    fn messages_are_wrapped_as_the_driver_says() {
        let read = |driver| -> Value {
            serde_json::from_slice(&message(&usage(), "AUTH_", driver).unwrap()).unwrap()
        };
        let bare = read(Driver::Messaging);
        assert_eq!(bare["event_type"], "objectstore.http.request");
        assert_eq!(bare["timestamp"], "2026-11-25 22:12:03.543863");
        let wrapped = read(Driver::Messagingv2);
        assert_eq!(wrapped["oslo.version"], "2.0");
        let inside: Value = serde_json::from_str(wrapped["oslo.message"].as_str().unwrap()).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&inside), keys(&bare));
        assert_ne!(inside["message_id"], bare["message_id"]);
        assert_eq!(inside["_unique_id"].as_str().unwrap().len(), 32);
    }

    #[test]
    fn uuids_are_of_version_4() {
        let id = uuid();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
        assert_ne!(id, uuid());
    }
}
