//! `?versions`: the rows of a container and of its versions as one listing. Pure.

use crate::steps::paths::RESERVED;
use martlet_protocol::listing::is_true;
use martlet_protocol::name::ContainerPath;
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_protocol::version::{
    VersionId, is_delete_marker, parse_version_name, version_name, version_prefix,
};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// A listing that cannot be; the words are for a 400.
pub type Problem = &'static str;

/// What the container is asked for to tell its versions.
pub fn query_of_versions(asked: &Query) -> Result<Query, Problem> {
    let text = |name: &str| asked.get(name).filter(|value| !value.is_empty());
    let is_reversed = text("reverse").is_some_and(is_true);
    let mut query = Query::default();
    query.push("format", "json");
    let (before, after) = (
        |name: &str| version_prefix(name),
        // Past all digits.
        |name: &str| format!("{}:", version_prefix(name)),
    );
    match (text("marker"), text("version_marker")) {
        (None, Some(_)) => return Err("version_marker param requires marker"),
        (None, None) => {}
        (Some(name), Some("null")) if is_reversed => query.push("marker", after(name)),
        (Some(name), Some("null")) => query.push("marker", before(name)),
        (Some(name), Some(version)) => {
            let version = VersionId::parse(version).map_err(|_| "invalid version_marker param")?;
            query.push("marker", version_name(name, version));
        }
        (Some(name), None) if is_reversed => query.push("marker", before(name)),
        (Some(name), None) => query.push("marker", after(name)),
    }
    if let Some(delimiter) = text("delimiter") {
        // It would cut within a version's own part of the name.
        if delimiter.contains(|c: char| c.is_ascii_digit() || c == '.' || c == RESERVED) {
            return Err("invalid delimiter param");
        }
        query.push("delimiter", delimiter);
    }
    query.push("prefix", format!("{RESERVED}{}", text("prefix").unwrap_or("")));
    for name in ["limit", "reverse"] {
        if let Some(value) = text(name) {
            query.push(name, value);
        }
    }
    Ok(query)
}

/// Says of a row of the container which version is current, as Swift does.
pub fn show_current(row: &mut Value, own: &ContainerPath) {
    let Some(row) = row.as_object_mut() else {
        return;
    };
    let (Some(Value::String(id)), Some(name)) =
        (row.remove("version_id"), row.get("name").and_then(Value::as_str))
    else {
        return;
    };
    let path = percent::quote(&format!("/v1/{}/{}/{name}", own.account, own.container));
    row.insert("symlink_path".into(), format!("{path}?version-id={id}").into());
    row.insert("version_symlink".into(), true.into());
    for of_link in ["symlink_etag", "symlink_bytes"] {
        row.remove(of_link);
    }
}

/// The version that the row of an object names as the current one.
fn version_of(row: &Value) -> Option<(String, VersionId)> {
    let id = VersionId::parse(row.get("version_id")?.as_str()?).ok()?;
    Some((key(row).to_owned(), id))
}

fn key(row: &Value) -> &str {
    row.get("name")
        .or_else(|| row.get("subdir"))
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// Rows in the order of their names; those of one name stay as they are.
pub fn sorted(mut rows: Vec<Value>, is_reversed: bool, limit: usize) -> Vec<Value> {
    if is_reversed {
        rows.sort_by(|a, b| key(b).cmp(key(a)));
    } else {
        rows.sort_by(|a, b| key(a).cmp(key(b)));
    }
    rows.truncate(limit);
    rows
}

/// All versions: `own` are the rows of current objects, `kept` those of versions, in order.
pub fn merge(own: Vec<Value>, kept: Vec<Value>, asked: &Query, limit: usize) -> Vec<Value> {
    let is_reversed = asked.get("reverse").is_some_and(is_true);
    let mut rows = Vec::new();
    let mut subdirs = HashSet::new();
    // Names that have a current object.
    let mut is_current = HashSet::new();
    let mut current = HashMap::new();
    for mut row in own {
        if let Some(subdir) = row.get("subdir").and_then(Value::as_str) {
            subdirs.insert(subdir.to_owned());
            continue;
        }
        is_current.insert(key(&row).to_owned());
        match version_of(&row) {
            Some(version) => {
                current.insert(version, row);
            }
            None => {
                row["version_id"] = "null".into();
                row["is_latest"] = true.into();
                rows.push(row);
            }
        }
    }
    // A page that begins within the versions of a name does not begin with its newest.
    let begun = asked
        .get("version_marker")
        .filter(|marker| !marker.is_empty() && !is_reversed)
        .and_then(|_| asked.get("marker"));
    let newest = newest_of_each(&kept, is_reversed);
    for (at, mut row) in kept.into_iter().enumerate() {
        if let Some(subdir) = row.get("subdir").and_then(Value::as_str) {
            subdirs.insert(subdir.split(RESERVED).nth(1).unwrap_or(subdir).to_owned());
            continue;
        }
        let Some((name, id)) = parse_version_name(key(&row)) else {
            continue;
        };
        let (name, is_newest) = (name.to_owned(), newest.contains(&at));
        let is_marker = row["content_type"].as_str().is_some_and(is_delete_marker);
        let is_latest = current.remove(&(name.clone(), id)).is_some();
        let is_deletion = is_marker && is_newest && !is_current.contains(&name) && begun != Some(&name);
        row["is_latest"] = (is_latest || is_deletion).into();
        row["version_id"] = id.text().into();
        row["name"] = name.into();
        rows.push(row);
    }
    rows.extend(subdirs.into_iter().map(|subdir| json!({"subdir": subdir})));
    // Current versions that are not listed: all that is known of them is what the objects' rows say.
    for ((name, id), row) in current {
        rows.push(json!({
            "name": name,
            "is_latest": true,
            "version_id": id.text(),
            "content_type": row["content_type"],
            "bytes": row["bytes"],
            "hash": row["hash"],
            "last_modified": row["last_modified"],
        }));
    }
    sorted(rows, is_reversed, limit)
}

/// Where among rows the newest version of each name is.
fn newest_of_each(kept: &[Value], is_reversed: bool) -> HashSet<usize> {
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for (at, row) in kept.iter().enumerate() {
        let Some((name, _)) = parse_version_name(key(row)) else {
            continue;
        };
        // The newest of a name comes first, or, reversed, last.
        if is_reversed {
            newest.insert(name, at);
        } else {
            newest.entry(name).or_insert(at);
        }
    }
    newest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::name::{AccountName, ContainerName};
    use martlet_protocol::version::DELETE_MARKER;

    fn own() -> ContainerPath {
        ContainerPath::new(AccountName::new("a").unwrap(), ContainerName::new("c").unwrap())
    }

    fn id(secs: u64) -> String {
        format!("{secs:010}.00000")
    }

    fn version(name: &str, secs: u64, content_type: &str) -> Value {
        let name = version_name(name, VersionId::parse(&id(secs)).unwrap());
        json!({"name": name, "content_type": content_type, "bytes": 1, "hash": "e"})
    }

    fn current(name: &str, secs: u64) -> Value {
        json!({"name": name, "content_type": "t", "bytes": 1, "hash": "e", "version_id": id(secs)})
    }

    fn shown(rows: &[Value]) -> Vec<(String, String, bool)> {
        let show = |row: &Value| {
            (
                key(row).to_owned(),
                row["version_id"].as_str().unwrap_or("subdir").to_owned(),
                row["is_latest"].as_bool().unwrap_or(false),
            )
        };
        rows.iter().map(show).collect()
    }

    fn merged(own: Vec<Value>, kept: Vec<Value>, query: &str) -> Vec<(String, String, bool)> {
        let query = Query::parse(query).unwrap();
        shown(&merge(own, kept, &query, 100))
    }

    fn row(name: &str, version: &str, is_latest: bool) -> (String, String, bool) {
        (name.into(), version.into(), is_latest)
    }

    const MARKER: &str = DELETE_MARKER;

    #[test]
    fn rows_say_which_version_is_current() {
        let mut plain = json!({"name": "o", "bytes": 7});
        let kept = plain.clone();
        show_current(&mut plain, &own());
        assert_eq!(plain, kept);
        let mut row = json!({"name": "o p", "bytes": 7, "hash": "e", "version_id": "0000000001.00000",
            "symlink_path": "/v1/a/d/p", "symlink_etag": "x", "symlink_bytes": 9});
        show_current(&mut row, &own());
        assert_eq!(
            row,
            json!({"name": "o p", "bytes": 7, "hash": "e", "version_symlink": true,
                "symlink_path": "/v1/a/c/o%20p?version-id=0000000001.00000"})
        );
    }

    #[test]
    fn the_latest_of_each_name_is_known() {
        let kept = vec![
            version("deleted", 9, MARKER),
            version("deleted", 8, "t"),
            version("linked", 9, MARKER),
            version("linked", 8, "t"),
            version("linked", 7, MARKER),
            version("null", 9, MARKER),
            version("suspended", 9, "t"),
        ];
        let own = vec![
            current("linked", 8),
            json!({"name": "null", "bytes": 3}),
            json!({"subdir": "x-"}),
        ];
        let expected = [
            row("deleted", &id(9), true),
            row("deleted", &id(8), false),
            row("linked", &id(9), false),
            row("linked", &id(8), true),
            row("linked", &id(7), false),
            row("null", "null", true),
            row("null", &id(9), false),
            row("suspended", &id(9), false),
            row("x-", "subdir", false),
        ];
        assert_eq!(merged(own.clone(), kept.clone(), ""), expected);
        let mut reversed = kept.clone();
        reversed.reverse();
        let found = merged(own, reversed, "reverse=true");
        assert_eq!(found.iter().filter(|(_, _, is_latest)| *is_latest).count(), 3);
        assert!(found.contains(&row("deleted", &id(9), true)));
        // A page that goes on within a name.
        let rest = vec![version("deleted", 8, MARKER)];
        assert_eq!(
            merged(
                Vec::new(),
                rest.clone(),
                "marker=deleted&version_marker=0000000009"
            ),
            [row("deleted", &id(8), false)]
        );
        assert_eq!(
            merged(Vec::new(), rest, "marker=a"),
            [row("deleted", &id(8), true)]
        );
    }

    #[test]
    fn a_current_version_without_its_row_is_listed() {
        let rows = merge(vec![current("o", 5)], Vec::new(), &Query::default(), 10);
        assert_eq!(shown(&rows), [row("o", &id(5), true)]);
        assert_eq!((&rows[0]["bytes"], &rows[0]["hash"]), (&json!(1), &json!("e")));
    }

    #[test]
    fn pages_begin_where_they_are_asked_to() {
        let ask = |query: &str| {
            let query = query_of_versions(&Query::parse(query).unwrap())?;
            let text = |name: &str| query.get(name).map(str::to_owned);
            Ok((text("marker"), text("prefix"), text("delimiter")))
        };
        let some = |text: &str| Some(text.to_owned());
        for (query, expected) in [
            ("", Ok((None, some("\0"), None))),
            ("marker=m&prefix=p", Ok((some("\0m\0:"), some("\0p"), None))),
            (
                "marker=m&version_marker=null",
                Ok((some("\0m\0"), some("\0"), None)),
            ),
            (
                "marker=m&version_marker=1&delimiter=-",
                Ok((some("\0m\09999999998.99999"), some("\0"), some("-"))),
            ),
            ("marker=m&reverse=on", Ok((some("\0m\0"), some("\0"), None))),
            (
                "marker=m&version_marker=null&reverse=on",
                Ok((some("\0m\0:"), some("\0"), None)),
            ),
            ("version_marker=1", Err("version_marker param requires marker")),
            ("marker=m&version_marker=x", Err("invalid version_marker param")),
            ("delimiter=1", Err("invalid delimiter param")),
            ("delimiter=a.b", Err("invalid delimiter param")),
            ("delimiter=%00", Err("invalid delimiter param")),
        ] {
            assert_eq!(ask(query), expected, "{query}");
        }
    }
}
