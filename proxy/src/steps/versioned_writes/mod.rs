//! Versions of objects, in each of Swift's ways. See "Object Versioning" in Swift's middleware documentation.
//!
//! - `legacy`: `X-Versions-Location` and `X-History-Location`. What a write replaces is first copied to an archive
//!   container of the client's own.
//! - `object_versioning`: `X-Versions-Enabled`. Every write makes a version, beside the object and in one commit with it.
//! - `stored`: how archives are written. `whole`: a change of several steps, though its client leaves.
//!
//! What an archive takes is always on disk before anything that it stands for is changed: a step that fails in between
//! leaves one version too many, never one too few.

mod legacy;
mod object_versioning;
mod stored;
mod whole;

use crate::pipeline::Next;
use http::StatusCode;
use martlet_service::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use legacy::archived_object;

/// Which ways of keeping versions clients may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VersionedWritesConfig {
    /// `X-Versions-Location` and `X-History-Location`. Not set: only containers whose own `X-Versions-Location` an older
    /// cluster has stored are versioned.
    pub allow_versioned_writes: Option<bool>,
    /// `X-Versions-Enabled`.
    pub allow_object_versioning: bool,
}

impl VersionedWritesConfig {
    /// Adds what `/info` shows.
    pub fn show(&self, sections: &mut Map<String, Value>) {
        if self.allow_versioned_writes == Some(true) {
            let flags = json!({"allowed_flags": [legacy::VERSIONS_LOCATION, legacy::HISTORY_LOCATION]});
            sections.insert("versioned_writes".into(), flags);
        }
        if self.allow_object_versioning {
            sections.insert("object_versioning".into(), json!({}));
        }
    }
}

pub async fn run(request: Request, next: Next) -> Response {
    legacy::run(request, next).await
}

/// What a request on the way to its end is refused with. Boxed: it is seldom.
type Refusal = Box<Response>;

fn refuse(status: StatusCode, words: &'static str) -> Refusal {
    Box::new(super::answer::words(status, words))
}
