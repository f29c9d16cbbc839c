//! One line and one count for each request from outside, when its last byte has gone.
//!
//! The line is structured, or in Swift's form when the operator's tools read that: `template` is its form, `hidden` keeps
//! secrets and persons out of it.

mod hidden;
mod template;

use super::counted::{Count, counted};
use crate::Edge;
use crate::context::{Context, context};
use crate::pipeline::Next;
use bytes::Bytes;
use hidden::{Anonymizer, HashMethod, SECRET_HEADERS, cut, cut_query};
use http::header::{REFERER, USER_AGENT};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use martlet_service::logging::RequestLine;
use martlet_service::{Body, BodyError, Peer, Request, Response, headers};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};
use template::{Facts, Template};

/// How requests are logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyLoggingConfig {
    pub log_format: LogFormat,
    /// The form of Swift's lines.
    pub log_msg_template: Template,
    /// How `{field.anonymized}` is hashed, and what is put before the value then.
    pub log_anonymization_method: HashMethod,
    pub log_anonymization_salt: String,
    /// Whether `{headers}` holds the request's headers, and of which names; none named: all.
    pub access_log_headers: bool,
    pub access_log_headers_only: Vec<String>,
    /// Characters of tokens and signatures that are shown.
    pub reveal_sensitive_prefix: usize,
}

/// What lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Names with values, as all of Martlet's logs.
    #[default]
    Structured,
    /// As `log_msg_template` says.
    Swift,
}

impl Default for ProxyLoggingConfig {
    fn default() -> Self {
        ProxyLoggingConfig {
            log_format: LogFormat::default(),
            log_msg_template: Template::default(),
            log_anonymization_method: HashMethod::default(),
            log_anonymization_salt: String::new(),
            access_log_headers: false,
            access_log_headers_only: Vec::new(),
            reveal_sensitive_prefix: 16,
        }
    }
}

pub async fn run(request: Request, next: Next) -> Response {
    let Some(context) = context(&request).cloned() else {
        return next.run(request).await;
    };
    let received = Count::default();
    let edge = next.edge().clone();
    let in_swifts_form = match edge.config.proxy_logging.log_format {
        LogFormat::Structured => None,
        LogFormat::Swift => Some(Box::new(InSwiftsForm {
            facts: facts(&request, &edge),
            edge,
            first_byte: None,
        })),
    };
    let mut line = Line {
        in_swifts_form,
        context,
        method: request.method().clone(),
        path: path_for_log(&request),
        peer: request.extensions().get::<Peer>().copied(),
        user_agent: headers::text(request.headers(), USER_AGENT.as_str()).map(str::to_owned),
        referer: headers::text(request.headers(), REFERER.as_str()).map(str::to_owned),
        is_s3: false,
        status: StatusCode::OK,
        received: received.clone(),
        sent: 0,
        is_whole: true,
    };
    let request = request.map(|body| match body.content_length() {
        Some(0) => body,
        _ => counted(body, &received, ()),
    });
    let response = next.run(request).await;
    line.status = response.status();
    if let Some(form) = &mut line.in_swifts_form {
        form.first_byte = Some(Instant::now());
    }
    line.is_s3 = response.headers().contains_key("x-amz-request-id");
    if line.method == Method::HEAD || response.body().content_length() == Some(0) {
        return response;
    }
    line.is_whole = false;
    response.map(|body| {
        Body::boxed(Sent {
            remaining: body.content_length(),
            inner: body,
            line,
        })
    })
}

/// The path, and the query unless it holds a signature: a log must not be a key.
fn path_for_log(request: &Request) -> String {
    let uri = request.uri();
    match uri.query() {
        Some(query)
            if !["ignature", "_sig", "X-Amz-"]
                .iter()
                .any(|mark| query.contains(mark)) =>
        {
            format!("{}?{query}", uri.path())
        }
        _ => uri.path().to_owned(),
    }
}

/// What a line in Swift's form is made of.
struct InSwiftsForm {
    edge: Arc<Edge>,
    facts: Facts,
    first_byte: Option<Instant>,
}

/// What is known of a request before it is answered.
fn facts(request: &Request, edge: &Edge) -> Facts {
    let config = &edge.config.proxy_logging;
    let map = request.headers();
    let text = |name: &str| headers::text(map, name).unwrap_or("");
    let remote = request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.0.ip().to_string())
        .unwrap_or_default();
    let forwarded = text("x-forwarded-for").split(',').next().unwrap_or("").trim();
    let client = [text("x-cluster-client-ip"), forwarded, &remote]
        .into_iter()
        .find(|address| !address.is_empty());
    let uri = request.uri();
    let path = match uri.query() {
        Some(query) => format!(
            "{}?{}",
            uri.path(),
            cut_query(query, config.reveal_sensitive_prefix)
        ),
        None => uri.path().to_owned(),
    };
    let host = headers::text(map, "host").or_else(|| uri.host()).unwrap_or("");
    let mut facts = Facts {
        start_ns: edge.clock.now().raw() * 10_000,
        ..Facts::default()
    };
    facts.set("client_ip", client.unwrap_or(""));
    facts.set("remote_addr", remote.as_str());
    facts.set("domain", host.rsplit_once(':').map_or(host, |(name, _)| name));
    facts.set("path", path);
    facts.set("referer", text(REFERER.as_str()));
    facts.set("user_agent", text(USER_AGENT.as_str()));
    facts.set("client_etag", text("etag"));
    facts.set(
        "auth_token",
        cut(text("x-auth-token"), config.reveal_sensitive_prefix),
    );
    facts.set("method", request.method().as_str());
    facts.set("protocol", format!("{:?}", request.version()));
    facts.set("pid", std::process::id().to_string());
    let mut parts = uri.path().trim_start_matches('/').splitn(4, '/');
    if let Some("v1" | "v1.0") = parts.next() {
        for name in ["account", "container", "object"] {
            facts.set(name, parts.next().unwrap_or(""));
        }
    }
    if config.access_log_headers {
        facts.set("headers", headers_for_log(map, config));
    }
    facts
}

/// `Name: value` by lines, secrets cut.
fn headers_for_log(map: &http::HeaderMap, config: &ProxyLoggingConfig) -> String {
    let only = &config.access_log_headers_only;
    let lines = map.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        if !only.is_empty() && !only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
            return None;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        Some(match SECRET_HEADERS.contains(&name) {
            true => format!("{}: {}", title(name), cut(&value, config.reveal_sensitive_prefix)),
            false => format!("{}: {value}", title(name)),
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `X-Auth-Token` of `x-auth-token`.
fn title(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|c| {
            let shown = if begins { c.to_ascii_uppercase() } else { c };
            begins = c == '-';
            shown
        })
        .collect()
}

/// What is written when it is dropped: at the end of the answer, or when the client has left.
struct Line {
    in_swifts_form: Option<Box<InSwiftsForm>>,
    context: Context,
    method: Method,
    path: String,
    peer: Option<Peer>,
    user_agent: Option<String>,
    referer: Option<String>,
    is_s3: bool,
    status: StatusCode,
    received: Count,
    sent: u64,
    is_whole: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        // 499 in the log: the client did not stay for the whole answer.
        let status = if self.is_whole { self.status.as_u16() } else { 499 };
        let received = self.received.bytes();
        let duration = self.context.started().elapsed();
        let form = self.in_swifts_form.take();
        let line = RequestLine {
            server: "proxy",
            method: self.method.as_str(),
            path: &self.path,
            status,
            trans_id: self.context.trans_id(),
            duration,
        };
        match form {
            Some(form) => self.write_in_swifts_form(*form, status, received, duration),
            None => self.write(&line, received),
        }
        line.count();
        metrics::counter!("martlet_proxy_received_bytes").increment(received);
        metrics::counter!("martlet_proxy_sent_bytes").increment(self.sent);
    }
}

impl Line {
    fn write(&self, line: &RequestLine<'_>, received: u64) {
        let Some(mut fields) = line.begin() else {
            return;
        };
        fields.text("user", self.context.user().unwrap_or("-"));
        fields.text("source", if self.is_s3 { "S3" } else { "-" });
        fields.number("bytes_received", received);
        fields.number("bytes_sent", self.sent);
        if let Some(Peer(address)) = self.peer {
            fields.address("client", address);
        }
        for (name, value) in [("user_agent", &self.user_agent), ("referer", &self.referer)] {
            if let Some(value) = value {
                fields.text(name, value);
            }
        }
        fields.end();
    }

    fn write_in_swifts_form(&self, form: InSwiftsForm, status: u16, received: u64, duration: Duration) {
        let InSwiftsForm {
            edge,
            mut facts,
            first_byte,
        } = form;
        let counted = |number: u64| match number {
            0 => String::new(),
            number => number.to_string(),
        };
        let began = self.context.started();
        let to_first_byte = first_byte.map_or(0.0, |at| (at - began).as_secs_f64());
        facts.end_ns = facts.start_ns + duration.as_nanos() as u64;
        facts.set("status_int", status.to_string());
        facts.set("wire_status_int", self.status.as_u16().to_string());
        facts.set("bytes_recvd", counted(received));
        facts.set("bytes_sent", counted(self.sent));
        facts.set("transaction_id", self.context.trans_id());
        facts.set("request_time", format!("{:.4}", duration.as_secs_f64()));
        facts.set("ttfb", format!("{to_first_byte:.4}"));
        facts.set("source", if self.is_s3 { "S3" } else { "" });
        facts.set("log_info", self.context.notes());
        facts.set("access_user_id", self.context.user().unwrap_or(""));
        if let Some(policy) = self.context.policy() {
            facts.set("policy_index", policy.to_string());
        }
        let config = &edge.config.proxy_logging;
        let anonymizer = Anonymizer {
            method: config.log_anonymization_method,
            salt: config.log_anonymization_salt.clone(),
        };
        let line = config.log_msg_template.line(&facts, &anonymizer);
        tracing::info!(target: "martlet::request", "{line}");
    }
}

/// Counts what the client gets, and holds the body to its announced length: more or less breaks the connection
/// rather than being taken for the whole.
struct Sent {
    inner: Body,
    remaining: Option<u64>,
    line: Line,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(remaining) = &mut self.remaining {
                    match remaining.checked_sub(bytes) {
                        Some(rest) => *remaining = rest,
                        None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
                    }
                }
                self.line.sent += bytes;
                if self.remaining == Some(0) || self.inner.is_end_stream() {
                    self.line.is_whole = true;
                }
            }
            None if self.remaining.is_some_and(|remaining| remaining > 0) => {
                self.remaining = Some(0);
                return Poll::Ready(Some(Err(BodyError::Aborted)));
            }
            None => self.line.is_whole = true,
            Some(Err(error)) => {
                tracing::debug!(%error, trans_id = self.line.context.trans_id(), "answer cut short")
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_shown_without_secrets() {
        let mut map = http::HeaderMap::new();
        for (name, value) in [
            ("x-auth-token", "AUTH_tk0123456789abcdef"),
            ("x-object-meta-a", "1"),
        ] {
            headers::set(&mut map, name, value);
        }
        let mut config = ProxyLoggingConfig::default();
        let all = headers_for_log(&map, &config);
        let mut lines: Vec<_> = all.lines().collect();
        lines.sort();
        assert_eq!(lines, ["X-Auth-Token: AUTH_tk012345678...", "X-Object-Meta-A: 1"]);
        config.access_log_headers_only = vec!["X-Object-Meta-A".into()];
        assert_eq!(headers_for_log(&map, &config), "X-Object-Meta-A: 1");
    }
}
