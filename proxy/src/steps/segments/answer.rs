//! What a GET or HEAD gets of a large object: the whole, ranges, or a refusal.

use super::{Piece, Pieces, Reader, Source};
use crate::steps::answer as refuse;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
};
use martlet_protocol::conditions::Verdict;
use martlet_protocol::range::{ByteRange, Resolved, parse_ranges, resolve};
use martlet_service::{Body, Response, headers, respond};

/// A large object as its manifest describes it, and what is asked of it.
pub struct Joined {
    /// The headers of the manifest, which are those of the large object but for length and ETag.
    pub headers: HeaderMap,
    /// Bare.
    pub etag: String,
    /// Bytes; `None` while not all segments are known.
    pub length: Option<u64>,
    /// Bytes of the segments that are known, with which a range can be resolved before all are.
    pub known_length: u64,
    pub verdict: Verdict,
    pub is_head: bool,
    pub wanted: Wanted,
    pub source: Source,
}

/// What of the bytes is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What a `Range` header says; without one, all.
    Header(Option<String>),
    /// One segment, by its number: never empty. HEAD too is answered with this length.
    Part(ByteRange),
}

/// Answers; `pieces` gives the pieces of a run of bytes, up to the end for `None`.
pub async fn answer(joined: Joined, pieces: impl Fn(Option<ByteRange>) -> Pieces) -> Response {
    let mut out = joined.headers;
    out.remove(CONTENT_RANGE);
    out.remove(CONTENT_LENGTH);
    headers::set(&mut out, ETAG.as_str(), &format!("\"{}\"", joined.etag));
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match joined.verdict {
        Verdict::Proceed => {}
        Verdict::NotModified => return respond::with(StatusCode::NOT_MODIFIED, out, Body::empty()),
        Verdict::PreconditionFailed => return page(StatusCode::PRECONDITION_FAILED, out, joined.is_head),
    }
    // Not all segments may be known: the total is then what is, as RFC 9110 wants a number for a range that is served.
    let total = joined.length.unwrap_or(joined.known_length);
    if joined.is_head {
        let status = match joined.wanted {
            Wanted::Part(range) => {
                headers::set(&mut out, CONTENT_RANGE.as_str(), &range.content_range(total));
                out.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
                StatusCode::PARTIAL_CONTENT
            }
            Wanted::Header(_) => {
                if let Some(length) = joined.length {
                    out.insert(CONTENT_LENGTH, HeaderValue::from(length));
                }
                StatusCode::OK
            }
        };
        return respond::with(status, out, Body::empty());
    }
    let asked = match &joined.wanted {
        Wanted::Part(range) => Asked::Ranges(vec![*range]),
        Wanted::Header(range) => asked(range.as_deref(), joined.length, joined.known_length),
    };
    let ranges = match asked {
        Asked::Whole => Vec::new(),
        Asked::Ranges(ranges) => ranges,
        Asked::Unsatisfiable => {
            if let Some(length) = joined.length {
                headers::set(&mut out, CONTENT_RANGE.as_str(), &format!("bytes */{length}"));
            }
            return page(StatusCode::RANGE_NOT_SATISFIABLE, out, false);
        }
    };
    let (status, run, length) = match ranges.as_slice() {
        [] => (StatusCode::OK, pieces(None), joined.length),
        [range] => {
            headers::set(&mut out, CONTENT_RANGE.as_str(), &range.content_range(total));
            (
                StatusCode::PARTIAL_CONTENT,
                pieces(Some(*range)),
                Some(range.len()),
            )
        }
        ranges => {
            let kind = headers::text(&out, CONTENT_TYPE.as_str())
                .unwrap_or("application/octet-stream")
                .to_owned();
            let boundary = format!("{:032x}", rand::random::<u128>());
            let parts = multipart(ranges, &kind, &boundary, total);
            let length = parts.iter().map(Part::len).sum();
            let value = format!("multipart/byteranges;boundary={boundary}");
            headers::set(&mut out, CONTENT_TYPE.as_str(), &value);
            let runs = parts.into_iter().map(|part| match part {
                Part::Frame(text) => {
                    let frame: Pieces = Box::pin(stream::iter([Ok(Piece::Data(Bytes::from(text)))]));
                    frame
                }
                Part::Range(range) => pieces(Some(range)),
            });
            let runs: Vec<Pieces> = runs.collect();
            let run: Pieces = Box::pin(stream::iter(runs).flatten());
            (StatusCode::PARTIAL_CONTENT, run, Some(length))
        }
    };
    let mut reader = Reader::new(run, joined.source);
    if let Err(error) = reader.begin().await {
        tracing::warn!(%error, "large object cannot be read");
        return refuse::status(error.status());
    }
    if let Some(length) = length {
        out.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    respond::with(status, out, reader.into_body(length))
}

/// A refusal's page under the large object's headers.
fn page(status: StatusCode, mut out: HeaderMap, is_head: bool) -> Response {
    let (parts, body) = refuse::status(status).into_parts();
    for (name, value) in &parts.headers {
        out.insert(name.clone(), value.clone());
    }
    let body = if is_head { Body::empty() } else { body };
    respond::with(status, out, body)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Ranges(Vec<ByteRange>),
    Unsatisfiable,
}

/// While not all segments are known, a single range within the known ones is served and any other is ignored: the
/// whole answers it too.
fn asked(range: Option<&str>, length: Option<u64>, known_length: u64) -> Asked {
    let Some(specs) = range.and_then(parse_ranges) else {
        return Asked::Whole;
    };
    let resolved = match length {
        Some(length) => resolve(&specs, length),
        None => match specs.as_slice() {
            [martlet_protocol::range::RangeSpec::FromTo(_, last)] if *last < known_length => {
                resolve(&specs, known_length)
            }
            _ => Resolved::Whole,
        },
    };
    match resolved {
        Resolved::Whole => Asked::Whole,
        Resolved::Ranges(ranges) => Asked::Ranges(ranges),
        Resolved::Unsatisfiable => Asked::Unsatisfiable,
    }
}

/// A part of a multi-range body.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Frame(String),
    Range(ByteRange),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Frame(text) => text.len() as u64,
            Part::Range(range) => range.len(),
        }
    }
}

fn multipart(ranges: &[ByteRange], kind: &str, boundary: &str, length: u64) -> Vec<Part> {
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    let mut lead = "";
    for range in ranges {
        let content_range = range.content_range(length);
        parts.push(Part::Frame(format!(
            "{lead}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {content_range}\r\n\r\n"
        )));
        parts.push(Part::Range(*range));
        lead = "\r\n";
    }
    parts.push(Part::Frame(format!("\r\n--{boundary}--")));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_known_and_unknown_lengths() {
        let range = |start, end| ByteRange { start, end };
        assert_eq!(asked(None, Some(10), 10), Asked::Whole);
        assert_eq!(
            asked(Some("bytes=2-3"), Some(10), 10),
            Asked::Ranges(vec![range(2, 4)])
        );
        assert_eq!(
            asked(Some("bytes=-3"), Some(10), 10),
            Asked::Ranges(vec![range(7, 10)])
        );
        assert_eq!(asked(Some("bytes=10-"), Some(10), 10), Asked::Unsatisfiable);
        assert_eq!(asked(Some("junk"), Some(10), 10), Asked::Whole);
        assert_eq!(
            asked(Some("bytes=2-3"), None, 10),
            Asked::Ranges(vec![range(2, 4)])
        );
        assert_eq!(asked(Some("bytes=2-30"), None, 10), Asked::Whole);
        assert_eq!(asked(Some("bytes=-3"), None, 10), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-1,3-4"), None, 10), Asked::Whole);
    }

    #[test]
    fn frames_of_a_multi_range_answer() {
        let parts = multipart(
            &[ByteRange { start: 0, end: 2 }, ByteRange { start: 5, end: 6 }],
            "a/b",
            "x",
            9,
        );
        let text: String = parts
            .iter()
            .map(|part| match part {
                Part::Frame(text) => text.clone(),
                Part::Range(range) => "#".repeat(range.len() as usize),
            })
            .collect();
        assert_eq!(
            text,
            "--x\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/9\r\n\r\n##\r\n\
             --x\r\nContent-Type: a/b\r\nContent-Range: bytes 5-5/9\r\n\r\n#\r\n--x--"
        );
        assert_eq!(parts.iter().map(Part::len).sum::<u64>(), text.len() as u64);
    }
}
