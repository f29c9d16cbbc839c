//! The headers of one part of a form, and header values with parameters.

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The field's name.
    pub name: Option<String>,
    /// A file, by the name it had with the client.
    pub filename: Option<String>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
}

impl PartHead {
    /// Lines that are no headers are passed over, as browsers have been known to send odd ones.
    pub fn parse(block: &[u8]) -> PartHead {
        let text = unfolded(block);
        let header = |wanted: &str| {
            let pairs = text.lines().filter_map(|line| line.split_once(':'));
            let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            values
                .next()
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let disposition = header("content-disposition").unwrap_or_default();
        let (kind, parameters) = parameters(&disposition);
        let filename = parameter(&parameters, "filename").filter(|name| !name.is_empty());
        PartHead {
            name: parameter(&parameters, "name"),
            filename: filename.filter(|_| kind.eq_ignore_ascii_case("form-data")),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
        }
    }
}

/// The lines of a block, those that go on after a line end joined; what is not UTF-8 is read as Latin-1.
fn unfolded(block: &[u8]) -> String {
    let text = match std::str::from_utf8(block) {
        Ok(text) => text.to_owned(),
        Err(_) => block.iter().map(|byte| char::from(*byte)).collect(),
    };
    text.replace("\r\n ", " ").replace("\r\n\t", " ")
}

/// `kind; name="value"; name=value`. Reading ends where this form ends: what follows says nothing.
pub fn parameters(value: &str) -> (&str, Vec<(&str, &str)>) {
    let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let mut found = Vec::new();
    while let Some((name, value, after)) = first_parameter(rest.trim_start()) {
        found.push((name, value));
        rest = after;
    }
    (kind.trim(), found)
}

/// A quoted value ends at a quote that a semicolon or the end follows, since names of files hold quotes.
fn first_parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_word {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut ends = quoted.match_indices('"');
        let end = ends.find(|(at, _)| matches!(quoted.as_bytes().get(at + 1), None | Some(b';')));
        let (at, _) = end?;
        let after = &quoted[at + 1..];
        return Some((name, &quoted[..at], after.strip_prefix(';').unwrap_or(after)));
    }
    let (value, after) = rest.split_once(';').unwrap_or((rest, ""));
    (!value.is_empty() && !value.contains('"')).then_some((name, value.trim_end(), after))
}

/// The last value of a name.
pub fn parameter(parameters: &[(&str, &str)], wanted: &str) -> Option<String> {
    parameters
        .iter()
        .rev()
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| (*value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispositions_of_all_browsers() {
        for (value, name, filename) in [
            (
                "form-data; name=\"file1\"; filename=\"a b.txt\"",
                Some("file1"),
                Some("a b.txt"),
            ),
            (
                "form-data; name=\"f\"; filename=\"C:\\dir\\a.txt\"",
                Some("f"),
                Some("C:\\dir\\a.txt"),
            ),
            (
                "form-data; name=\"f\"; filename=\"a\\\"b.txt\"",
                Some("f"),
                Some("a\\\"b.txt"),
            ),
            ("form-data; name=\"f\"; filename=\"a;b\"", Some("f"), Some("a;b")),
            (
                "form-data; name=\"f\"; filename=\"\u{2661}\"",
                Some("f"),
                Some("\u{2661}"),
            ),
            ("form-data;name=f;filename=a.txt", Some("f"), Some("a.txt")),
            ("FORM-DATA; name=f; filename=a.txt", Some("f"), Some("a.txt")),
            ("form-data; name=\"f\"; filename=\"\"", Some("f"), None),
            ("form-data; name=\"f\"", Some("f"), None),
            ("form-data; name=\"f\"; filename=\"never ends", Some("f"), None),
            (
                "form-data; name=\"f\"; filename*=UTF-8''x; filename=\"y\"",
                Some("f"),
                None,
            ),
            ("attachment; name=\"f\"; filename=\"a.txt\"", Some("f"), None),
            ("form-data", None, None),
            ("", None, None),
            (";;=;\"", None, None),
        ] {
            let head = PartHead::parse(format!("Content-Disposition: {value}").as_bytes());
            assert_eq!(
                (head.name.as_deref(), head.filename.as_deref()),
                (name, filename),
                "{value}"
            );
        }
    }

    #[test]
    fn headers_are_read_in_any_case() {
        let head = PartHead::parse(
            b"junk\r\ncontent-TYPE:  text/plain; charset=utf-8 \r\nContent-Encoding: gzip\r\n\
              Content-Disposition: form-data;\r\n name=\"f\"",
        );
        let expected = PartHead {
            name: Some("f".into()),
            filename: None,
            content_type: Some("text/plain; charset=utf-8".into()),
            content_encoding: Some("gzip".into()),
        };
        assert_eq!(head, expected);
        let head = PartHead::parse(b"Content-Disposition: form-data; name=\"\xe9\"");
        assert_eq!(head.name.as_deref(), Some("\u{e9}"));
        assert_eq!(PartHead::parse(b""), PartHead::default());
    }

    #[test]
    fn boundaries_are_found() {
        for (value, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=\"a;b c\"", Some("a;b c")),
            ("multipart/form-data; charset=utf-8; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
        ] {
            let (kind, found) = parameters(value);
            assert_eq!(kind, "multipart/form-data");
            assert_eq!(parameter(&found, "boundary").as_deref(), expected, "{value}");
        }
    }
}
