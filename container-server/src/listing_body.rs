//! Writes listings: text, JSON and XML of objects and of containers, each into one buffer bounded by the listing limit.

use martlet_protocol::policy::Policies;
use martlet_protocol::row::{ContainerRow, ListingEntry, ObjectRow};
use std::borrow::Cow;
use std::io::Write;

/// Room for one line of a listing, so that a page grows its buffer a few times and not a thousand.
const BYTES_PER_ENTRY: usize = 256;

/// One name a line.
pub fn text<T>(entries: &[ListingEntry<T>], name: impl Fn(&T) -> &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 48);
    for entry in entries {
        out.extend_from_slice(match entry {
            ListingEntry::Row(row) => name(row).as_bytes(),
            ListingEntry::Subdir(subdir) => subdir.as_bytes(),
        });
        out.push(b'\n');
    }
    out
}

/// `[{"bytes", "hash", "name", "content_type", "last_modified"} | {"subdir"}]`.
pub fn objects_json(entries: &[ListingEntry<ObjectRow>]) -> Vec<u8> {
    json_array(entries, |out, row: &ObjectRow| {
        let (content_type, bytes) = shown_type_and_bytes(row);
        number(out, "{\"bytes\": ", bytes);
        out.extend_from_slice(b", \"hash\": ");
        json_string(out, &row.etag);
        out.extend_from_slice(b", \"name\": ");
        json_string(out, &row.name);
        out.extend_from_slice(b", \"content_type\": ");
        json_string(out, &content_type);
        out.extend_from_slice(b", \"last_modified\": ");
        json_string(out, &row.last_modified().isoformat());
        out.push(b'}');
    })
}

/// `[{"name", "count", "bytes", "last_modified", "storage_policy"} | {"subdir"}]`. A policy this cluster does not know is
/// left out.
pub fn containers_json(entries: &[ListingEntry<ContainerRow>], policies: &Policies) -> Vec<u8> {
    json_array(entries, |out, row: &ContainerRow| {
        out.extend_from_slice(b"{\"name\": ");
        json_string(out, &row.name);
        number(out, ", \"count\": ", row.object_count);
        number(out, ", \"bytes\": ", row.bytes_used);
        out.extend_from_slice(b", \"last_modified\": ");
        json_string(out, &row.put_timestamp.isoformat());
        if let Some(policy) = policies.by_index(row.policy) {
            out.extend_from_slice(b", \"storage_policy\": ");
            json_string(out, &policy.name);
        }
        out.push(b'}');
    })
}

/// The container as an XML document.
pub fn objects_xml(container: &str, entries: &[ListingEntry<ObjectRow>]) -> Vec<u8> {
    let mut out = xml_start("container", container, entries.is_empty(), entries.len());
    for entry in entries {
        match entry {
            ListingEntry::Row(row) => {
                let (content_type, bytes) = shown_type_and_bytes(row);
                out.extend_from_slice(b"<object>");
                element(&mut out, "name", &row.name);
                element(&mut out, "hash", &row.etag);
                element(&mut out, "bytes", &bytes.to_string());
                element(&mut out, "content_type", &content_type);
                element(&mut out, "last_modified", &row.last_modified().isoformat());
                out.extend_from_slice(b"</object>");
            }
            ListingEntry::Subdir(subdir) => {
                out.extend_from_slice(b"<subdir name=\"");
                xml_escape(&mut out, subdir);
                out.extend_from_slice(b"\">");
                element(&mut out, "name", subdir);
                out.extend_from_slice(b"</subdir>");
            }
        }
    }
    if !entries.is_empty() {
        out.extend_from_slice(b"</container>");
    }
    out
}

/// The account as an XML document, one line an entry.
pub fn containers_xml(account: &str, entries: &[ListingEntry<ContainerRow>], policies: &Policies) -> Vec<u8> {
    let mut out = xml_start("account", account, false, entries.len());
    out.push(b'\n');
    for entry in entries {
        match entry {
            ListingEntry::Row(row) => {
                out.extend_from_slice(b"<container>");
                element(&mut out, "name", &row.name);
                element(&mut out, "count", &row.object_count.to_string());
                element(&mut out, "bytes", &row.bytes_used.to_string());
                element(&mut out, "last_modified", &row.put_timestamp.isoformat());
                if let Some(policy) = policies.by_index(row.policy) {
                    element(&mut out, "storage_policy", &policy.name);
                }
                out.extend_from_slice(b"</container>\n");
            }
            ListingEntry::Subdir(subdir) => {
                out.extend_from_slice(b"<subdir name=\"");
                xml_escape(&mut out, subdir);
                out.extend_from_slice(b"\" />\n");
            }
        }
    }
    out.extend_from_slice(b"</account>");
    out
}

/// What a listing shows: a `swift_bytes` parameter of the content type is the size of a large object, not a part of its
/// type. Parameters are joined without spaces, as Swift writes them.
fn shown_type_and_bytes(row: &ObjectRow) -> (Cow<'_, str>, u64) {
    if !row.content_type.contains(';') {
        return (Cow::Borrowed(&row.content_type), row.size);
    }
    let mut bytes = row.size;
    let mut parts = split_outside_quotes(&row.content_type).into_iter().map(str::trim);
    let mut shown = parts.next().unwrap_or("").to_owned();
    for part in parts.filter(|part| !part.is_empty()) {
        match part
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
        {
            Some(("swift_bytes", value)) => bytes = value.parse().unwrap_or(bytes),
            Some((name, value)) => {
                shown.push(';');
                shown.push_str(name);
                shown.push('=');
                shown.push_str(value);
            }
            None => {
                shown.push(';');
                shown.push_str(part);
            }
        }
    }
    (Cow::Owned(shown), bytes)
}

/// The members between semicolons; a semicolon in a quoted value separates nothing.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn json_array<T>(entries: &[ListingEntry<T>], write_row: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + entries.len() * BYTES_PER_ENTRY);
    out.push(b'[');
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        match entry {
            ListingEntry::Row(row) => write_row(&mut out, row),
            ListingEntry::Subdir(subdir) => {
                out.extend_from_slice(b"{\"subdir\": ");
                json_string(&mut out, subdir);
                out.push(b'}');
            }
        }
    }
    out.push(b']');
    out
}

fn number(out: &mut Vec<u8>, label: &str, number: u64) {
    out.extend_from_slice(label.as_bytes());
    write!(out, "{number}").expect("a Vec takes every write");
}

/// A JSON string; runs of ordinary bytes are copied whole.
fn json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write!(out, "\\u{control:04x}").expect("a Vec takes every write"),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn xml_start(tag: &str, name: &str, closed: bool, entries: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + entries * BYTES_PER_ENTRY);
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b" name=\"");
    xml_escape(&mut out, name);
    out.extend_from_slice(if closed {
        b"\" />".as_slice()
    } else {
        b"\">".as_slice()
    });
    out
}

fn element(out: &mut Vec<u8>, tag: &str, value: &str) {
    out.push(b'<');
    out.extend_from_slice(tag.as_bytes());
    out.push(b'>');
    xml_escape(out, value);
    out.extend_from_slice(b"</");
    out.extend_from_slice(tag.as_bytes());
    out.push(b'>');
}

/// Escapes for text and for attributes in double quotes. White space that a parser would fold is written by number.
fn xml_escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    let special = |b: &u8| matches!(b, b'&' | b'<' | b'>' | b'"' | b'\t' | b'\n' | b'\r');
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'&' => b"&amp;".as_slice(),
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\t' => b"&#09;",
            b'\n' => b"&#10;",
            _ => b"&#13;",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::policy::PolicyIndex;
    use martlet_protocol::timestamp::Timestamp;

    fn row(name: &str, content_type: &str) -> ObjectRow {
        let at = Timestamp::parse("1402440467.05458").unwrap();
        ObjectRow {
            name: name.into(),
            timestamp: at,
            deleted: false,
            size: 5,
            content_type: content_type.into(),
            etag: "e".into(),
            content_type_timestamp: at,
            meta_timestamp: at,
            policy: PolicyIndex(0),
            version: None,
        }
    }

    #[test]
    fn names_of_any_kind_survive_json() {
        let names = ["plain", "q\"\\/", "\u{1}\n\r\t", "ünïcødé \u{1f600}", ""];
        let entries: Vec<_> = names
            .iter()
            .map(|name| ListingEntry::Row(row(name, "a/b")))
            .collect();
        let parsed: serde_json::Value = serde_json::from_slice(&objects_json(&entries)).unwrap();
        let read: Vec<_> = parsed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(read, names);
        assert_eq!(parsed[0]["last_modified"], "2014-06-10T22:47:47.054580");
        assert_eq!(parsed[0]["bytes"], 5);
    }

    #[test]
    fn swift_bytes_stand_in_for_the_size() {
        for (content_type, shown, bytes) in [
            ("text/plain", "text/plain", 5),
            ("text/plain; charset=utf-8", "text/plain;charset=utf-8", 5),
            ("video/mp4; a=\"x;y\"; swift_bytes=99", "video/mp4;a=\"x;y\"", 99),
            ("a/b;swift_bytes=no", "a/b", 5),
            ("a/b; odd;", "a/b;odd", 5),
        ] {
            let row = row("o", content_type);
            assert_eq!(
                shown_type_and_bytes(&row),
                (shown.into(), bytes),
                "{content_type}"
            );
        }
    }

    #[test]
    fn xml_documents() {
        let entries = [
            ListingEntry::Row(row("a<b>&\"", "x/y")),
            ListingEntry::Subdir("s/".into()),
        ];
        assert_eq!(
            String::from_utf8(objects_xml("c\"", &entries)).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"c&quot;\"><object>\
             <name>a&lt;b&gt;&amp;&quot;</name><hash>e</hash><bytes>5</bytes><content_type>x/y</content_type>\
             <last_modified>2014-06-10T22:47:47.054580</last_modified></object>\
             <subdir name=\"s/\"><name>s/</name></subdir></container>"
        );
        assert!(objects_xml("c", &[]).ends_with(b"<container name=\"c\" />"));
        assert!(
            containers_xml("a", &[], &Policies::single("gold"))
                .ends_with(b"<account name=\"a\">\n</account>")
        );
    }
}
