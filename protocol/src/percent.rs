//! Percent-encoding as Swift's servers and clients use it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use std::fmt;

/// Everything but unreserved characters and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');
/// Everything but unreserved characters.
const SEGMENT: &AsciiSet = &PATH.add(b'/');

/// The decoded bytes were not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUtf8;

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalid UTF8 or contains NULL")
    }
}

impl std::error::Error for NotUtf8 {}

/// Encodes a path; slashes stay.
pub fn quote(text: &str) -> String {
    Cow::from(utf8_percent_encode(text, PATH)).into_owned()
}

/// Appends an encoded path; slashes stay.
pub fn push_quoted(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, PATH));
}

/// Appends one encoded segment; slashes are encoded too.
pub fn push_quoted_segment(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, SEGMENT));
}

/// Encodes one segment; slashes are encoded too.
pub fn quote_segment(text: &str) -> String {
    Cow::from(utf8_percent_encode(text, SEGMENT)).into_owned()
}

/// Decodes; a lone `%` stays as it is, as in Python's `unquote`.
pub fn unquote(text: &str) -> Result<String, NotUtf8> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|decoded| decoded.into_owned())
        .map_err(|_| NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_unquotes() {
        assert_eq!(quote("/a b/ü"), "/a%20b/%C3%BC");
        assert_eq!(quote_segment("a/b~-._"), "a%2Fb~-._");
        assert_eq!(unquote("a%2Fb%zz%"), Ok("a/b%zz%".into()));
        assert_eq!(unquote("%ff"), Err(NotUtf8));
    }
}
