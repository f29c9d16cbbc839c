//! The format a listing is answered in, by `format` and `Accept`, and the answer itself.

use crate::errors::Refusal;
use http::{HeaderMap, StatusCode};
use martlet_protocol::query::Query;
use martlet_protocol::row::ListingEntry;
use martlet_protocol::rows::{self, Packed};
use martlet_service::{Body, Response, headers, respond};

/// How a listing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingFormat {
    Text,
    Json,
    ApplicationXml,
    TextXml,
}

/// In the order in which a wildcard chooses.
const OFFERED: [(ListingFormat, &str, &str); 4] = [
    (ListingFormat::Text, "text", "plain"),
    (ListingFormat::Json, "application", "json"),
    (ListingFormat::ApplicationXml, "application", "xml"),
    (ListingFormat::TextXml, "text", "xml"),
];

impl ListingFormat {
    pub fn content_type(self) -> &'static str {
        match self {
            ListingFormat::Text => "text/plain; charset=utf-8",
            ListingFormat::Json => "application/json; charset=utf-8",
            ListingFormat::ApplicationXml => "application/xml; charset=utf-8",
            ListingFormat::TextXml => "text/xml; charset=utf-8",
        }
    }

    /// `format=` wins over `Accept`; an unknown format is plain text, an `Accept` that fits nothing is 406.
    pub fn choose(query: &Query, request: &HeaderMap) -> Result<Self, Refusal> {
        if let Some(format) = query.get("format").filter(|format| !format.is_empty()) {
            return Ok(match format {
                format if format.eq_ignore_ascii_case("json") => ListingFormat::Json,
                format if format.eq_ignore_ascii_case("xml") => ListingFormat::ApplicationXml,
                _ => ListingFormat::Text,
            });
        }
        let Some(accept) = request.get(http::header::ACCEPT) else {
            return Ok(ListingFormat::Text);
        };
        let invalid = || Refusal::BadRequest("Invalid Accept header".into());
        let accept = accept.to_str().map_err(|_| invalid())?;
        if accept.is_empty() {
            return Ok(ListingFormat::Text);
        }
        let mut wanted = accept
            .split(',')
            .map(Wanted::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(invalid)?;
        // Best quality first, exact types before wildcards, and among equals as they stand.
        wanted.sort_by(|a, b| {
            b.rank()
                .partial_cmp(&a.rank())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let fits = |wanted: &Wanted<'_>| {
            OFFERED.iter().find(|(_, kind, subtype)| {
                (wanted.kind == "*" || wanted.kind == *kind)
                    && (wanted.subtype == "*" || wanted.subtype == *subtype)
            })
        };
        wanted
            .iter()
            .find_map(fits)
            .map(|(format, _, _)| *format)
            .ok_or(Refusal::NotAcceptable)
    }

    /// The whole answer. Only a text listing can be without a byte, and is then 204.
    pub fn respond(self, mut response_headers: HeaderMap, body: Vec<u8>) -> Response {
        headers::set(&mut response_headers, "content-type", self.content_type());
        headers::set(&mut response_headers, "content-length", &body.len().to_string());
        let status = if body.is_empty() {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::OK
        };
        let body = if body.is_empty() {
            Body::empty()
        } else {
            Body::full(body)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = response_headers;
        response
    }

    /// The answer of a HEAD: 204 and the same headers.
    pub fn respond_head(self, mut response_headers: HeaderMap) -> Response {
        headers::set(&mut response_headers, "content-type", self.content_type());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = response_headers;
        response
    }
}

/// Whole rows, packed, for a proxy that merges replicas.
pub fn respond_rows<T: Packed>(mut response_headers: HeaderMap, entries: &[ListingEntry<T>]) -> Response {
    let page = rows::pack(entries);
    headers::set(&mut response_headers, "content-type", rows::CONTENT_TYPE);
    headers::set(&mut response_headers, "content-length", &page.len().to_string());
    respond::with(StatusCode::OK, response_headers, Body::full(page))
}

/// One member of an `Accept` header.
struct Wanted<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f32,
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut quality = None;
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            let value = value.trim();
            let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
            if !is_token(name.trim()) || !(quoted || is_token(value)) {
                return None;
            }
            if name.trim() == "q"
                && quality
                    .replace(value.parse::<f32>().ok().filter(|q| q.is_finite())?)
                    .is_some()
            {
                return None;
            }
        }
        Some(Wanted {
            kind,
            subtype,
            quality: quality.unwrap_or(1.0),
        })
    }

    fn rank(&self) -> (f32, bool) {
        (self.quality, self.kind != "*" && self.subtype != "*")
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_wins_then_accept_by_quality() {
        use ListingFormat::{ApplicationXml, Json, Text, TextXml};
        let bad = || Err(Refusal::BadRequest("Invalid Accept header".into()));
        for (query, accept, want) in [
            ("", None, Ok(Text)),
            ("", Some(""), Ok(Text)),
            ("", Some("*/*"), Ok(Text)),
            ("", Some("application/json"), Ok(Json)),
            ("", Some("application/*"), Ok(Json)),
            ("", Some("text/xml"), Ok(TextXml)),
            (
                "",
                Some("text/html, application/xml;q=0.5, application/json;q=0.4"),
                Ok(ApplicationXml),
            ),
            ("", Some("text/*;q=0.1,application/xml;q=0.9"), Ok(ApplicationXml)),
            ("", Some("*/*, application/json"), Ok(Json)),
            ("", Some("application/json; charset=utf-8"), Ok(Json)),
            ("", Some("image/png"), Err(Refusal::NotAcceptable)),
            ("", Some("nonsense"), bad()),
            ("", Some("text/plain;q=1;q=2"), bad()),
            ("", Some("text/plain;q=x"), bad()),
            ("", Some("text/plain;q"), bad()),
            ("format=json", Some("image/png"), Ok(Json)),
            ("format=XML", None, Ok(ApplicationXml)),
            ("format=plain", Some("application/json"), Ok(Text)),
            ("format=other", Some("application/json"), Ok(Text)),
            ("format=", Some("application/json"), Ok(Json)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(http::header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(
                ListingFormat::choose(&Query::parse(query).unwrap(), &headers),
                want,
                "{query:?} {accept:?}"
            );
        }
    }
}
