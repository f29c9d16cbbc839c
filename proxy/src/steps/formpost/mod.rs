//! Forms that upload: a browser's POST of `multipart/form-data` becomes a PUT for each file in it.
//!
//! See "FormPost" in Swift's middleware documentation. The page that holds the form signed its limits with a key of the
//! account or the container; files stream through as they come, and none is stored before the form was judged for it.

mod form;
mod multipart;
mod part;
mod reader;

use super::answer;
use super::tempurl::keys::Keys;
use super::tempurl::signature::{self, DEFAULT_DIGESTS, Digest};
use crate::Edge;
use crate::context::{Origin, target};
use crate::core::answer::client_disconnect;
use crate::grant::Grant;
use crate::pipeline::Next;
use bytes::Bytes;
use form::{Fields, MAX_VALUE_BYTES, Problem, Ticket};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, ORIGIN, TRANSFER_ENCODING, USER_AGENT,
};
use http::{Method, StatusCode};
use martlet_protocol::name::{AccountName, ContainerPath, ObjectName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_service::{Body, BodyError, Request, Response, collect, headers, respond};
use part::PartHead;
use reader::{Pumped, ReadError, Reader};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a refusal that are passed on.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Forms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FormPostConfig {
    pub allowed_digests: Vec<Digest>,
}

impl Default for FormPostConfig {
    fn default() -> Self {
        FormPostConfig {
            allowed_digests: DEFAULT_DIGESTS.to_vec(),
        }
    }
}

/// This step in `/info`.
pub fn info(config: &FormPostConfig) -> Value {
    Value::Object(signature::shown(&config.allowed_digests))
}

pub fn concerns(request: &Request, _: &Edge) -> bool {
    *request.method() == Method::POST
}

pub async fn run(request: Request, next: Next) -> Response {
    let boundary = boundary(request.headers());
    let (Some(boundary), Some(target)) = (boundary, target(&request)) else {
        return next.run(request).await;
    };
    let Ok(path) = percent::unquote(request.uri().path()) else {
        return next.run(request).await;
    };
    let edge = next.edge().clone();
    let origin = Origin::of(&request);
    let (parts, body) = request.into_parts();
    let patience = Duration::from_millis(edge.config.app.client_timeout_ms);
    let mut reader = match Reader::new(body, &boundary, patience) {
        Ok(reader) => reader,
        Err(malformed) => return said(StatusCode::BAD_REQUEST, malformed.words()),
    };
    let account = target.account().clone();
    let keys = match target.container_path() {
        Some(container) => Keys::of(&edge.core, &container).await,
        None => Keys::none(),
    };
    let form = Form {
        edge,
        next,
        origin,
        headers: parts.headers,
        target,
        path,
        keys,
    };
    let response = match form.take(&mut reader).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(&account),
    };
    reader.drain().await;
    response
}

fn boundary(map: &HeaderMap) -> Option<String> {
    let value = headers::text(map, CONTENT_TYPE.as_str())?;
    let (kind, found) = part::parameters(value);
    kind.eq_ignore_ascii_case("multipart/form-data")
        .then(|| part::parameter(&found, "boundary"))
        .flatten()
}

/// Why no answer can be given in the form's own way.
#[derive(Debug)]
enum Refusal {
    Form(Problem),
    Read(ReadError),
    TooLarge,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Form(problem)
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Refusal::Read(error)
    }
}

impl Refusal {
    fn response(self, account: &AccountName) -> Response {
        match self {
            Refusal::Form(Problem::Invalid(words)) => said(StatusCode::BAD_REQUEST, words),
            Refusal::Form(Problem::Unauthorized(words)) => {
                let mut response = answer::unauthorized(account);
                let (parts, body) = said(StatusCode::UNAUTHORIZED, &titled(words)).into_parts();
                response.headers_mut().extend(parts.headers);
                *response.body_mut() = body;
                response
            }
            Refusal::Form(Problem::Unknown) => answer::status(StatusCode::SERVICE_UNAVAILABLE),
            Refusal::Read(ReadError::Malformed(malformed)) => {
                said(StatusCode::BAD_REQUEST, malformed.words())
            }
            Refusal::Read(ReadError::Body(BodyError::Timeout)) => answer::status(StatusCode::REQUEST_TIMEOUT),
            Refusal::Read(ReadError::Body(BodyError::Protocol(_))) => {
                said(StatusCode::BAD_REQUEST, "the body is not well framed")
            }
            Refusal::Read(ReadError::Body(_)) => client_disconnect(),
            Refusal::TooLarge => said(StatusCode::BAD_REQUEST, "max_file_size exceeded"),
        }
    }
}

fn said(status: StatusCode, words: &str) -> Response {
    answer::words(status, format!("FormPost: {words}"))
}

/// Every word with a capital, as Swift's messages are shown.
fn titled(words: &str) -> String {
    let capital = |word: &str| {
        let mut chars = word.chars();
        chars
            .next()
            .map(|first| first.to_uppercase().chain(chars).collect::<String>())
            .unwrap_or_default()
    };
    words.split(' ').map(capital).collect::<Vec<_>>().join(" ")
}

/// A form and where it was sent.
struct Form {
    edge: Arc<Edge>,
    next: Next,
    origin: Origin,
    headers: HeaderMap,
    target: Arc<Target>,
    /// Decoded, as it was signed.
    path: String,
    keys: Keys,
}

/// What came of the files.
struct Outcome {
    status: StatusCode,
    message: &'static str,
    headers: HeaderMap,
    /// What the storage said of a file it refused.
    refusal: Option<Bytes>,
}

impl Form {
    async fn take(&self, reader: &mut Reader) -> Result<Response, Refusal> {
        let mut fields = Fields::default();
        let mut files = 0;
        let mut outcome = Outcome::of(StatusCode::BAD_REQUEST, "no files to process");
        while let Some(head) = reader.next_part().await? {
            let Some(filename) = &head.filename else {
                let value = reader.value(MAX_VALUE_BYTES).await?;
                if let Some(name) = &head.name {
                    fields.set(name, &value)?;
                }
                continue;
            };
            if !fields.allows_another_file(files)? {
                outcome = Outcome::of(StatusCode::BAD_REQUEST, "max file count exceeded");
                break;
            }
            files += 1;
            let now_secs = self.edge.clock.now().secs();
            let allowed = &self.edge.config.formpost.allowed_digests;
            let ticket = fields.check(&self.path, now_secs, allowed, &self.keys)?;
            let request = self.request(filename, &head, &fields, &ticket)?;
            let response = self.upload(reader, request, ticket.max_file_size).await?;
            outcome = Outcome::from(response).await;
            if !outcome.status.is_success() {
                break;
            }
        }
        match fields.get("redirect") {
            Some(redirect) => outcome.redirect(redirect),
            None => Ok(outcome.response()),
        }
    }

    /// The PUT of one file, without its body.
    fn request(
        &self,
        filename: &str,
        head: &PartHead,
        fields: &Fields,
        ticket: &Ticket,
    ) -> Result<Request, Problem> {
        let path = self
            .object(filename)
            .ok_or(Problem::Invalid("the name of a file is too long"))?;
        let target = Target::Object(path);
        let grant = Grant::new(ticket.scope.clone(), Method::PUT, Arc::new(target.clone()));
        let mut request = self.origin.granted(grant).request(Method::PUT, target, "");
        let map = request.headers_mut();
        map.extend(ticket.headers.clone());
        map.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let agent = headers::text(&self.headers, USER_AGENT.as_str()).unwrap_or("");
        headers::set(map, USER_AGENT.as_str(), format!("{agent} FormPost").trim_start());
        if let Some(origin) = self.headers.get(ORIGIN) {
            map.insert(ORIGIN, origin.clone());
        }
        // What the form says is for all files; what a part says is for its own.
        for (name, of_part) in [
            (CONTENT_TYPE, &head.content_type),
            (CONTENT_ENCODING, &head.content_encoding),
        ] {
            if let Some(value) = fields.get(name.as_str()).or(of_part.as_deref()) {
                headers::set(map, name.as_str(), value);
            }
        }
        Ok(request)
    }

    /// The file's name goes at the end of the path the form was sent to.
    fn object(&self, filename: &str) -> Option<ObjectPath> {
        let ContainerPath { account, container } = self.target.container_path()?;
        let prefix = self.target.object().map_or("", |object| object.as_str());
        let object = ObjectName::new(format!("{prefix}{filename}")).ok()?;
        Some(ObjectPath::new(account, container, object))
    }

    /// Sends one file on while it is read.
    async fn upload(
        &self,
        reader: &mut Reader,
        mut request: Request,
        max_file_size: u64,
    ) -> Result<Response, Refusal> {
        let (sender, body) = Body::channel(1);
        *request.body_mut() = body;
        let pump = std::pin::pin!(reader.pump(sender, max_file_size));
        let (response, pumped) = match select(self.next.clone().run(request), pump).await {
            // The storage has spoken before the last byte was taken from here; the reason may stand here all the same.
            Either::Left((response, pump)) => (response, pump.now_or_never()),
            Either::Right((pumped, put)) => (put.await, Some(pumped)),
        };
        match pumped {
            Some(Pumped::TooLarge) => Err(Refusal::TooLarge),
            Some(Pumped::Broken(error)) => Err(error.into()),
            Some(Pumped::Whole | Pumped::Unwanted) | None => Ok(response),
        }
    }
}

impl Outcome {
    fn of(status: StatusCode, message: &'static str) -> Self {
        Outcome {
            status,
            message,
            headers: HeaderMap::new(),
            refusal: None,
        }
    }

    /// Scripts of the page may read the answer if they may read the file's.
    async fn from(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let mut outcome = Outcome::of(parts.status, "");
        let shown = parts
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("access-control"));
        outcome
            .headers
            .extend(shown.map(|(name, value)| (name.clone(), value.clone())));
        if !parts.status.is_success() {
            outcome.refusal = collect(body, MAX_REFUSAL_BYTES).await.ok();
        }
        outcome
    }

    fn response(mut self) -> Response {
        let mut words = answer::line(self.status);
        if !self.message.is_empty() {
            words = format!("{words}\r\nFormPost: {}", titled(self.message));
        }
        let body = self
            .refusal
            .filter(|refusal| !refusal.is_empty())
            .unwrap_or(Bytes::from(words));
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        respond::with(self.status, self.headers, Body::full(body))
    }

    /// Sends the browser to the page that the form names, with what came of the upload in its query.
    fn redirect(mut self, to: &str) -> Result<Response, Refusal> {
        let separator = if to.contains('?') { '&' } else { '?' };
        let (status, message) = (self.status.as_u16(), percent::quote(self.message));
        let location = format!("{to}{separator}status={status}&message={message}");
        let value = HeaderValue::from_bytes(location.as_bytes())
            .map_err(|_| Problem::Invalid("redirect is no URL"))?;
        self.headers.insert(LOCATION, value);
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        let link = quick_xml::escape::escape(location.as_str());
        let page = format!("<html><body><p><a href=\"{link}\">Click to continue...</a></p></body></html>");
        Ok(respond::with(
            StatusCode::SEE_OTHER,
            self.headers,
            Body::full(page),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_tell_what_came_of_it() {
        let location = |to: &str| {
            let outcome = Outcome::of(StatusCode::BAD_REQUEST, "max file count exceeded");
            let response = outcome.redirect(to).ok()?;
            assert_eq!(response.status(), 303);
            Some(response.headers()[LOCATION].to_str().ok()?.to_owned())
        };
        for (to, expected) in [
            (
                "http://a/b",
                Some("http://a/b?status=400&message=max%20file%20count%20exceeded"),
            ),
            (
                "http://a/b?c=d",
                Some("http://a/b?c=d&status=400&message=max%20file%20count%20exceeded"),
            ),
            ("http://a/b\r\nSet-Cookie: x", None),
        ] {
            assert_eq!(location(to).as_deref(), expected);
        }
    }

    #[test]
    fn info_names_the_digests() {
        let shown = info(&FormPostConfig::default());
        assert_eq!(
            shown,
            serde_json::json!({"allowed_digests": ["sha256", "sha512"]})
        );
        assert_eq!(titled("no files to process"), "No Files To Process");
    }
}
