//! `DELETE ?multipart-manifest=delete`: the segments go, nested manifests after theirs, then the manifest.

use super::get::{Kept, Unread, fetch};
use super::later;
use crate::context::{self, Origin, is_true, retarget};
use crate::pipeline::Next;
use crate::steps::heartbeat::Heartbeat;
use crate::steps::report::{OFFERS, Report};
use crate::steps::{accept, answer};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, StatusCode};
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_service::{Request, Response, headers, respond};
use serde_json::json;
use std::collections::HashSet;

/// Objects that one request may delete, nested segments included.
const MAX_DELETIONS: usize = 100_000;

pub async fn delete(mut request: Request, next: Next, path: ObjectPath) -> Response {
    let query = context::query(&request);
    let version_id = query.get("version-id").map(str::to_owned);
    // What is left for the steps below; the large object is gone by its own means.
    let mut rest = Query::default();
    if let Some(version_id) = &version_id {
        rest.push("version-id", version_id.as_str());
    }
    retarget(&mut request, Target::Object(path.clone()), &rest.encode());
    let config = &next.edge().config.slo;
    if config.allow_async_delete && query.get("async").is_some_and(is_true) {
        return later::delete(request, next, path, version_id).await;
    }
    let accept = headers::text(request.headers(), ACCEPT.as_str());
    let format = accept::best_match(accept, &OFFERS).ok().flatten();
    let heartbeat = Heartbeat::when_slow(config.heartbeat_every(), format.unwrap_or(OFFERS[0]));
    let work = async move {
        let tally = match format {
            Some(_) => perform(request, next, path, version_id).await,
            None => Tally::refused(StatusCode::NOT_ACCEPTABLE, ""),
        };
        Bytes::from(tally.write(format.unwrap_or(OFFERS[0])))
    };
    let mut response = respond::empty(StatusCode::OK);
    headers::set(
        response.headers_mut(),
        CONTENT_TYPE.as_str(),
        format.unwrap_or(OFFERS[0]),
    );
    *response.body_mut() = heartbeat.body(work).await;
    response
}

async fn perform(request: Request, next: Next, path: ObjectPath, version_id: Option<String>) -> Tally {
    let origin = Origin::of(&request);
    let found = match gather(&path, version_id.as_deref(), &next, &origin).await {
        Ok(found) => found,
        Err(tally) => return tally,
    };
    let mut tally = found.tally;
    let at_once = next.edge().config.slo.deletions_at_once();
    let delete = |object: ObjectPath| {
        let request = origin.request(Method::DELETE, Target::Object(object.clone()), "");
        let next = next.at("slo");
        async move { (object, next.run(request).await.status()) }
    };
    let mut deletions = stream::iter(found.objects.into_iter().map(delete)).buffer_unordered(at_once);
    while let Some((object, status)) = deletions.next().await {
        tally.add(&object, status);
    }
    drop(deletions);
    // The innermost first, so that nothing is left that no manifest names when this is broken off.
    for manifest in found.nested.into_iter().rev() {
        let (manifest, status) = delete(manifest).await;
        tally.add(&manifest, status);
    }
    let status = next.clone().run(request).await.status();
    tally.add(&path, status);
    tally
}

/// What a manifest stands for.
#[derive(Default)]
struct Found {
    objects: Vec<ObjectPath>,
    /// Outer ones before inner ones.
    nested: Vec<ObjectPath>,
    /// What could not be looked into.
    tally: Tally,
}

/// All objects below a manifest, each once, without the manifest itself. `Err`: the end of the whole request.
async fn gather(
    path: &ObjectPath,
    version_id: Option<&str>,
    next: &Next,
    origin: &Origin,
) -> Result<Found, Tally> {
    let mut found = Found::default();
    let mut seen = HashSet::from([path.clone()]);
    let top = fetch(path, version_id, next, origin).await.map_err(|unread| {
        let mut tally = Tally::default();
        tally.add_unread(path, unread);
        tally
    })?;
    // The parts of an S3 upload are no client's to name; they go with their manifest.
    let mut manifests: Vec<Kept> = Some(top)
        .filter(|top| top.multipart.is_none())
        .into_iter()
        .collect();
    while let Some(manifest) = manifests.pop() {
        for segment in &manifest.segments {
            let Some(segment_path) = segment.path(&path.account) else {
                continue;
            };
            if !seen.insert(segment_path.clone()) {
                continue;
            }
            if seen.len() > MAX_DELETIONS {
                let words = "Too many buffered slo segments to delete.";
                return Err(Tally::refused(StatusCode::BAD_REQUEST, words));
            }
            if !segment.sub_slo {
                found.objects.push(segment_path);
                continue;
            }
            match fetch(&segment_path, None, next, origin).await {
                Ok(nested) => {
                    found.nested.push(segment_path);
                    manifests.extend(Some(nested).filter(|nested| nested.multipart.is_none()));
                }
                Err(unread) => found.tally.add_unread(&segment_path, unread),
            }
        }
    }
    Ok(found)
}

#[derive(Default)]
struct Tally {
    deleted: u64,
    not_found: u64,
    errors: Vec<(String, String)>,
    has_server_error: bool,
    /// Status and words of a request that was refused as a whole.
    refusal: Option<(StatusCode, &'static str)>,
}

impl Tally {
    fn refused(status: StatusCode, words: &'static str) -> Self {
        Tally {
            refusal: Some((status, words)),
            ..Tally::default()
        }
    }

    fn add(&mut self, path: &ObjectPath, status: StatusCode) {
        match status {
            StatusCode::NOT_FOUND => self.not_found += 1,
            status if status.is_success() => self.deleted += 1,
            status => {
                self.has_server_error |= status.is_server_error();
                self.errors.push((shown(path), answer::line(status)));
            }
        }
    }

    fn add_unread(&mut self, path: &ObjectPath, unread: Unread) {
        match unread {
            Unread::NotFound => self.not_found += 1,
            unread => self.errors.push((shown(path), unread.words())),
        }
    }

    /// Swift's bulk report: the answer is always 200, the outcome stands in the body.
    fn write(self, format: &str) -> String {
        let (status, words) = match self.refusal {
            Some(refusal) => refusal,
            None if self.errors.is_empty() => (StatusCode::OK, ""),
            None if self.has_server_error => (StatusCode::BAD_GATEWAY, ""),
            None => (StatusCode::BAD_REQUEST, ""),
        };
        let fields = [
            ("Number Deleted", json!(self.deleted)),
            ("Number Not Found", json!(self.not_found)),
            ("Response Body", json!(words)),
            ("Response Status", json!(answer::line(status))),
        ];
        Report::new(fields, self.errors).write(format, "delete")
    }
}

/// `/container/object`, quoted.
fn shown(path: &ObjectPath) -> String {
    percent::quote(&format!("/{}/{}", path.container, path.object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectPath {
        let Ok(Target::Object(path)) = Target::parse(name) else {
            panic!()
        };
        path
    }

    fn status(tally: Tally) -> String {
        let text = tally.write("text/plain");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Response Status: "));
        line.unwrap().to_owned()
    }

    #[test]
    fn the_outcome_of_many_deletions() {
        let told = |statuses: &[u16]| {
            let mut tally = Tally::default();
            for code in statuses {
                tally.add(&object("a/c/o"), StatusCode::from_u16(*code).unwrap());
            }
            status(tally)
        };
        assert_eq!(told(&[204, 204]), "200 OK");
        assert_eq!(told(&[404]), "200 OK");
        assert_eq!(told(&[204, 403]), "400 Bad Request");
        assert_eq!(told(&[204, 403, 503]), "502 Bad Gateway");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut tally = Tally::default();
        tally.add_unread(&object("a/c/gone"), Unread::NotFound);
        tally.add_unread(&object("a/c/no manifest"), Unread::NotAManifest);
        tally.add_unread(&object("a/c/s"), Unread::Refused(StatusCode::UNAUTHORIZED));
        assert_eq!(
            tally.write("text/plain"),
            "Number Deleted: 0\nNumber Not Found: 1\nResponse Body: \nResponse Status: 400 Bad Request\nErrors:\n\
             /c/no%20manifest, Not an SLO manifest\n/c/s, 401 Unauthorized\n"
        );
        let tally = Tally::refused(StatusCode::NOT_ACCEPTABLE, "");
        assert_eq!(status(tally), "406 Not Acceptable");
    }
}
