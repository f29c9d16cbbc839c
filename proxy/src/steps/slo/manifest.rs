//! A manifest as a client sends it, checked before anything is asked of the cluster. Pure.

use super::stored::Segment;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use martlet_protocol::name::{AccountName, ContainerName, ObjectName, ObjectPath};
use martlet_protocol::range::{RangeSpec, Resolved, parse_ranges, resolve};
use serde_json::{Map, Value};

/// A checked entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Bytes to stand in the manifest, as base64.
    Data {
        base64: String,
        length: u64,
    },
    Object(ObjectEntry),
}

impl Entry {
    pub fn object(&self) -> Option<&ObjectEntry> {
        match self {
            Entry::Data { .. } => None,
            Entry::Object(entry) => Some(entry),
        }
    }
}

/// An entry that names an object, with what the client claims of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    /// As the client wrote it.
    pub written_path: String,
    pub path: ObjectPath,
    pub etag: Option<String>,
    pub size_bytes: Option<u64>,
    pub range: Option<RangeSpec>,
}

/// An object as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub length: u64,
    pub etag: String,
    pub content_type: String,
    pub last_modified: String,
    pub is_slo: bool,
}

/// Checks a manifest. The error is the body of a 400: one line for each entry that is wrong.
pub fn parse(body: &[u8], own_path: &ObjectPath) -> Result<Vec<Entry>, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|_| "Manifest must be valid JSON.\n".to_owned())?;
    let Value::Array(items) = value else {
        return Err("Manifest must be a list.\n".into());
    };
    let count = items.len();
    let mut entries = Vec::with_capacity(count);
    let mut problems = String::new();
    for (index, item) in items.iter().enumerate() {
        match entry(item, index + 1 == count, own_path) {
            Ok(entry) => entries.push(entry),
            Err(problem) => problems.push_str(&format!("Index {index}: {problem}\n")),
        }
    }
    let is_all_data = count > 0 && items.iter().all(|item| item.get("data").is_some());
    if is_all_data {
        problems.push_str("Inline data segments require at least one object-backed segment.\n");
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(problems)
    }
}

fn entry(item: &Value, is_last: bool, own_path: &ObjectPath) -> Result<Entry, String> {
    let Value::Object(map) = item else {
        return Err("not a JSON object".into());
    };
    let (kind, allowed): (&str, &[&str]) = if map.contains_key("data") {
        ("data", &["data"])
    } else if map.contains_key("path") {
        ("path", &["path", "etag", "size_bytes", "range"])
    } else {
        return Err("expected keys to include one of 'data' or 'path'".into());
    };
    let mut extra: Vec<&String> = map
        .keys()
        .filter(|key| !allowed.contains(&key.as_str()))
        .collect();
    extra.sort();
    if !extra.is_empty() {
        let extra: Vec<String> = extra
            .into_iter()
            .map(|key| Value::from(key.as_str()).to_string())
            .collect();
        return Err(format!("extraneous keys {}", extra.join(", ")));
    }
    if kind == "data" {
        data_entry(map)
    } else {
        object_entry(map, is_last, own_path).map(Entry::Object)
    }
}

fn data_entry(map: &Map<String, Value>) -> Result<Entry, String> {
    let text = map.get("data").and_then(Value::as_str);
    let bytes = text.and_then(decode);
    match bytes {
        None => Err("data must be valid base64".into()),
        Some(bytes) if bytes.is_empty() => Err("too small; each segment must be at least 1 byte.".into()),
        Some(bytes) => Ok(Entry::Data {
            base64: STANDARD.encode(&bytes),
            length: bytes.len() as u64,
        }),
    }
}

/// Base64 with all the padding it needs, or more.
fn decode(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let needed = (4 - bare.len() % 4) % 4;
    if text.len() - bare.len() < needed {
        return None;
    }
    STANDARD_NO_PAD.decode(bare).ok()
}

fn object_entry(
    map: &Map<String, Value>,
    is_last: bool,
    own_path: &ObjectPath,
) -> Result<ObjectEntry, String> {
    let written = map
        .get("path")
        .and_then(Value::as_str)
        .ok_or("\"path\" must be a string")?;
    let etag = match map.get("etag") {
        None | Some(Value::Null) => None,
        Some(Value::String(etag)) => Some(etag.trim_matches('"').to_owned()),
        Some(_) => return Err("\"etag\" must be a string or null (if provided)".into()),
    };
    let path = segment_path(written, &own_path.account)
        .ok_or("path does not refer to an object. Path must be of the form /container/object.")?;
    let size_bytes = match map.get("size_bytes") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.as_u64().ok_or("invalid size_bytes")?),
        Some(Value::String(text)) => Some(text.trim().parse::<u64>().map_err(|_| "invalid size_bytes")?),
        Some(_) => return Err("invalid size_bytes".into()),
    };
    if size_bytes == Some(0) && !is_last {
        return Err("too small; each segment must be at least 1 byte.".into());
    }
    if path == *own_path {
        return Err("manifest must not include itself as a segment".into());
    }
    let range = match map.get("range") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => {
            let specs = parse_ranges(&format!("bytes={text}")).ok_or("invalid range")?;
            let [spec] = specs.as_slice() else {
                return Err("multiple ranges (only one allowed)".into());
            };
            if size_bytes.is_some_and(|size| cut(*spec, size).is_none()) {
                return Err("unsatisfiable range".into());
            }
            Some(*spec)
        }
        Some(_) => return Err("invalid range".into()),
    };
    Ok(ObjectEntry {
        written_path: written.to_owned(),
        path,
        etag,
        size_bytes,
        range,
    })
}

fn segment_path(written: &str, account: &AccountName) -> Option<ObjectPath> {
    let trimmed = written.trim_start_matches('/');
    if !trimmed.trim_end_matches('/').contains('/') {
        return None;
    }
    let (container, object) = trimmed.split_once('/')?;
    Some(ObjectPath {
        account: account.clone(),
        container: ContainerName::new(container).ok()?,
        object: ObjectName::new(object).ok()?,
    })
}

/// First byte and end of a range of an object of that length.
fn cut(spec: RangeSpec, length: u64) -> Option<(u64, u64)> {
    match resolve(&[spec], length) {
        Resolved::Ranges(ranges) => ranges.first().map(|range| (range.start, range.end)),
        Resolved::Whole | Resolved::Unsatisfiable => None,
    }
}

/// Compares an entry with what was found. Gives the segment to keep, or what is wrong with it.
pub fn verify(entry: &ObjectEntry, found: &Found, is_last: bool) -> Result<Segment, Vec<&'static str>> {
    let mut problems = Vec::new();
    let mut range = None;
    let mut length = found.length;
    if let Some(spec) = entry.range {
        match cut(spec, found.length) {
            None => problems.push("Unsatisfiable Range"),
            Some((start, end)) if (start, end) == (0, found.length) => {}
            Some((start, end)) => {
                length = end - start;
                range = Some(format!("{start}-{}", end - 1));
            }
        }
    }
    if length == 0 && !is_last {
        problems.push("Too small; each segment must be at least 1 byte.");
    }
    if entry.size_bytes.is_some_and(|size| size != found.length) {
        problems.push("Size Mismatch");
    }
    if entry.etag.as_deref().is_some_and(|etag| etag != found.etag) {
        problems.push("Etag Mismatch");
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Segment {
        name: format!("/{}", entry.written_path.trim_start_matches('/')),
        bytes: Some(found.length),
        hash: Some(found.etag.clone()),
        content_type: Some(found.content_type.clone()),
        last_modified: Some(found.last_modified.clone()),
        range,
        sub_slo: found.is_slo,
        data: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::name::Target;

    fn own() -> ObjectPath {
        let Ok(Target::Object(path)) = Target::parse("a/c/manifest") else {
            panic!()
        };
        path
    }

    fn check(body: &str) -> Result<usize, String> {
        parse(body.as_bytes(), &own()).map(|entries| entries.len())
    }

    #[test]
    fn good_manifests() {
        for (body, count) in [
            (r#"[]"#, 0),
            (r#"[{"path": "/c/o"}]"#, 1),
            (
                r#"[{"path": "c/o", "etag": null, "size_bytes": "12", "range": "0-3"}]"#,
                1,
            ),
            (r#"[{"path": "/c/o", "size_bytes": 0}]"#, 1),
            (r#"[{"data": "YWJj"}, {"path": "/c/o"}]"#, 2),
            (r#"[{"data": "YQ===="}, {"path": "/c/o/"}]"#, 2),
        ] {
            assert_eq!(check(body), Ok(count), "{body}");
        }
    }

    #[test]
    fn bad_manifests_are_told_in_swifts_words() {
        for (body, problem) in [
            ("junk", "Manifest must be valid JSON.\n"),
            ("{}", "Manifest must be a list.\n"),
            ("[1]", "Index 0: not a JSON object\n"),
            (
                "[{}]",
                "Index 0: expected keys to include one of 'data' or 'path'\n",
            ),
            (
                r#"[{"path":"/c/o","x":1,"a":2}]"#,
                "Index 0: extraneous keys \"a\", \"x\"\n",
            ),
            (r#"[{"path":1}]"#, "Index 0: \"path\" must be a string\n"),
            (
                r#"[{"path":"/c/o","etag":1}]"#,
                "Index 0: \"etag\" must be a string or null (if provided)\n",
            ),
            (
                r#"[{"path":"/c/"}]"#,
                "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
            ),
            (
                r#"[{"path":"/c/o","size_bytes":"x"}]"#,
                "Index 0: invalid size_bytes\n",
            ),
            (
                r#"[{"path":"/c/o","size_bytes":-1}]"#,
                "Index 0: invalid size_bytes\n",
            ),
            (
                r#"[{"path":"/c/o","size_bytes":0},{"path":"/c/p"}]"#,
                "Index 0: too small; each segment must be at least 1 byte.\n",
            ),
            (
                r#"[{"path":"/c/manifest"}]"#,
                "Index 0: manifest must not include itself as a segment\n",
            ),
            (r#"[{"path":"/c/o","range":"x"}]"#, "Index 0: invalid range\n"),
            (
                r#"[{"path":"/c/o","range":"1-2,3-4"}]"#,
                "Index 0: multiple ranges (only one allowed)\n",
            ),
            (
                r#"[{"path":"/c/o","range":"9-","size_bytes":5}]"#,
                "Index 0: unsatisfiable range\n",
            ),
            (
                r#"[{"data":"***"},{"path":"/c/o"}]"#,
                "Index 0: data must be valid base64\n",
            ),
            (
                r#"[{"data":"YWJ"},{"path":"/c/o"}]"#,
                "Index 0: data must be valid base64\n",
            ),
            (
                r#"[{"data":"YW Jj"},{"path":"/c/o"}]"#,
                "Index 0: data must be valid base64\n",
            ),
            (
                r#"[{"data":12},{"path":"/c/o"}]"#,
                "Index 0: data must be valid base64\n",
            ),
            (
                r#"[{"data":"===="},{"path":"/c/o"}]"#,
                "Index 0: too small; each segment must be at least 1 byte.\n",
            ),
            (
                r#"[{"path":"/c/o","size_bytes":[]}]"#,
                "Index 0: invalid size_bytes\n",
            ),
            (
                r#"[{"path":"/c/p"},{"path":"c/manifest","size_bytes":1}]"#,
                "Index 1: manifest must not include itself as a segment\n",
            ),
            ("null", "Manifest must be a list.\n"),
            ("", "Manifest must be valid JSON.\n"),
            (
                r#"[{"data":""},{"path":"/c/o"}]"#,
                "Index 0: too small; each segment must be at least 1 byte.\n",
            ),
            (
                r#"[{"data":"YQ=="}]"#,
                "Inline data segments require at least one object-backed segment.\n",
            ),
            (
                r#"[{"path":"x"},1]"#,
                concat!(
                    "Index 0: path does not refer to an object. Path must be of the form /container/object.\n",
                    "Index 1: not a JSON object\n"
                ),
            ),
        ] {
            assert_eq!(check(body), Err(problem.into()), "{body}");
        }
    }

    #[test]
    fn claims_are_compared_with_what_is_there() {
        let found = Found {
            length: 10,
            etag: "e".into(),
            content_type: "a/b".into(),
            last_modified: "t".into(),
            is_slo: false,
        };
        let check = |body: &str, is_last: bool| {
            let entries = parse(body.as_bytes(), &own()).unwrap();
            let Entry::Object(entry) = &entries[0] else {
                panic!()
            };
            verify(entry, &found, is_last).map(|segment| segment.range)
        };
        assert_eq!(
            check(r#"[{"path":"/c/o","etag":"e","size_bytes":10}]"#, true),
            Ok(None)
        );
        assert_eq!(
            check(r#"[{"path":"/c/o","range":"2-"}]"#, true),
            Ok(Some("2-9".into()))
        );
        assert_eq!(check(r#"[{"path":"/c/o","range":"0-9"}]"#, true), Ok(None));
        assert_eq!(
            check(r#"[{"path":"/c/o","range":"10-"}]"#, true),
            Err(vec!["Unsatisfiable Range"])
        );
        assert_eq!(
            check(r#"[{"path":"/c/o","etag":"x","size_bytes":9}]"#, true),
            Err(vec!["Size Mismatch", "Etag Mismatch"])
        );
        let empty = Found {
            length: 0,
            ..found.clone()
        };
        let entries = parse(br#"[{"path":"/c/o"}]"#, &own()).unwrap();
        let Entry::Object(entry) = &entries[0] else {
            panic!()
        };
        assert!(verify(entry, &empty, true).is_ok());
        assert!(verify(entry, &empty, false).is_err());
    }
}
