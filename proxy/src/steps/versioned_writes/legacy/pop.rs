//! A DELETE in a stack: the last version comes back in place of what is deleted.

use super::super::{Refusal, object_versioning, stored};
use super::archive::{Archive, archive_prefix, judge};
use crate::steps::answer;
use http::{Method, StatusCode};
use martlet_protocol::name::{ContainerPath, ObjectName, ObjectPath, Target};
use martlet_protocol::query::Query;
use martlet_protocol::version::is_delete_marker;
use martlet_service::{Request, Response, collect};
use serde::Deserialize;
use std::collections::VecDeque;

/// Versions asked for at once. Mostly the first of them is the one.
const PAGE: usize = 100;
/// Bytes of such a page at most.
const MAX_PAGE_BYTES: usize = 4 << 20;

impl Archive {
    pub async fn delete_and_restore(mut self, request: Request) -> Result<Response, Refusal> {
        let mut versions = Versions::default();
        while let Some(version) = versions.next(&self).await? {
            self.authorize().await?;
            if !version.is_marker {
                if self.restore(&version.path).await? {
                    return Ok(stored::delete(&self.next, &self.origin, &version.path, true).await);
                }
                continue;
            }
            let head = stored::read(&self.next, &self.origin, Method::HEAD, &self.path).await;
            if head.status() != StatusCode::NOT_FOUND {
                judge(head.status())?;
                // What is deleted was written after the mark: the mark stays the last version.
                break;
            }
            // The mark itself is what is deleted. Below it may be data that now comes back.
            while let Some(below) = versions.next(&self).await? {
                if below.is_marker {
                    break;
                }
                if self.restore(&below.path).await? {
                    let gone = stored::delete(&self.next, &self.origin, &below.path, true).await;
                    if gone.status() != StatusCode::NOT_FOUND {
                        judge(gone.status())?;
                    }
                    break;
                }
            }
            return Ok(stored::delete(&self.next, &self.origin, &version.path, false).await);
        }
        Ok(object_versioning::run(request, self.next).await)
    }

    /// Puts a version back in its place; `false` when it has gone meanwhile.
    async fn restore(&self, version: &ObjectPath) -> Result<bool, Refusal> {
        let source = stored::read(&self.next, &self.origin, Method::GET, version).await;
        if source.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let source = self.copyable(source)?;
        judge(stored::copy(&self.next, &self.origin, source, &self.path, None).await)?;
        Ok(true)
    }
}

/// One version in the archive.
struct Archived {
    path: ObjectPath,
    is_marker: bool,
}

/// The versions of an object, last first, page by page.
#[derive(Default)]
struct Versions {
    page: VecDeque<Archived>,
    marker: String,
    ended: bool,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    content_type: String,
}

impl Versions {
    async fn next(&mut self, archive: &Archive) -> Result<Option<Archived>, Refusal> {
        if self.page.is_empty() && !self.ended {
            self.fill(archive).await?;
        }
        Ok(self.page.pop_front())
    }

    async fn fill(&mut self, archive: &Archive) -> Result<(), Refusal> {
        let mut query = Query::default();
        query.push("format", "json");
        query.push("limit", PAGE.to_string());
        query.push("prefix", archive_prefix(&archive.path.object));
        query.push("marker", self.marker.clone());
        query.push("reverse", "on");
        let path = ContainerPath::new(archive.path.account.clone(), archive.container.clone());
        let request = archive
            .origin
            .request(Method::GET, Target::Container(path), &query.encode());
        let response = archive.next.clone().run(request).await;
        if response.status() == StatusCode::NOT_FOUND {
            self.ended = true;
            return Ok(());
        }
        if response.status().is_client_error() {
            return Err(Box::new(answer::status(StatusCode::PRECONDITION_FAILED)));
        }
        let unreadable = || Box::new(answer::status(StatusCode::INTERNAL_SERVER_ERROR));
        if !response.status().is_success() {
            return Err(unreadable());
        }
        let bytes = collect(response.into_body(), MAX_PAGE_BYTES)
            .await
            .map_err(|_| unreadable())?;
        let rows: Vec<Row> = match bytes.is_empty() {
            true => Vec::new(),
            false => serde_json::from_slice(&bytes).map_err(|_| unreadable())?,
        };
        self.ended = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            self.marker = last.name.clone();
        }
        for row in rows {
            let Ok(object) = ObjectName::new(row.name) else {
                continue;
            };
            self.page.push_back(Archived {
                path: ObjectPath {
                    account: archive.path.account.clone(),
                    container: archive.container.clone(),
                    object,
                },
                is_marker: is_delete_marker(&row.content_type),
            });
        }
        Ok(())
    }
}
