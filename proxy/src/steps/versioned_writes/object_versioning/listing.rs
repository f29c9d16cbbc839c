//! `?versions`: the rows of a container and of its versions as one listing. Pure.

use super::super::stored;
use super::names::{self, VersionId};
use crate::steps::paths::RESERVED;
use martlet_protocol::listing::is_true;
use martlet_protocol::name::{ContainerName, ContainerPath, Target};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// A listing that cannot be; the words are for a 400.
pub type Problem = &'static str;

/// What the hidden container is asked for.
pub fn query_of_versions(asked: &Query) -> Result<Query, Problem> {
    let text = |name: &str| asked.get(name).filter(|value| !value.is_empty());
    let is_reversed = text("reverse").is_some_and(is_true);
    let mut query = Query::default();
    query.push("format", "json");
    let (before, after) = (
        |name: &str| names::version_prefix(name),
        // Past all digits.
        |name: &str| format!("{}:", names::version_prefix(name)),
    );
    match (text("marker"), text("version_marker")) {
        (None, Some(_)) => return Err("version_marker param requires marker"),
        (None, None) => {}
        (Some(name), Some("null")) if is_reversed => query.push("marker", after(name)),
        (Some(name), Some("null")) => query.push("marker", before(name)),
        (Some(name), Some(version)) => {
            let version = VersionId::parse(version).map_err(|_| "invalid version_marker param")?;
            query.push("marker", names::version_text(name, version));
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
    if let Some(prefix) = text("prefix") {
        query.push("prefix", format!("{RESERVED}{prefix}"));
    }
    for name in ["limit", "reverse"] {
        if let Some(value) = text(name) {
            query.push(name, value);
        }
    }
    Ok(query)
}

/// A link's row as the row of what it leads to, for links to versions in `hidden`. `shows_id`: whether its path names
/// the version as clients do.
pub fn resolve(row: &mut Value, own: &ContainerPath, hidden: &ContainerName, shows_id: bool) {
    let Some((name, id)) = version_of(row, hidden) else {
        return;
    };
    let (Some(etag), Some(bytes)) = (row["symlink_etag"].as_str(), row["symlink_bytes"].as_u64()) else {
        return;
    };
    let hash = row["hash"].as_str().unwrap_or("");
    // What other steps keep beside an ETag stays beside it.
    let hash = match hash.split_once("; ") {
        Some((_, others)) => format!("{etag}; {others}"),
        None => etag.to_owned(),
    };
    row["bytes"] = bytes.into();
    row["hash"] = hash.into();
    row["version_symlink"] = true.into();
    if shows_id {
        let path = percent::quote(&format!("/v1/{}/{}/{name}", own.account, own.container));
        row["symlink_path"] = format!("{path}?version-id={}", id.text()).into();
    }
    if let Some(row) = row.as_object_mut() {
        row.remove("symlink_etag");
        row.remove("symlink_bytes");
    }
}

/// The object and version that a link's row leads to.
fn version_of(row: &Value, hidden: &ContainerName) -> Option<(String, VersionId)> {
    let path = percent::unquote(row.get("symlink_path")?.as_str()?).ok()?;
    let Target::Object(path) = Target::parse(path.strip_prefix("/v1/")?).ok()? else {
        return None;
    };
    if path.container != *hidden {
        return None;
    }
    let (name, id) = names::parse_version_object(&path.object)?;
    Some((name.to_owned(), id))
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

/// All versions: `own` are the container's rows with its links resolved, `kept` those of the hidden container, in order.
pub fn merge(
    own: Vec<Value>,
    kept: Vec<Value>,
    hidden: &ContainerName,
    asked: &Query,
    limit: usize,
) -> Vec<Value> {
    let is_reversed = asked.get("reverse").is_some_and(is_true);
    let mut rows = Vec::new();
    let mut subdirs = HashSet::new();
    // Names that have a current object.
    let mut is_current = HashSet::new();
    let mut links = HashMap::new();
    for mut row in own {
        if let Some(subdir) = row.get("subdir").and_then(Value::as_str) {
            subdirs.insert(subdir.to_owned());
            continue;
        }
        is_current.insert(key(&row).to_owned());
        let is_version = row.get("version_symlink").is_some();
        match version_of(&row, hidden).filter(|_| is_version) {
            Some(version) => {
                links.insert(version, row);
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
        let Some((name, id)) = names::parse_version_object(key(&row)) else {
            continue;
        };
        let (name, is_newest) = (name.to_owned(), newest.contains(&at));
        let is_marker = row["content_type"].as_str().is_some_and(stored::is_delete_marker);
        let is_linked = links.remove(&(name.clone(), id)).is_some();
        let is_deletion = is_marker && is_newest && !is_current.contains(&name) && begun != Some(&name);
        row["is_latest"] = (is_linked || is_deletion).into();
        row["version_id"] = id.text().into();
        row["name"] = name.into();
        rows.push(row);
    }
    rows.extend(subdirs.into_iter().map(|subdir| json!({"subdir": subdir})));
    // Links to versions that are not listed: all that is known of them is what the links say.
    for ((name, id), row) in links {
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
        let Some((name, _)) = names::parse_version_object(key(row)) else {
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
    use martlet_protocol::name::AccountName;

    fn hidden() -> ContainerName {
        names::versions_container("c").unwrap()
    }

    fn own() -> ContainerPath {
        ContainerPath::new(AccountName::new("a").unwrap(), ContainerName::new("c").unwrap())
    }

    fn id(secs: u64) -> String {
        format!("{secs:010}.00000")
    }

    fn version(name: &str, secs: u64, content_type: &str) -> Value {
        let name = names::version_text(name, VersionId::parse(&id(secs)).unwrap());
        json!({"name": name, "content_type": content_type, "bytes": 1, "hash": "e"})
    }

    fn link(name: &str, secs: u64) -> Value {
        let target = names::version_text(name, VersionId::parse(&id(secs)).unwrap());
        let path = percent::quote(&format!("/v1/a/{}/{target}", hidden()));
        let mut row = json!({"name": name, "content_type": "t", "bytes": 0, "hash": "m; slo_etag=s",
            "symlink_path": path, "symlink_etag": "e", "symlink_bytes": 1});
        resolve(&mut row, &own(), &hidden(), false);
        row
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
        shown(&merge(own, kept, &hidden(), &query, 100))
    }

    fn row(name: &str, version: &str, is_latest: bool) -> (String, String, bool) {
        (name.into(), version.into(), is_latest)
    }

    const MARKER: &str = stored::DELETE_MARKER;

    #[test]
    fn links_are_resolved() {
        let mut row = json!({"name": "o p", "bytes": 0, "hash": "m; slo_etag=s", "content_type": "t",
            "symlink_path": "/v1/a/%00versions%00c/%00o%20p%009999999998.99999",
            "symlink_etag": "e", "symlink_bytes": 7});
        let kept = row.clone();
        resolve(&mut row, &own(), &ContainerName::new("other").unwrap(), true);
        assert_eq!(row, kept);
        resolve(&mut row, &own(), &hidden(), true);
        assert_eq!(
            row,
            json!({"name": "o p", "bytes": 7, "hash": "e; slo_etag=s", "content_type": "t",
                "version_symlink": true,
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
            link("linked", 8),
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
    fn a_link_without_its_version_is_listed() {
        let rows = merge(vec![link("o", 5)], Vec::new(), &hidden(), &Query::default(), 10);
        assert_eq!(shown(&rows), [row("o", &id(5), true)]);
        assert_eq!(
            (&rows[0]["bytes"], &rows[0]["hash"]),
            (&json!(1), &json!("e; slo_etag=s"))
        );
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
            ("", Ok((None, None, None))),
            ("marker=m&prefix=p", Ok((some("\0m\0:"), some("\0p"), None))),
            ("marker=m&version_marker=null", Ok((some("\0m\0"), None, None))),
            (
                "marker=m&version_marker=1&delimiter=-",
                Ok((some("\0m\09999999998.99999"), None, some("-"))),
            ),
            ("marker=m&reverse=on", Ok((some("\0m\0"), None, None))),
            (
                "marker=m&version_marker=null&reverse=on",
                Ok((some("\0m\0:"), None, None)),
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
