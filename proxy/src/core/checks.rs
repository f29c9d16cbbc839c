//! What a request must look like before anything is done about it: lengths, counts, forms; in Swift's words.

use super::answer::{bad_request, page, said};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use martlet_protocol::header;
use martlet_protocol::limits::Limits;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Clock, Response, headers};

/// The three kinds of things, as their metadata headers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Account,
    Container,
    Object,
}

impl Kind {
    fn meta_prefix(self) -> &'static str {
        match self {
            Kind::Account => "x-account-meta-",
            Kind::Container => "x-container-meta-",
            Kind::Object => "x-object-meta-",
        }
    }

    /// Headers kept beside metadata, each with the `X-Remove-` form that empties it.
    fn kept(self) -> &'static [&'static str] {
        match self {
            Kind::Account => &[header::X_ACCOUNT_ACCESS_CONTROL],
            Kind::Container => &[
                header::X_CONTAINER_READ,
                header::X_CONTAINER_WRITE,
                "x-container-sync-to",
                "x-container-sync-key",
                "x-versions-location",
                "x-history-location",
            ],
            Kind::Object => &[],
        }
    }

    fn sysmeta_prefix(self) -> &'static str {
        match self {
            Kind::Account => "x-account-sysmeta-",
            Kind::Container => "x-container-sysmeta-",
            Kind::Object => "x-object-sysmeta-",
        }
    }
}

/// Refuses metadata past the cluster's limits (Swift's `check_metadata`).
pub fn metadata(head: &HeaderMap, kind: Kind, limits: &Limits) -> Result<(), Response> {
    let prefix = kind.meta_prefix();
    let (mut count, mut size) = (0, 0);
    for (name, value) in head {
        let name = name.as_str();
        if value.len() > limits.max_header_size {
            let shown = &name[..name.len().min(limits.max_meta_name_length)];
            return Err(bad_request(format!("Header value too long: {shown}")));
        }
        let Some(key) = name.strip_prefix(prefix) else {
            continue;
        };
        if key.is_empty() {
            return Err(bad_request("Metadata name cannot be empty"));
        }
        // Swift takes any bytes for objects.
        if kind != Kind::Object && headers::value_text(value).is_none() {
            return Err(bad_request("Metadata must be valid UTF-8"));
        }
        count += 1;
        size += key.len() + value.len();
        if key.len() > limits.max_meta_name_length {
            return Err(bad_request(format!("Metadata name too long: {name}")));
        }
        if value.len() > limits.max_meta_value_length {
            let max = limits.max_meta_value_length;
            return Err(bad_request(format!("Metadata value longer than {max}: {name}")));
        }
        if count > limits.max_meta_count {
            return Err(bad_request(format!(
                "Too many metadata items; max {}",
                limits.max_meta_count
            )));
        }
        if size > limits.max_meta_overall_size {
            return Err(bad_request(format!(
                "Total metadata too large; max {}",
                limits.max_meta_overall_size
            )));
        }
    }
    Ok(())
}

/// Refuses a name that is too long. `what` is "Account", "Container" or "Object".
pub fn name_length(what: &str, name: &str, max: usize) -> Result<(), Response> {
    match name.len() > max {
        true => Err(bad_request(format!(
            "{what} name length of {} longer than {max}",
            name.len()
        ))),
        false => Ok(()),
    }
}

/// The length of an object's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    Known(u64),
    Chunked,
}

/// The length a PUT announces, within the cluster's limit. `actual` is the length of the body itself, if it is known:
/// a step that made the body anew may not have told its length in a header.
pub fn body_length(head: &HeaderMap, actual: Option<u64>, limits: &Limits) -> Result<BodyLength, Response> {
    let length = match head.get(CONTENT_LENGTH) {
        Some(value) => {
            let text = headers::value_text(value).map(str::trim).unwrap_or("");
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !digits {
                return Err(bad_request("Invalid Content-Length header value"));
            }
            // More than 64 bits can hold is more than any limit.
            BodyLength::Known(text.parse().unwrap_or(u64::MAX))
        }
        None => match head
            .get(TRANSFER_ENCODING)
            .map(|value| headers::value_text(value).unwrap_or(""))
        {
            Some(coding) if coding.trim().eq_ignore_ascii_case("chunked") => BodyLength::Chunked,
            Some(coding) if coding.contains(',') => {
                return Err(said(
                    StatusCode::NOT_IMPLEMENTED,
                    "Unsupported Transfer-Coding header value specified in Transfer-Encoding header",
                ));
            }
            Some(_) => return Err(bad_request("Invalid Transfer-Encoding header value")),
            None => match actual {
                // An empty body without a word about its length is a forgotten header, not an empty object.
                Some(length) if length > 0 => BodyLength::Known(length),
                _ => {
                    return Err(said(
                        StatusCode::LENGTH_REQUIRED,
                        "Missing Content-Length header.",
                    ));
                }
            },
        },
    };
    match length {
        BodyLength::Known(length) if length > limits.max_file_size => {
            Err(said(StatusCode::PAYLOAD_TOO_LARGE, "Your request is too large."))
        }
        length => Ok(length),
    }
}

/// Refuses content types that Swift refuses: not UTF-8, or with parameters that are Swift's own.
pub fn content_type(head: &HeaderMap) -> Result<(), Response> {
    let Some(value) = head.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let Some(text) = headers::value_text(value) else {
        return Err(bad_request("Please specify only UTF-8 content-type"));
    };
    let mut parameters = text.split(';').skip(1);
    if parameters.any(|parameter| parameter.trim_start().starts_with("swift_")) {
        return Err(bad_request(
            "Invalid Content-Type, swift_* is not a valid parameter name.",
        ));
    }
    Ok(())
}

/// When an object is to expire: `X-Delete-After` counted from now, else `X-Delete-At`; seconds since 1970.
pub fn delete_at(head: &HeaderMap, now_secs: u64) -> Result<Option<u64>, Response> {
    const LAST: u64 = 9_999_999_999;
    if let Some(value) = head.get(header::X_DELETE_AFTER) {
        let after = headers::value_text(value)
            .map(str::trim)
            .and_then(|text| text.parse::<i128>().ok());
        let after = after.ok_or_else(|| bad_request("Non-integer X-Delete-After"))?;
        // What is over at this moment is past, as in Swift.
        if after <= 0 {
            return Err(bad_request("X-Delete-After in past"));
        }
        let at = (i128::from(now_secs) + after.min(i128::from(LAST))).min(i128::from(LAST));
        return Ok(Some(u64::try_from(at).unwrap_or(LAST)));
    }
    let Some(value) = head.get(header::X_DELETE_AT) else {
        return Ok(None);
    };
    let text = headers::value_text(value).map(str::trim).unwrap_or("");
    // A fraction is allowed and cut off, as in Swift.
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (negative, whole) = match whole.strip_prefix('-') {
        Some(whole) => (true, whole),
        None => (false, whole.strip_prefix('+').unwrap_or(whole)),
    };
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return Err(bad_request("Non-integer X-Delete-At"));
    }
    let at = whole.parse::<u64>().unwrap_or(LAST).min(LAST);
    if negative || at <= now_secs {
        return Err(bad_request("X-Delete-At in past"));
    }
    Ok(Some(at))
}

/// The moment of a write. A step may have named it (`X-Timestamp` is kept out at the border); else it is now.
pub fn moment(head: &HeaderMap, clock: &Clock) -> Result<Timestamp, Response> {
    match head.get(header::X_TIMESTAMP) {
        None => Ok(clock.now()),
        Some(value) => headers::value_text(value)
            .and_then(|text| Timestamp::parse(text.trim()).ok())
            .ok_or_else(|| bad_request("X-Timestamp should be a UNIX timestamp float value")),
    }
}

/// The ETag a client promises, bare and lower case.
pub fn promised_etag(head: &HeaderMap) -> Option<String> {
    let text = headers::text(head, "etag")?.trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    Some(bare.to_ascii_lowercase()).filter(|etag| !etag.is_empty())
}

/// The headers of a container's or account's PUT or POST that its servers keep: metadata, system metadata and the kept
/// ones. `X-Remove-*` become empty values, which remove.
pub fn kept_headers(head: &HeaderMap, kind: Kind) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in head {
        let text = name.as_str();
        let is_kept = |name: &str| {
            name.starts_with(kind.meta_prefix())
                || name.starts_with(kind.sysmeta_prefix())
                || kind.kept().contains(&name)
        };
        if is_kept(text) {
            // A removal in the same request wins over a value.
            kept.entry(name.clone()).or_insert_with(|| value.clone());
            continue;
        }
        let Some(removed) = text.strip_prefix("x-remove-") else {
            continue;
        };
        let removed = format!("x-{removed}");
        if is_kept(&removed)
            && let Ok(name) = HeaderName::from_bytes(removed.as_bytes())
        {
            kept.insert(name, HeaderValue::from_static(""));
        }
    }
    // Whatever order they came in, removals win.
    for name in head.keys() {
        if let Some(removed) = name.as_str().strip_prefix("x-remove-")
            && let Ok(name) = HeaderName::from_bytes(format!("x-{removed}").as_bytes())
            && kept.contains_key(&name)
        {
            kept.insert(name, HeaderValue::from_static(""));
        }
    }
    kept
}

/// Refuses an `If-None-Match` that is not `*`: a PUT supports no other.
pub fn if_none_match(head: &HeaderMap) -> Result<bool, Response> {
    match head.get("if-none-match") {
        None => Ok(false),
        Some(value) if value.as_bytes().contains(&b'*') => Ok(true),
        Some(_) => Err(bad_request("If-None-Match only supports *")),
    }
}

/// 412 for a listing limit over the maximum.
pub fn limit_too_large(max: usize) -> Response {
    said(StatusCode::PRECONDITION_FAILED, format!("Maximum limit is {max}"))
}

/// 408 for a client that fell silent.
pub fn client_timeout() -> Response {
    page(StatusCode::REQUEST_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(items: &[(&str, &str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in items {
            headers::set(&mut head, name, value);
        }
        head
    }

    fn status<T>(result: Result<T, Response>) -> u16 {
        result.err().map_or(200, |response| response.status().as_u16())
    }

    fn said_by<T>(result: Result<T, Response>) -> String {
        let body = result
            .err()
            .and_then(|response| response.into_body().as_full())
            .unwrap_or_default();
        String::from_utf8_lossy(&body).into_owned()
    }

    #[test]
    fn metadata_is_bounded() {
        let limits = Limits {
            max_meta_count: 2,
            max_meta_overall_size: 300,
            ..Limits::default()
        };
        let long_name = format!("x-object-meta-{}", "n".repeat(129));
        let (long_value, long_header) = ("v".repeat(257), "h".repeat(8_193));
        for (items, expected) in [
            (&[("x-object-meta-a", "1"), ("x-object-meta-b", "2")][..], ""),
            (&[("x-container-meta-", "1")], ""),
            (&[("x-object-meta-", "1")], "Metadata name cannot be empty"),
            (
                &[("x-object-meta-a", long_value.as_str())],
                "Metadata value longer than 256: x-object-meta-a",
            ),
            (
                &[("x-other", long_header.as_str())],
                "Header value too long: x-other",
            ),
            (
                &[
                    ("x-object-meta-a", "1"),
                    ("x-object-meta-b", "2"),
                    ("x-object-meta-c", "3"),
                ],
                "Too many metadata items; max 2",
            ),
            (
                &[
                    ("x-object-meta-a", &long_value[..200]),
                    ("x-object-meta-b", &long_value[..200]),
                ],
                "Total metadata too large; max 300",
            ),
        ] {
            assert_eq!(said_by(metadata(&head(items), Kind::Object, &limits)), expected);
        }
        let too_long = metadata(&head(&[(&long_name, "1")]), Kind::Object, &limits);
        assert_eq!(said_by(too_long), format!("Metadata name too long: {long_name}"));
        let mut bad = HeaderMap::new();
        bad.insert("x-object-meta-a", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(status(metadata(&bad, Kind::Object, &limits)), 200);
        let mut bad = HeaderMap::new();
        bad.insert("x-container-meta-a", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(status(metadata(&bad, Kind::Container, &limits)), 400);
    }

    #[test]
    fn lengths_are_read() {
        let limits = Limits {
            max_file_size: 100,
            ..Limits::default()
        };
        for (items, actual, expected) in [
            (&[("content-length", "5")][..], None, Ok(BodyLength::Known(5))),
            (&[("content-length", "0")], Some(0), Ok(BodyLength::Known(0))),
            (&[("content-length", "100")], None, Ok(BodyLength::Known(100))),
            (&[("content-length", "101")], None, Err(413)),
            (&[("content-length", "99999999999999999999999")], None, Err(413)),
            (&[("content-length", "five")], None, Err(400)),
            (&[("content-length", "-5")], None, Err(400)),
            (&[("transfer-encoding", "chunked")], None, Ok(BodyLength::Chunked)),
            (&[("transfer-encoding", "gzip")], None, Err(400)),
            (&[("transfer-encoding", "gzip, chunked")], None, Err(501)),
            (&[], None, Err(411)),
            (&[], Some(0), Err(411)),
            (&[], Some(7), Ok(BodyLength::Known(7))),
        ] {
            let got =
                body_length(&head(items), actual, &limits).map_err(|response| response.status().as_u16());
            assert_eq!(got, expected, "{items:?}");
        }
    }

    #[test]
    fn expiry_is_read() {
        for (items, expected) in [
            (&[][..], Ok(None)),
            (&[("x-delete-after", "10")], Ok(Some(1_010))),
            (&[("x-delete-after", "0")], Err("X-Delete-After in past")),
            (&[("x-delete-after", "1")], Ok(Some(1_001))),
            (&[("x-delete-after", "-1")], Err("X-Delete-After in past")),
            (&[("x-delete-after", "soon")], Err("Non-integer X-Delete-After")),
            (
                &[("x-delete-after", "99999999999999999999")],
                Ok(Some(9_999_999_999)),
            ),
            (&[("x-delete-at", "2000")], Ok(Some(2_000))),
            (&[("x-delete-at", "2000.7")], Ok(Some(2_000))),
            (&[("x-delete-at", "999")], Err("X-Delete-At in past")),
            (&[("x-delete-at", "1000")], Err("X-Delete-At in past")),
            (&[("x-delete-at", "-5")], Err("X-Delete-At in past")),
            (&[("x-delete-at", "")], Err("Non-integer X-Delete-At")),
            (&[("x-delete-at", "tomorrow")], Err("Non-integer X-Delete-At")),
            (&[("x-delete-at", "5"), ("x-delete-after", "10")], Ok(Some(1_010))),
        ] {
            match (delete_at(&head(items), 1_000), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{items:?}"),
                (got, Err(words)) => assert_eq!(said_by(got), words, "{items:?}"),
                (Err(_), Ok(_)) => panic!("{items:?} was refused"),
            }
        }
    }

    #[test]
    fn content_types_etags_and_if_none_match() {
        assert_eq!(
            status(content_type(&head(&[(
                "content-type",
                "text/plain; charset=UTF-8"
            )]))),
            200
        );
        assert_eq!(
            status(content_type(&head(&[("content-type", "a/b; swift_bytes=1")]))),
            400
        );
        assert_eq!(
            promised_etag(&head(&[("etag", "\"ABC\"")])).as_deref(),
            Some("abc")
        );
        assert_eq!(promised_etag(&head(&[("etag", "abc")])).as_deref(), Some("abc"));
        assert_eq!(promised_etag(&head(&[("etag", "")])), None);
        assert!(if_none_match(&head(&[("if-none-match", "*")])).unwrap());
        assert_eq!(status(if_none_match(&head(&[("if-none-match", "abc")]))), 400);
    }

    #[test]
    fn removals_win_and_strangers_are_left_out() {
        let kept = kept_headers(
            &head(&[
                ("x-container-meta-a", "1"),
                ("x-remove-container-meta-a", "x"),
                ("x-remove-container-read", "x"),
                ("x-container-write", "u"),
                ("x-account-meta-b", "1"),
                ("x-container-sysmeta-c", "2"),
                ("cookie", "3"),
            ]),
            Kind::Container,
        );
        let mut shown: Vec<_> = kept
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                ("x-container-meta-a", ""),
                ("x-container-read", ""),
                ("x-container-sysmeta-c", "2"),
                ("x-container-write", "u")
            ]
        );
    }
}
