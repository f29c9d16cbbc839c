//! `DELETE ?multipart-manifest=delete&async=yes`: the manifest goes at once, its segments are left to the expirer.
//!
//! Each segment is given an expiry of now, which a majority of its devices keep before the manifest goes: nothing is
//! forgotten when this process ends. A segment that is written anew meanwhile has no expiry and stays.

use super::get::{Unread, fetch};
use super::stored::Segment;
use crate::context::Origin;
use crate::pipeline::Next;
use crate::steps::answer;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_service::{Request, Response, headers};
use std::collections::BTreeSet;

/// Runs the request, a plain DELETE of the manifest by now, once its segments are due.
pub async fn delete(request: Request, next: Next, path: ObjectPath, version_id: Option<String>) -> Response {
    let origin = Origin::of(&request);
    let kept = match fetch(&path, version_id.as_deref(), &next, &origin).await {
        Ok(kept) => kept,
        Err(unread) => return unreadable(unread),
    };
    if kept.multipart.is_none() {
        let segments = match single_container(&kept.segments, &path.account) {
            Ok(segments) => segments,
            Err(problem) => return answer::words(StatusCode::BAD_REQUEST, problem),
        };
        let at_once = next.edge().config.slo.deletions_at_once();
        let due = segments
            .into_iter()
            .map(|segment| schedule(segment, next.clone(), &origin));
        let mut outcomes = stream::iter(due).buffer_unordered(at_once);
        while let Some(status) = outcomes.next().await {
            match status {
                status if status.is_success() || status == StatusCode::NOT_FOUND => {}
                status if status.is_client_error() => return answer::status(status),
                _ => return answer::status(StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    }
    next.run(request).await
}

fn unreadable(unread: Unread) -> Response {
    let status = match unread {
        Unread::NotFound => StatusCode::NOT_FOUND,
        Unread::Refused(status) => return answer::status(status),
        Unread::NotAManifest => StatusCode::BAD_REQUEST,
        Unread::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        Unread::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::words(status, unread.words())
}

/// The segments' paths, if this way of deleting may be used. The error is a sentence for a 400.
fn single_container(segments: &[Segment], account: &AccountName) -> Result<Vec<ObjectPath>, String> {
    let paths: Vec<ObjectPath> = segments
        .iter()
        .filter_map(|segment| segment.path(account))
        .collect();
    let containers: BTreeSet<&str> = paths.iter().map(|path| &*path.container).collect();
    if containers.len() > 1 {
        let quoted: Vec<String> = containers
            .into_iter()
            .map(|name| format!("\"{}\"", percent::quote(name)))
            .collect();
        return Err(format!(
            "All segments must be in one container. Found segments in {}",
            quoted.join(", ")
        ));
    }
    if segments.iter().any(|segment| segment.sub_slo) {
        return Err("No segments may be large objects.".into());
    }
    let mut seen = BTreeSet::new();
    let is_first = |path: &ObjectPath| seen.insert(path.path());
    Ok(paths.into_iter().filter(is_first).collect())
}

async fn schedule(segment: ObjectPath, next: Next, origin: &Origin) -> StatusCode {
    let target = Target::Object(segment);
    let mut request = origin.request(Method::POST, target.clone(), "");
    headers::set(request.headers_mut(), header::X_DELETE_AFTER, "1");
    let status = next.clone().at("slo").run(request).await.status();
    if !status.is_redirection() {
        return status;
    }
    // A link cannot be given an expiry: what it leads to would get it.
    let request = origin.request(Method::DELETE, target, "");
    next.at("slo").run(request).await.status()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], sub_slo: bool) -> Result<usize, String> {
        let segments: Vec<Segment> = names
            .iter()
            .map(|name| Segment {
                name: (*name).to_owned(),
                sub_slo,
                ..Segment::default()
            })
            .collect();
        single_container(&segments, &AccountName::new("a").unwrap()).map(|paths| paths.len())
    }

    #[test]
    fn what_may_be_left_to_the_expirer() {
        assert_eq!(check(&["/c/a", "/c/b", "/c/a"], false), Ok(2));
        // Data has no name.
        assert_eq!(check(&["", "/c/b"], false), Ok(1));
        assert_eq!(check(&[], false), Ok(0));
        assert_eq!(
            check(&["/c/a"], true),
            Err("No segments may be large objects.".into())
        );
        assert_eq!(
            check(&["/d/a", "/c e/b"], false),
            Err("All segments must be in one container. Found segments in \"c%20e\", \"d\"".into())
        );
    }
}
