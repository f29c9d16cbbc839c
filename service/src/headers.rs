//! Header values as text: Swift's metadata is UTF-8, which HTTP's own ASCII view would refuse.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Up to so many headers are compared one by one: that costs less than to read the name as HTTP does, and to hash it.
const FEW: usize = 24;

/// The first value of a header.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    if headers.len() > FEW {
        return headers.get(name);
    }
    let mut all = headers.iter();
    all.find(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The first value of a header as UTF-8, or `None` when it is absent or not UTF-8.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    find(headers, name).and_then(value_text)
}

/// A value as UTF-8.
pub fn value_text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Sets a header. A name or value that HTTP cannot carry (line ends, control bytes) is left out and logged: such a
/// thing can only come from damaged data, and a response without one header is better than none.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    match (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
        }
        _ => tracing::warn!(header = name, "header left out: HTTP cannot carry it"),
    }
}

/// A map of these headers, each set as [`set`] does.
pub fn of(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        set(&mut map, name, value);
    }
    map
}

/// `true` for Swift's words of truth in a header; `false` when absent.
pub fn is_true(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(martlet_protocol::listing::is_true)
}
