//! A write to a container with an archive: what is there goes to the archive first, then the write goes on.

use super::super::{Refusal, object_versioning, stored};
use crate::context::Origin;
use crate::pipeline::Next;
use crate::steps::answer;
use crate::steps::dispatch::Judge;
use crate::steps::slo::parts::KeepsParts;
use http::header::{CONTENT_LENGTH, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, StatusCode};
use martlet_protocol::date;
use martlet_protocol::header;
use martlet_protocol::name::{ContainerName, ObjectName, ObjectPath};
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Request, Response, headers};

/// One write and the archive it is about.
pub struct Archive {
    pub(super) next: Next,
    /// In the cluster's own name: a user may write here without the right to read.
    pub(super) origin: Origin,
    pub(super) path: ObjectPath,
    pub(super) container: ContainerName,
    judge: Option<Judge>,
}

impl Archive {
    pub fn new(request: &Request, next: Next, path: ObjectPath, container: ContainerName) -> Self {
        Archive {
            origin: Origin::of(request).pre_authorized(),
            judge: Some(Judge::of(request, &next, &path)),
            next,
            path,
            container,
        }
    }

    /// Whether the user may write here; asked once, before anything is done in the cluster's name.
    pub(super) async fn authorize(&mut self) -> Result<(), Refusal> {
        match self.judge.take() {
            Some(judge) => judge.verdict().await,
            None => Ok(()),
        }
    }

    /// A PUT.
    pub async fn put(mut self, mut request: Request) -> Result<Response, Refusal> {
        // A PUT that is only for a name that is free replaces nothing.
        if !request.headers().contains_key(IF_NONE_MATCH) {
            self.archive_current().await?;
        }
        request.extensions_mut().insert(KeepsParts);
        Ok(object_versioning::run(request, self.next).await)
    }

    /// A DELETE that leaves its mark in the archive.
    pub async fn delete_and_mark(mut self, mut request: Request) -> Result<Response, Refusal> {
        self.archive_current().await?;
        let now = self.next.edge().clock.now();
        let marker = self.archived(archive_object(&self.path.object, now))?;
        judge(stored::mark_deleted(&self.next, &self.origin, &marker, None).await)?;
        request.extensions_mut().insert(KeepsParts);
        Ok(object_versioning::run(request, self.next).await)
    }

    /// Copies what is there to the archive.
    async fn archive_current(&mut self) -> Result<(), Refusal> {
        self.authorize().await?;
        let current = stored::read(&self.next, &self.origin, Method::GET, &self.path).await;
        if current.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let current = self.copyable(current)?;
        let moment = moment(&current);
        let to = self.archived(archive_object(&self.path.object, moment))?;
        judge(stored::copy(&self.next, &self.origin, current, &to, None).await)
    }

    /// An answer whose body can be stored again.
    pub(super) fn copyable(&self, response: Response) -> Result<Response, Refusal> {
        judge(response.status())?;
        let max = self.next.edge().config.constraints.max_file_size;
        let length = headers::text(response.headers(), CONTENT_LENGTH.as_str())
            .and_then(|text| text.parse().ok())
            .or(response.body().content_length());
        match length {
            Some(length) if length <= max => Ok(response),
            _ => Err(Box::new(answer::status(StatusCode::PRECONDITION_FAILED))),
        }
    }

    /// A place in the archive. No name: it would be too long to be one.
    fn archived(&self, object: Option<ObjectName>) -> Result<ObjectPath, Refusal> {
        let refusal = || Box::new(answer::status(StatusCode::PRECONDITION_FAILED));
        Ok(ObjectPath {
            account: self.path.account.clone(),
            container: self.container.clone(),
            object: object.ok_or_else(refusal)?,
        })
    }
}

/// What the names of an object's versions begin with in a legacy archive container: the length of its name, so that
/// versions of `a` and `a/b` do not mix.
pub fn archive_prefix(object: &str) -> String {
    format!("{:03x}{object}/", object.len())
}

/// The object of which a name in a legacy archive container is a version; `None`: it is the name of no version.
pub fn archived_object(name: &str) -> Option<&str> {
    let (length, rest) = name.split_at_checked(3)?;
    let length = usize::from_str_radix(length, 16).ok()?;
    let (object, moment) = rest.split_at_checked(length)?;
    let is_moment = Timestamp::parse(moment.strip_prefix('/')?).is_ok();
    is_moment.then_some(object).filter(|object| !object.is_empty())
}

/// The name of a version in a legacy archive container.
pub fn archive_object(object: &str, moment: Timestamp) -> Option<ObjectName> {
    ObjectName::new(format!("{}{}", archive_prefix(object), moment.internal())).ok()
}

/// When an object was written.
fn moment(response: &Response) -> Timestamp {
    let map = response.headers();
    let exact = headers::text(map, header::X_TIMESTAMP).and_then(|text| Timestamp::parse(text).ok());
    let rough = || {
        headers::text(map, LAST_MODIFIED.as_str())
            .and_then(date::parse_http_date)
            .map(Timestamp::from_secs)
    };
    exact.or_else(rough).unwrap_or_default()
}

/// A step that failed ends the write: 412 when the archive is not there or not fit, 503 for all else.
pub(super) fn judge(status: StatusCode) -> Result<(), Refusal> {
    if status.is_success() {
        return Ok(());
    }
    let status = if status.is_client_error() {
        StatusCode::PRECONDITION_FAILED
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Err(Box::new(answer::status(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_keep_what_is_there() {
        for (status, expected) in [
            (201, 200),
            (202, 200),
            (404, 412),
            (403, 412),
            (500, 503),
            (503, 503),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = judge(status).map_or_else(|refusal| refusal.status().as_u16(), |()| 200);
            assert_eq!(outcome, expected, "{status}");
        }
    }

    #[test]
    fn archives_tell_lengths() {
        let moment = Timestamp::parse("1234567890.1").unwrap();
        assert_eq!(
            archive_object("ü/b", moment).unwrap().as_str(),
            "004ü/b/1234567890.10000"
        );
        assert_eq!(archive_object(&"o".repeat(4_090), moment), None);
        assert_eq!(archived_object("004ü/b/1234567890.10000"), Some("ü/b"));
        for other in [
            "004ü/b",
            "003ü/b/1234567890.10000",
            "00",
            "000/1234567890.10000",
            "001a/x",
            "zzza/1",
        ] {
            assert_eq!(archived_object(other), None, "{other}");
        }
    }
}
