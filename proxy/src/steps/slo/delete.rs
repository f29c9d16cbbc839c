//! `DELETE ?multipart-manifest=delete`: the segments go, nested manifests with theirs, then the manifest.

use super::get;
use crate::context::{Origin, retarget};
use crate::pipeline::Next;
use crate::steps::report::{OFFERS, Report};
use crate::steps::{accept, answer};
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, StatusCode};
use martlet_protocol::name::{ObjectPath, Target};
use martlet_service::{Request, Response, headers, respond};
use serde_json::json;
use std::collections::HashSet;

/// Objects that one request may delete, nested segments included.
const MAX_DELETIONS: usize = 100_000;

pub async fn delete(mut request: Request, next: Next, path: ObjectPath) -> Response {
    let accept = headers::text(request.headers(), ACCEPT.as_str());
    let format = accept::best_match(accept, &OFFERS)
        .ok()
        .flatten()
        .unwrap_or(OFFERS[0]);
    let origin = Origin::of(&request);
    let mut report = Tally::default();
    match gather(&path, &next, &origin).await {
        Err(problem) => report.errors.push((path.path(), problem)),
        Ok(segments) => {
            let whole = next.clone();
            let at_once = next.edge().config.slo.delete_concurrency.max(1);
            let deletions = segments.into_iter().map(|segment| {
                let request = origin.request(Method::DELETE, Target::Object(segment.clone()), "");
                let next = whole.at("slo");
                async move { (segment, next.run(request).await.status()) }
            });
            let mut deletions = stream::iter(deletions).buffer_unordered(at_once);
            while let Some((segment, status)) = deletions.next().await {
                report.add(&segment, status);
            }
            drop(deletions);
            if report.errors.is_empty() {
                retarget(&mut request, Target::Object(path.clone()), "");
                let status = next.run(request).await.status();
                report.add(&path, status);
            }
        }
    }
    report.answer(format)
}

/// All objects below a manifest, each once, without the manifest itself.
async fn gather(path: &ObjectPath, next: &Next, origin: &Origin) -> Result<Vec<ObjectPath>, String> {
    let mut seen = HashSet::from([path.clone()]);
    let mut order = Vec::new();
    let mut manifests = vec![path.clone()];
    while let Some(manifest) = manifests.pop() {
        let Some(segments) = get::segments_of(&manifest, next, origin).await else {
            if manifest == *path {
                let head = origin.request(
                    Method::HEAD,
                    Target::Object(path.clone()),
                    "multipart-manifest=get",
                );
                let status = next.clone().run(head).await.status();
                return Err(if status.is_success() {
                    "Not an SLO manifest".into()
                } else {
                    answer::line(status)
                });
            }
            continue;
        };
        for segment in segments {
            let Some(path) = segment.path(&path.account) else {
                continue;
            };
            if !seen.insert(path.clone()) {
                continue;
            }
            if seen.len() > MAX_DELETIONS {
                return Err("Too many segments to delete in one request".into());
            }
            if segment.sub_slo {
                manifests.push(path.clone());
            }
            order.push(path);
        }
    }
    Ok(order)
}

#[derive(Default)]
struct Tally {
    deleted: u64,
    not_found: u64,
    errors: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, path: &ObjectPath, status: StatusCode) {
        match status {
            StatusCode::NOT_FOUND => self.not_found += 1,
            status if status.is_success() => self.deleted += 1,
            status => self.errors.push((path.path(), answer::line(status))),
        }
    }

    /// Swift's bulk report: always 200, the outcome stands in the body.
    fn answer(self, format: &str) -> Response {
        let status = match self.errors.as_slice() {
            [] if self.deleted == 0 => StatusCode::NOT_FOUND,
            [] => StatusCode::OK,
            [(_, status), ..] if status.starts_with("401") => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let fields = vec![
            ("Number Deleted", json!(self.deleted)),
            ("Number Not Found", json!(self.not_found)),
            ("Response Body", json!("")),
            ("Response Status", json!(answer::line(status))),
        ];
        let report = Report {
            fields,
            errors: self.errors,
        };
        let mut response = respond::text(StatusCode::OK, report.write(format, "delete"));
        headers::set(response.headers_mut(), CONTENT_TYPE.as_str(), format);
        response
    }
}
