//! Which headers cross a temporary URL: lists of names to remove and of exceptions, each name or `prefix*`.

use http::HeaderMap;
use http::header::HeaderName;

/// Removes what `remove` names and `allow` does not.
pub fn clean(headers: &mut HeaderMap, remove: &[String], allow: &[String]) {
    let gone: Vec<HeaderName> = headers
        .keys()
        .filter(|name| names(remove, name.as_str()) && !names(allow, name.as_str()))
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
}

fn names(list: &[String], header: &str) -> bool {
    list.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => header
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => header.eq_ignore_ascii_case(pattern),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers;

    #[test]
    fn exceptions_win() {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        for (remove, allow, expected) in [
            (
                &["x-object-meta-*"][..],
                &["x-object-meta-public-*"][..],
                "x-object-meta-public-a x-other",
            ),
            (
                &["X-Object-Meta-A"],
                &[],
                "x-object-meta-b x-object-meta-public-a x-other",
            ),
            (&["x-*"], &["x-other"], "x-other"),
            (&["*"], &[], ""),
            (
                &["x-other"],
                &["x-*"],
                "x-object-meta-a x-object-meta-b x-object-meta-public-a x-other",
            ),
            (
                &[],
                &[],
                "x-object-meta-a x-object-meta-b x-object-meta-public-a x-other",
            ),
        ] {
            let mut map = HeaderMap::new();
            for name in [
                "x-object-meta-a",
                "x-object-meta-b",
                "x-object-meta-public-a",
                "x-other",
            ] {
                headers::set(&mut map, name, "1");
            }
            clean(&mut map, &list(remove), &list(allow));
            let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left.join(" "), expected, "{remove:?} {allow:?}");
        }
    }
}
