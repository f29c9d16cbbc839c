//! Conditional requests: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.

use crate::date::parse_http_date;
use crate::timestamp::Timestamp;

/// What the conditions of a request say about the object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// 304 for GET and HEAD.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// The entity tags of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<String>),
}

/// The conditional headers of a request. Dates that do not parse are ignored, as HTTP asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<u64>,
    if_unmodified_since: Option<u64>,
}

fn parse_tags(text: &str) -> Tags {
    let mut list = Vec::new();
    for tag in text.split(',') {
        let tag = tag.trim();
        if tag == "*" {
            return Tags::Any;
        }
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let bare = tag
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(tag);
        if !bare.is_empty() {
            list.push(bare.to_owned());
        }
    }
    Tags::List(list)
}

impl Tags {
    fn matches(&self, etags: &[&str]) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|tag| etags.contains(&tag.as_str())),
        }
    }
}

impl Conditions {
    /// Reads the four headers through a look-up by lower-case name.
    pub fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        Conditions {
            if_match: get("if-match").map(parse_tags),
            if_none_match: get("if-none-match").map(parse_tags),
            if_modified_since: get("if-modified-since").and_then(parse_http_date),
            if_unmodified_since: get("if-unmodified-since").and_then(parse_http_date),
        }
    }

    /// No condition was given.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// `If-None-Match: *` was given: the object must not be there.
    pub fn if_none_match_star(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// An `If-None-Match` with tags was given.
    pub fn if_none_match_tags(&self) -> bool {
        matches!(self.if_none_match, Some(Tags::List(_)))
    }

    /// An `If-Match` was given.
    pub fn has_if_match(&self) -> bool {
        self.if_match.is_some()
    }

    /// Judges an object that is there, by its ETag (bare) and the moment it last changed.
    pub fn evaluate(&self, etag: &str, last_modified: Timestamp) -> Verdict {
        self.evaluate_any(&[etag], last_modified)
    }

    /// Swift's rule, which is stricter than the RFC's: every condition counts, a date beside a tag too; what says "not
    /// modified" about tags comes first.
    pub fn evaluate_all(&self, etag: &str, last_modified: Timestamp) -> Verdict {
        let changed = last_modified.ceil_secs();
        if self
            .if_none_match
            .as_ref()
            .is_some_and(|tags| tags.matches(&[etag]))
        {
            Verdict::NotModified
        } else if self.if_match.as_ref().is_some_and(|tags| !tags.matches(&[etag])) {
            Verdict::PreconditionFailed
        } else if self.if_modified_since.is_some_and(|since| changed <= since) {
            Verdict::NotModified
        } else if self.if_unmodified_since.is_some_and(|since| changed > since) {
            Verdict::PreconditionFailed
        } else {
            Verdict::Proceed
        }
    }

    /// As [`Conditions::evaluate`], for an object that answers to several ETags. Order as in RFC 9110 section 13.2.2; a tag condition
    /// makes its date condition moot.
    pub fn evaluate_any(&self, etags: &[&str], last_modified: Timestamp) -> Verdict {
        match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) if !tags.matches(etags) => return Verdict::PreconditionFailed,
            (None, Some(since)) if last_modified.ceil_secs() > since => return Verdict::PreconditionFailed,
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if tags.matches(etags) => Verdict::NotModified,
            (None, Some(since)) if last_modified.ceil_secs() <= since => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let at = Timestamp::parse("1000000000.50000").unwrap(); // shows as second 1000000001
        let same = "Sun, 09 Sep 2001 01:46:41 GMT";
        let before = "Sun, 09 Sep 2001 01:46:40 GMT";
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Verdict::Proceed),
            (&[("if-match", "\"e\"")], Verdict::Proceed),
            (&[("if-match", "e")], Verdict::Proceed),
            (&[("if-match", "*")], Verdict::Proceed),
            (&[("if-match", "\"x\", \"y\"")], Verdict::PreconditionFailed),
            (&[("if-none-match", "\"x\", W/\"e\"")], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "x")], Verdict::Proceed),
            (&[("if-modified-since", same)], Verdict::NotModified),
            (&[("if-modified-since", before)], Verdict::Proceed),
            (&[("if-modified-since", "junk")], Verdict::Proceed),
            (&[("if-unmodified-since", same)], Verdict::Proceed),
            (&[("if-unmodified-since", before)], Verdict::PreconditionFailed),
            (
                &[("if-match", "e"), ("if-unmodified-since", before)],
                Verdict::Proceed,
            ),
            (
                &[("if-none-match", "x"), ("if-modified-since", same)],
                Verdict::Proceed,
            ),
        ];
        for (headers, expected) in cases {
            let conditions =
                Conditions::parse(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
            assert_eq!(conditions.evaluate("e", at), *expected, "{headers:?}");
            if headers.len() < 2 {
                assert_eq!(conditions.evaluate_all("e", at), *expected, "{headers:?}");
            }
        }
    }

    #[test]
    fn in_swift_a_date_counts_beside_a_tag() {
        let at = Timestamp::parse("1000000000.50000").unwrap();
        let same = "Sun, 09 Sep 2001 01:46:41 GMT";
        let before = "Sun, 09 Sep 2001 01:46:40 GMT";
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (
                &[("if-match", "e"), ("if-unmodified-since", same)],
                Verdict::Proceed,
            ),
            (
                &[("if-match", "e"), ("if-unmodified-since", before)],
                Verdict::PreconditionFailed,
            ),
            (
                &[("if-none-match", "x"), ("if-modified-since", same)],
                Verdict::NotModified,
            ),
            (
                &[("if-none-match", "x"), ("if-modified-since", before)],
                Verdict::Proceed,
            ),
            (&[("if-none-match", "e"), ("if-match", "x")], Verdict::NotModified),
        ];
        for (headers, expected) in cases {
            let conditions =
                Conditions::parse(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
            assert_eq!(conditions.evaluate_all("e", at), *expected, "{headers:?}");
        }
    }
}
