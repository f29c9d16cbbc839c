//! Versions of objects, in each of Swift's ways. See "Object Versioning" in Swift's middleware documentation.
//!
//! - `legacy`: `X-Versions-Location` and `X-History-Location`. What a write replaces is first copied to an archive
//!   container of the client's own.
//! - `object_versioning`: `X-Versions-Enabled`. Every write makes a version in a hidden container; the object itself is
//!   a link to the version that is current.
//! - `stored`: how versions are moved. `whole`: a change of several steps, though its client leaves.
//!
//! A version is always on disk before anything that it stands for is changed: a step that fails in between leaves one
//! version too many, never one too few.

mod legacy;
mod object_versioning;
mod stored;
mod whole;

use super::paths::RESERVED;
use crate::pipeline::Next;
use http::StatusCode;
use martlet_service::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use legacy::archived_object;
pub use object_versioning::{bytes_of_versions, kept_version};

/// What hidden containers of versions begin with.
const CONTAINER_PREFIX: &str = "\0versions\0";

/// The container whose versions a hidden container holds.
pub fn parent_container(hidden: &str) -> Option<&str> {
    hidden
        .strip_prefix(CONTAINER_PREFIX)
        .filter(|parent| !parent.contains(RESERVED))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_containers_name_their_parents() {
        assert_eq!(parent_container("\0versions\0c"), Some("c"));
        for other in ["c", "\0mpu\0c", "\0versions\0a\0b"] {
            assert_eq!(parent_container(other), None, "{other:?}");
        }
    }
}
