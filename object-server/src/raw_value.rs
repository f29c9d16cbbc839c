//! Metadata values that are not UTF-8, which Swift takes for objects: kept as text that no other value can be.
//!
//! A header value never holds a NUL. A kept value that begins with one stands for bytes, each as the character of its
//! number.

use std::borrow::Cow;

const MARK: char = '\0';

/// The text to keep for a header's bytes.
pub(crate) fn keep(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => std::iter::once(MARK)
            .chain(bytes.iter().map(|byte| char::from(*byte)))
            .collect(),
    }
}

/// The header's bytes of a kept text.
pub(crate) fn show(text: &str) -> Cow<'_, [u8]> {
    match text.strip_prefix(MARK) {
        None => text.as_bytes().into(),
        // What was not written by `keep` cannot be shown and becomes question marks.
        Some(letters) => letters
            .chars()
            .map(|letter| u8::try_from(letter).unwrap_or(b'?'))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [&b"plain"[..], "grün".as_bytes(), b"\xff\xfe half \xc3", b""] {
            assert_eq!(show(&keep(bytes)).as_ref(), bytes);
        }
        assert_eq!(keep("grün".as_bytes()), "grün");
        assert_eq!(show("\0\u{100}x").as_ref(), b"?x");
    }
}
