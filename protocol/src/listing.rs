//! What a listing request asks for.

use crate::query::Query;
use std::fmt;

/// Sorts after all names that start with the reserved byte: none begins with it and the last code point.
pub const PAST_RESERVED: &str = "\0\u{10ffff}";

/// Parameters of a container or account listing ("Show container details and list objects" of Swift's API reference).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingQuery {
    /// Entries wanted at most.
    pub limit: usize,
    /// Entries after this name (before it when reversed).
    pub marker: Option<String>,
    /// Entries before this name (after it when reversed).
    pub end_marker: Option<String>,
    pub prefix: Option<String>,
    pub delimiter: Option<String>,
    /// Entries of one pseudo-folder; stands for prefix `path/` and delimiter `/`, without subdirs of that name.
    pub path: Option<String>,
    pub reverse: bool,
}

/// A listing request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingError {
    /// 412: the limit is over the cluster's maximum, which is given.
    LimitTooLarge(usize),
}

impl fmt::Display for ListingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListingError::LimitTooLarge(max) => write!(f, "Maximum limit is {max}"),
        }
    }
}

impl std::error::Error for ListingError {}

impl ListingQuery {
    /// A plain listing of so many entries.
    pub fn all(limit: usize) -> Self {
        let none = None;
        ListingQuery {
            limit,
            marker: none.clone(),
            end_marker: none.clone(),
            prefix: none.clone(),
            delimiter: none.clone(),
            path: none,
            reverse: false,
        }
    }

    /// Reads the parameters. A limit that is no number is the maximum, as in Swift; empty values count as not given.
    pub fn parse(query: &Query, max_limit: usize) -> Result<Self, ListingError> {
        let text = |name: &str| {
            query
                .get(name)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let limit = match query.get("limit").filter(|limit| !limit.is_empty()) {
            Some(limit) if limit.bytes().all(|b| b.is_ascii_digit()) => limit
                .parse()
                .ok()
                .filter(|limit| *limit <= max_limit)
                .ok_or(ListingError::LimitTooLarge(max_limit))?,
            _ => max_limit,
        };
        let reverse = query.get("reverse").is_some_and(is_true);
        Ok(ListingQuery {
            limit,
            marker: text("marker"),
            end_marker: text("end_marker"),
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            path: query.get("path").map(str::to_owned),
            reverse,
        })
    }

    /// Confines the listing to names that do not start with the reserved byte: everything after the last of those.
    pub fn skip_reserved(&mut self) {
        let low_end = if self.reverse {
            &mut self.end_marker
        } else {
            &mut self.marker
        };
        if low_end.as_deref().is_none_or(|marker| marker < PAST_RESERVED) {
            *low_end = Some(PAST_RESERVED.to_owned());
        }
    }

    /// The query that asks another server for the same (limit included).
    pub fn to_query(&self) -> Query {
        let mut query = Query::default();
        query.push("limit", self.limit.to_string());
        let pairs = [
            ("marker", &self.marker),
            ("end_marker", &self.end_marker),
            ("prefix", &self.prefix),
            ("delimiter", &self.delimiter),
            ("path", &self.path),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                query.push(name, value.clone());
            }
        }
        if self.reverse {
            query.push("reverse", "true");
        }
        query
    }
}

/// Swift's `config_true_value`: true, 1, yes, on, t, y in any case.
pub fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "on", "t", "y"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let parse = |text: &str| ListingQuery::parse(&Query::parse(text).unwrap(), 10_000);
        let query = parse("limit=5&marker=m&end_marker=&prefix=p%2F&delimiter=ab&path=&reverse=On").unwrap();
        assert_eq!(
            (query.limit, query.marker.as_deref(), query.end_marker),
            (5, Some("m"), None)
        );
        assert_eq!(
            (query.prefix.as_deref(), query.delimiter.as_deref()),
            (Some("p/"), Some("ab"))
        );
        assert_eq!((query.path.as_deref(), query.reverse), (Some(""), true));
        assert_eq!(parse("limit=x").unwrap().limit, 10_000);
        assert_eq!(parse("limit=10001"), Err(ListingError::LimitTooLarge(10_000)));
        assert_eq!(
            parse("limit=99999999999999999999999"),
            Err(ListingError::LimitTooLarge(10_000))
        );
        let again = parse(
            &parse("marker=%C3%BC&path=a&reverse=1")
                .unwrap()
                .to_query()
                .encode(),
        )
        .unwrap();
        assert_eq!(
            (again.marker.as_deref(), again.path.as_deref(), again.reverse),
            (Some("ü"), Some("a"), true)
        );
    }
}
