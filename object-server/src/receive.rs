//! Takes the body of a PUT: to storage as it comes, its ETag from whoever has computed it, and no half body for a whole.

use crate::config::ObjectServerConfig;
use crate::errors::Refusal;
use crate::request;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use martlet_protocol::header;
use martlet_service::{Body, headers};
use martlet_storage::BodyWriter;
use md5::{Digest, Md5};
use std::time::Duration;
use tokio::time::Instant;

/// Who knows the MD5 of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EtagSource {
    /// The proxy, before the body: it had the whole of it in hand.
    Given(String),
    /// The proxy, after the body, in a trailer. Its coming also proves that the body is whole.
    Trailer,
    /// Nobody yet: Swift's proxies leave it to this server.
    Computed,
}

impl EtagSource {
    pub fn parse(map: &HeaderMap) -> Result<Self, Refusal> {
        if let Some(etag) = request::text(map, header::X_BACKEND_MARTLET_ETAG)? {
            return Ok(EtagSource::Given(checked_md5(etag)?));
        }
        match headers::is_true(map, header::X_BACKEND_MARTLET_ETAG_TRAILER) {
            true => Ok(EtagSource::Trailer),
            false => Ok(EtagSource::Computed),
        }
    }
}

/// A body that has come whole.
pub(crate) struct Received {
    pub etag: String,
    /// Empty when none came.
    pub trailers: HeaderMap,
}

/// Bounds on the taking of one body.
pub(crate) struct Bounds {
    /// Pause between two pieces.
    pub pause: Duration,
    /// The whole body.
    pub whole: Duration,
    pub max_bytes: u64,
}

impl Bounds {
    pub fn new(config: &ObjectServerConfig) -> Self {
        Bounds {
            pause: Duration::from_millis(config.settings.client_timeout_ms),
            whole: Duration::from_secs(config.settings.max_upload_time_secs),
            max_bytes: config.limits.max_file_size,
        }
    }
}

/// Writes the body to storage. `expected`: the length that was announced; any other is a refusal.
pub(crate) async fn receive(
    mut body: Body,
    writer: &mut BodyWriter,
    source: &EtagSource,
    expected: Option<u64>,
    bounds: &Bounds,
) -> Result<Received, Refusal> {
    let started = Instant::now();
    let mut md5 = (*source == EtagSource::Computed).then(Md5::new);
    let mut length = 0u64;
    while let Some(chunk) = next_chunk(&mut body, bounds.pause).await? {
        length += chunk.len() as u64;
        if expected.is_some_and(|expected| length > expected) {
            return Err(Refusal::bad_request("Body is longer than its Content-Length"));
        }
        if length > bounds.max_bytes {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, "Your request is too large."));
        }
        if started.elapsed() > bounds.whole {
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, ""));
        }
        if let Some(md5) = &mut md5 {
            md5.update(&chunk);
        }
        writer.write(chunk).await?;
    }
    if let Some(expected) = expected.filter(|expected| *expected != length) {
        return Err(Refusal::body_incomplete(format!(
            "{length} of {expected} bytes came"
        )));
    }
    let trailers = body.trailers().cloned().unwrap_or_default();
    let etag = match (source, md5) {
        (EtagSource::Given(etag), _) => etag.clone(),
        (EtagSource::Trailer, _) => etag_of_trailers(&trailers, length)?,
        (EtagSource::Computed, md5) => hex(&md5.unwrap_or_default().finalize()),
    };
    Ok(Received { etag, trailers })
}

async fn next_chunk(body: &mut Body, pause: Duration) -> Result<Option<Bytes>, Refusal> {
    match tokio::time::timeout(pause, body.next()).await {
        Ok(Some(chunk)) => Ok(Some(chunk?)),
        Ok(None) => Ok(None),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "")),
    }
}

/// The proxy sends its trailers only after the client's last byte, so without them the body is not whole.
fn etag_of_trailers(trailers: &HeaderMap, length: u64) -> Result<String, Refusal> {
    let Some(etag) = request::text(trailers, header::X_BACKEND_MARTLET_ETAG)? else {
        return Err(Refusal::body_incomplete("the trailer with the ETag did not come"));
    };
    if let Some(announced) = request::text(trailers, header::X_BACKEND_MARTLET_LENGTH)? {
        match announced.trim().parse::<u64>() {
            Ok(announced) if announced == length => {}
            Ok(announced) => {
                return Err(Refusal::body_incomplete(format!(
                    "{length} of {announced} bytes came"
                )));
            }
            Err(_) => return Err(Refusal::bad_request("Invalid X-Backend-Martlet-Length")),
        }
    }
    checked_md5(etag)
}

fn checked_md5(text: &str) -> Result<String, Refusal> {
    let etag = request::bare_etag(text);
    match etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(etag),
        false => Err(Refusal::bad_request("Invalid X-Backend-Martlet-Etag")),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}
