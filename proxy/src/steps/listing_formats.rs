//! Gives account and container listings in the format the client wants; all below answer JSON.

use super::{accept, answer, listing_page};
use crate::Edge;
use crate::context::{self, allows_reserved_names, target};
use crate::pipeline::Next;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Method, StatusCode};
use martlet_protocol::name::Target;
use martlet_protocol::query::Query;
use martlet_service::{Body, Request, Response, collect, headers};
use quick_xml::escape::escape;
use serde_json::Value;
use std::fmt::Write;

/// Bytes of JSON past which an answer is no listing of ours and passes as it is: ten thousand names of 1,024 bytes,
/// doubled for what stands beside them.
const MAX_LISTING_BYTES: usize = 1_024 * 10_000 * 2;
/// What a client may choose from; the first is for those who do not say.
const OFFERS: [&str; 4] = ["text/plain", "application/json", "application/xml", "text/xml"];

/// Reads of accounts and containers.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && target(request).is_some_and(|target| !matches!(*target, Target::Object(_)))
}

pub async fn run(mut request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let mut query = context::query(&request);
    let lists_versions = *request.method() == Method::GET
        && matches!(*target, Target::Container(_))
        && query.has("versions")
        && next.edge().config.versioned_writes.allow_object_versioning;
    // Versions are listed in JSON only.
    let offers: &[&'static str] = if lists_versions { &OFFERS[1..2] } else { &OFFERS };
    let accept = headers::text(request.headers(), ACCEPT.as_str());
    let format = match choose(&query, accept, offers) {
        Ok(format) => format,
        Err(refusal) => return *refusal,
    };
    let can_vary = !query.has("format");
    query.remove("format");
    query.push("format", "json");
    context::set_query(&mut request, &query.encode());
    let is_head = *request.method() == Method::HEAD;
    let shows_reserved = allows_reserved_names(request.headers());

    let response = next.run(request).await;
    if !matches!(response.status(), StatusCode::OK | StatusCode::NO_CONTENT) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if can_vary {
        add_vary(&mut parts.headers);
    }
    let is_json = headers::text(&parts.headers, CONTENT_TYPE.as_str()).is_some_and(|value| {
        value
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim() == "application/json")
    });
    // A web page stands for a listing and is given as it is.
    if parts.headers.contains_key(super::tempurl::CONTENT_GENERATOR) {
        return Response::from_parts(parts, body);
    }
    let is_empty = parts.status == StatusCode::NO_CONTENT;
    if is_head {
        set_type(&mut parts.headers, format);
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Response::from_parts(parts, Body::empty());
    }
    if !is_json && !is_empty {
        return Response::from_parts(parts, body);
    }
    let Ok(bytes) = collect(body, MAX_LISTING_BYTES).await else {
        tracing::error!("a listing could not be read");
        return answer::status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let json = if bytes.is_empty() {
        Bytes::from_static(b"[]")
    } else {
        bytes
    };
    let hides = !shows_reserved && holds_reserved(&json);
    let written = if format == "application/json" && !hides {
        Some(json)
    } else {
        serde_json::from_slice::<Vec<Value>>(&json)
            .ok()
            .map(|mut entries| {
                if hides {
                    entries.retain(|entry| !entry_name(entry).contains('\0'));
                }
                Bytes::from(write(&entries, format, &target))
            })
    };
    let Some(written) = written else {
        tracing::error!("a listing was not a JSON array");
        return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    parts.status = if written.is_empty() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::OK
    };
    set_type(&mut parts.headers, format);
    headers::set(
        &mut parts.headers,
        CONTENT_LENGTH.as_str(),
        &written.len().to_string(),
    );
    let body = match written.is_empty() {
        true => announced_empty(),
        false => Body::full(written),
    };
    Response::from_parts(parts, body)
}

/// A body of no bytes that HTTP learns the length of. Without one it leaves out the `Content-Length: 0` of a 204, which
/// Swift's clients look for in empty listings.
fn announced_empty() -> Body {
    Body::sized_stream(0, futures_util::stream::empty())
}

fn choose(
    query: &Query,
    accept_header: Option<&str>,
    offers: &[&'static str],
) -> Result<&'static str, Box<Response>> {
    if let Some(format) = query.get("format").filter(|format| !format.is_empty()) {
        let format = match format.to_ascii_lowercase().as_str() {
            "json" => "application/json",
            "xml" => "application/xml",
            _ => "text/plain",
        };
        return if offers.contains(&format) {
            Ok(format)
        } else {
            Err(Box::new(answer::status(StatusCode::NOT_ACCEPTABLE)))
        };
    }
    match accept::best_match(accept_header, offers) {
        Ok(Some(format)) => Ok(format),
        Ok(None) => Err(Box::new(answer::status(StatusCode::NOT_ACCEPTABLE))),
        Err(accept::InvalidAccept) => Err(Box::new(answer::words(
            StatusCode::BAD_REQUEST,
            "Invalid Accept header",
        ))),
    }
}

fn set_type(headers: &mut HeaderMap, format: &str) {
    headers::set(
        headers,
        CONTENT_TYPE.as_str(),
        &format!("{format}; charset=utf-8"),
    );
}

fn add_vary(headers: &mut HeaderMap) {
    let value = match headers::text(headers, VARY.as_str()) {
        Some(value)
            if value
                .split(',')
                .any(|name| name.trim().eq_ignore_ascii_case("accept")) =>
        {
            return;
        }
        Some(value) => format!("{value}, Accept"),
        None => "Accept".to_owned(),
    };
    headers::set(headers, VARY.as_str(), &value);
}

/// JSON writes a NUL only as this.
fn holds_reserved(json: &[u8]) -> bool {
    listing_page::holds(json, "\\u0000")
}

fn entry_name(entry: &Value) -> &str {
    entry
        .get("name")
        .or_else(|| entry.get("subdir"))
        .and_then(Value::as_str)
        .unwrap_or("")
}

fn write(entries: &[Value], format: &str, target: &Target) -> Vec<u8> {
    match format {
        "text/plain" => entries
            .iter()
            .flat_map(|entry| [entry_name(entry), "\n"])
            .collect::<String>()
            .into_bytes(),
        "application/json" => serde_json::to_vec(entries).unwrap_or_default(),
        _ => match target.container() {
            Some(container) => container_xml(container, entries).into_bytes(),
            None => account_xml(target.account(), entries).into_bytes(),
        },
    }
}

const XML_HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn container_xml(container: &str, entries: &[Value]) -> String {
    let mut out = format!("{XML_HEAD}<container name=\"{}\">", xml(container));
    for entry in entries {
        if let Some(subdir) = entry.get("subdir").and_then(Value::as_str) {
            let subdir = xml(subdir);
            push(
                &mut out,
                format_args!("<subdir name=\"{subdir}\"><name>{subdir}</name></subdir>"),
            );
        } else {
            out.push_str("<object>");
            push_fields(
                &mut out,
                entry,
                &["name", "hash", "bytes", "content_type", "last_modified"],
            );
            out.push_str("</object>");
        }
    }
    out.push_str("</container>");
    out
}

fn account_xml(account: &str, entries: &[Value]) -> String {
    let mut out = format!("{XML_HEAD}<account name=\"{}\">\n", xml(account));
    for entry in entries {
        if let Some(subdir) = entry.get("subdir").and_then(Value::as_str) {
            push(&mut out, format_args!("<subdir name=\"{}\" />\n", xml(subdir)));
        } else {
            out.push_str("<container>");
            push_fields(
                &mut out,
                entry,
                &["name", "count", "bytes", "last_modified", "storage_policy"],
            );
            out.push_str("</container>\n");
        }
    }
    out.push_str("</account>");
    out
}

fn push_fields(out: &mut String, entry: &Value, names: &[&str]) {
    for name in names {
        let Some(value) = entry.get(name) else { continue };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        push(out, format_args!("<{name}>{}</{name}>", xml(&text)));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

/// Escaped, and without the control characters that XML 1.0 cannot hold in any form.
fn xml(text: &str) -> String {
    let can_hold = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}');
    let kept: String = text.chars().filter(can_hold).collect();
    escape(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_parameter_wins_over_the_header() {
        let check = |query: &str, accept: Option<&str>| {
            choose(&Query::parse(query).unwrap(), accept, &OFFERS)
                .map_err(|refusal| refusal.status().as_u16())
        };
        assert_eq!(check("format=json", Some("text/plain")), Ok("application/json"));
        assert_eq!(check("format=XML", None), Ok("application/xml"));
        assert_eq!(check("format=other", None), Ok("text/plain"));
        assert_eq!(check("", None), Ok("text/plain"));
        assert_eq!(
            check("", Some("text/plain;q=0.4,application/json")),
            Ok("application/json")
        );
        assert_eq!(check("", Some("image/png")), Err(406));
        assert_eq!(check("", Some("junk")), Err(400));
        let versions = |query: &str, accept: Option<&str>| {
            choose(&Query::parse(query).unwrap(), accept, &OFFERS[1..2])
                .map_err(|refusal| refusal.status().as_u16())
        };
        assert_eq!(versions("", None), Ok("application/json"));
        assert_eq!(versions("format=json", Some("text/xml")), Ok("application/json"));
        assert_eq!(versions("format=xml", None), Err(406));
        assert_eq!(versions("format=plain", None), Err(406));
        assert_eq!(versions("", Some("text/plain")), Err(406));
    }

    #[test]
    fn containers_in_each_format() {
        let target = Target::parse("a/c&d").unwrap();
        let entries = [
            json!({"name": "o<1>", "hash": "e", "bytes": 3, "content_type": "text/plain",
                   "last_modified": "2026-11-23T23:41:06.123450"}),
            json!({"subdir": "p/"}),
        ];
        let text = |format: &str| String::from_utf8(write(&entries, format, &target)).unwrap();
        assert_eq!(text("text/plain"), "o<1>\np/\n");
        assert_eq!(
            text("application/xml"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"c&amp;d\"><object><name>o&lt;1&gt;</name>\
             <hash>e</hash><bytes>3</bytes><content_type>text/plain</content_type>\
             <last_modified>2026-11-23T23:41:06.123450</last_modified></object>\
             <subdir name=\"p/\"><name>p/</name></subdir></container>"
        );
        assert_eq!(text("text/xml"), text("application/xml"));
    }

    #[test]
    fn accounts_in_xml() {
        let target = Target::parse("AUTH_test").unwrap();
        let entries =
            [json!({"name": "c", "count": 2, "bytes": 9, "last_modified": "x", "storage_policy": "gold"})];
        assert_eq!(
            String::from_utf8(write(&entries, "text/xml", &target)).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<account name=\"AUTH_test\">\n<container><name>c</name>\
             <count>2</count><bytes>9</bytes><last_modified>x</last_modified><storage_policy>gold</storage_policy>\
             </container>\n</account>"
        );
    }

    #[test]
    fn xml_never_holds_what_it_cannot() {
        assert_eq!(xml("a\u{1}b\tc\"'"), "ab\tc&quot;&apos;");
        assert!(holds_reserved(br#"[{"name":"\u0000mpu"}]"#));
        assert!(!holds_reserved(br#"[{"name":"x"}]"#));
    }
}
