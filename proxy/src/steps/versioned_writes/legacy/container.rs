//! Containers' archives: set, removed, shown.

use super::super::{Refusal, object_versioning, refuse};
use super::{LOCATION, MODE};
use crate::pipeline::Next;
use crate::steps::paths::RESERVED;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers};

pub const VERSIONS_LOCATION: &str = "x-versions-location";
pub const HISTORY_LOCATION: &str = "x-history-location";
const REMOVALS: [&str; 2] = ["x-remove-versions-location", "x-remove-history-location"];

pub async fn run(mut request: Request, next: Next, is_allowed: bool) -> Response {
    let is_change = matches!(*request.method(), Method::PUT | Method::POST);
    if is_change && let Err(refusal) = translate(request.headers_mut(), is_allowed) {
        return *refusal;
    }
    let mut response = object_versioning::run(request, next).await;
    show(response.headers_mut());
    response
}

fn sysmeta(name: &str) -> String {
    format!("x-container-sysmeta-{name}")
}

/// Turns what a client says into system metadata.
fn translate(map: &mut HeaderMap, is_allowed: bool) -> Result<(), Refusal> {
    let said = |map: &HeaderMap, name: &str| headers::text(map, name).map(|value| value.trim().to_owned());
    let (versions, history) = (said(map, VERSIONS_LOCATION), said(map, HISTORY_LOCATION));
    map.remove(HISTORY_LOCATION);
    let is_some = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
    let (location, mode) = match (is_some(&versions), is_some(&history)) {
        (true, true) => {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "Only one of x-versions-location or x-history-location may be specified",
            ));
        }
        (true, false) => (versions, "stack"),
        (false, true) => (history, "history"),
        (false, false) => {
            let removes = REMOVALS
                .iter()
                .any(|name| said(map, name).is_some_and(|v| !v.is_empty()));
            for name in REMOVALS {
                map.remove(name);
            }
            if removes || versions.is_some() || history.is_some() {
                set(map, "", "");
            }
            return Ok(());
        }
    };
    let location = location.unwrap_or_default();
    if !is_allowed {
        return Err(refuse(
            StatusCode::PRECONDITION_FAILED,
            "Versioned Writes is disabled",
        ));
    }
    if location.contains('/') {
        return Err(refuse(
            StatusCode::PRECONDITION_FAILED,
            "Container name cannot contain slashes",
        ));
    }
    let is_text = percent::unquote(&location).is_ok_and(|name| !name.is_empty() && !name.contains(RESERVED));
    if !is_text {
        return Err(refuse(
            StatusCode::PRECONDITION_FAILED,
            "Container name is not valid",
        ));
    }
    // To set one archive is more than to remove another.
    for name in REMOVALS {
        map.remove(name);
    }
    set(map, &location, mode);
    Ok(())
}

fn set(map: &mut HeaderMap, location: &str, mode: &str) {
    headers::set(map, &sysmeta(LOCATION), location);
    headers::set(map, &sysmeta(MODE), mode);
    // What an older cluster has stored under the client's own header counts no more.
    headers::set(map, VERSIONS_LOCATION, "");
}

/// Shows a container's archive in the client's words.
fn show(map: &mut HeaderMap) {
    let Some(location) = headers::text(map, &sysmeta(LOCATION)).filter(|value| !value.is_empty()) else {
        return;
    };
    let is_history = headers::text(map, &sysmeta(MODE)) == Some("history");
    let name = if is_history {
        HISTORY_LOCATION
    } else {
        VERSIONS_LOCATION
    };
    let location = location.to_owned();
    headers::set(map, name, &location);
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    #[test]
    fn archives_are_set_and_removed() {
        let stored = |location: &str, mode: &str| {
            Ok(map(&[
                ("x-container-sysmeta-versions-location", location),
                ("x-container-sysmeta-versions-mode", mode),
                ("x-versions-location", ""),
            ]))
        };
        for (asked, is_allowed, expected) in [
            (map(&[]), true, Ok(map(&[]))),
            (
                map(&[("x-versions-location", "a%20b")]),
                true,
                stored("a%20b", "stack"),
            ),
            (map(&[("x-history-location", "a")]), true, stored("a", "history")),
            (
                map(&[("x-versions-location", "a"), ("x-history-location", "")]),
                true,
                stored("a", "stack"),
            ),
            (
                map(&[("x-versions-location", ""), ("x-history-location", "a")]),
                true,
                stored("a", "history"),
            ),
            (
                map(&[("x-versions-location", "a"), ("x-remove-versions-location", "x")]),
                true,
                stored("a", "stack"),
            ),
            (map(&[("x-versions-location", "")]), true, stored("", "")),
            (map(&[("x-remove-history-location", "x")]), true, stored("", "")),
            (map(&[("x-remove-versions-location", "x")]), false, stored("", "")),
            (
                map(&[("x-versions-location", "a"), ("x-history-location", "b")]),
                true,
                Err(400),
            ),
            (map(&[("x-versions-location", "a")]), false, Err(412)),
            (map(&[("x-versions-location", "a/b")]), true, Err(412)),
            (map(&[("x-history-location", "%00a")]), true, Err(412)),
            (map(&[("x-history-location", "%ff")]), true, Err(412)),
        ] {
            let mut done = asked.clone();
            let outcome = translate(&mut done, is_allowed).map_err(|refusal| refusal.status().as_u16());
            assert_eq!(outcome.map(|()| done), expected, "{asked:?}");
        }
    }

    #[test]
    fn archives_are_shown_by_their_mode() {
        let shown = |mode: &str| {
            let mut map = map(&[
                ("x-container-sysmeta-versions-location", "a"),
                ("x-container-sysmeta-versions-mode", mode),
            ]);
            show(&mut map);
            let text = |name| headers::text(&map, name).map(str::to_owned);
            (text(VERSIONS_LOCATION), text(HISTORY_LOCATION))
        };
        assert_eq!(shown("history"), (None, Some("a".into())));
        assert_eq!(shown("stack"), (Some("a".into()), None));
        assert_eq!(shown(""), (Some("a".into()), None));
    }
}
