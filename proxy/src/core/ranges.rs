//! GET of several ranges at once: the proxy asks for one after the other and joins them as `multipart/byteranges`.
//!
//! The object is looked at first; from then on all parts are of that version, and each resumes as any body does.

use super::answer;
use super::get::{Object, range_header, refused, shown};
use super::placement::Peer;
use super::resume::{Resumer, Version};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::range::{ByteRange, Resolved, parse_ranges, resolve};
use martlet_service::{Body, BodyError, Response, headers};
use std::collections::VecDeque;
use std::sync::Arc;

/// Whether a request asks for more than one range.
pub fn wants_many(head: &HeaderMap) -> bool {
    range_header(head).is_some_and(|text| parse_ranges(text).is_some_and(|specs| specs.len() > 1))
}

/// Answers such a request; `full` holds the client's conditions and range.
pub async fn get(object: &Object<'_>, mut full: HeaderMap) -> Result<Response, Response> {
    let specs = range_header(&full).and_then(parse_ranges).unwrap_or_default();
    full.remove(RANGE);
    let whole_if = headers::text(&full, "x-backend-ignore-range-if-metadata-present").map(str::to_owned);
    let taken = object.ask(Method::HEAD, Arc::new(full)).await?;
    let (parts, _) = taken.response.into_parts();
    if parts.status != StatusCode::OK {
        return Ok(refused(parts.status, parts.headers));
    }
    let length =
        headers::text(&parts.headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
    let length = length.ok_or_else(answer::unavailable)?;
    let version = Version::of(&parts.headers);
    // Whoever answered is asked again first: it has the version.
    let mut holders = taken.others;
    holders.insert(0, taken.peer);
    let names_one = |names: &str| {
        names
            .split(',')
            .any(|name| parts.headers.contains_key(name.trim()))
    };
    let resolved = match whole_if.is_some_and(|names| names_one(&names)) {
        true => Resolved::Whole,
        false => resolve(&specs, length),
    };
    let ranges = match resolved {
        Resolved::Whole => {
            let whole = ByteRange {
                start: 0,
                end: length,
            };
            let body = part(object, &version, whole, &holders).into_body();
            return Ok(shown(StatusCode::OK, parts.headers, body));
        }
        Resolved::Unsatisfiable => {
            let mut head = parts.headers;
            headers::set(&mut head, CONTENT_RANGE.as_str(), &format!("bytes */{length}"));
            return Ok(refused(StatusCode::RANGE_NOT_SATISFIABLE, head));
        }
        Resolved::Ranges(ranges) => ranges,
    };
    let mut head = parts.headers;
    if let [range] = ranges[..] {
        headers::set(&mut head, CONTENT_RANGE.as_str(), &range.content_range(length));
        head.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
        let body = part(object, &version, range, &holders).into_body();
        return Ok(shown(StatusCode::PARTIAL_CONTENT, head, body));
    }
    let boundary = format!("{:032x}", rand::random::<u128>());
    let content_type = headers::text(&head, CONTENT_TYPE.as_str())
        .unwrap_or("application/octet-stream")
        .to_owned();
    let mut pieces: VecDeque<Piece> = VecDeque::with_capacity(ranges.len() * 2 + 1);
    for (at, range) in ranges.iter().enumerate() {
        let line_end = if at == 0 { "" } else { "\r\n" };
        let content_range = range.content_range(length);
        let text = format!(
            "{line_end}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
        );
        pieces.push_back(Piece::Text(Bytes::from(text)));
        pieces.push_back(Piece::Part(Box::new(part(object, &version, *range, &holders))));
    }
    pieces.push_back(Piece::Text(Bytes::from(format!("\r\n--{boundary}--"))));
    let total: u64 = pieces.iter().map(Piece::len).sum();
    head.insert(CONTENT_LENGTH, HeaderValue::from(total));
    headers::set(
        &mut head,
        CONTENT_TYPE.as_str(),
        &format!("multipart/byteranges;boundary={boundary}"),
    );
    Ok(shown(StatusCode::PARTIAL_CONTENT, head, joined(pieces, total)))
}

/// A piece of a multipart body.
enum Piece {
    Text(Bytes),
    Part(Box<Resumer>),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::Part(part) => part.end - part.position,
        }
    }
}

/// A range that begins with no body: its first bytes are asked for as if a body had broken at its start.
fn part(object: &Object<'_>, version: &Version, range: ByteRange, holders: &[Arc<Peer>]) -> Resumer {
    let others = object.clone().into_others(version.clone(), holders.to_vec());
    Resumer::not_begun(range.start, range.end, others)
}

fn joined(pieces: VecDeque<Piece>, total: u64) -> Body {
    let next = |mut pieces: VecDeque<Piece>| async move {
        loop {
            let item: Result<Bytes, BodyError> = match pieces.pop_front()? {
                Piece::Text(text) => Ok(text),
                Piece::Part(mut part) => match part.next().await {
                    None => continue,
                    Some(Ok(chunk)) => {
                        pieces.push_front(Piece::Part(part));
                        Ok(chunk)
                    }
                    Some(Err(error)) => {
                        pieces.clear();
                        Err(error)
                    }
                },
            };
            return Some((item, pieces));
        }
    };
    Body::sized_stream(total, stream::unfold(pieces, next))
}
