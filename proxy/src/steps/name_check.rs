//! Refuses names that the operator does not want: with certain characters, too long, or matching a pattern.
//!
//! See "Name Check" in Swift's middleware documentation. Off unless its section is there, as it is no part of Swift's
//! own pipeline either.

use super::answer;
use crate::Edge;
use crate::pipeline::Next;
use http::StatusCode;
use martlet_service::{Request, Response};
use percent_encoding::percent_decode_str;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a path may not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NameCheckConfig {
    pub forbidden_chars: String,
    /// Bytes of the decoded path.
    pub maximum_length: usize,
    /// Empty: no pattern.
    pub forbidden_regexp: Pattern,
}

impl Default for NameCheckConfig {
    fn default() -> Self {
        NameCheckConfig {
            forbidden_chars: "'\"`<>".into(),
            maximum_length: 255,
            forbidden_regexp: Pattern::try_from(r"/\./|/\.\./|/\.$|/\.\.$".to_owned()).unwrap_or_default(),
        }
    }
}

/// A pattern, compiled when the configuration is read, so that a wrong one is refused there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Option<Regex>);

impl Pattern {
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Regex::as_str)
    }
}

impl TryFrom<String> for Pattern {
    type Error = regex::Error;
    fn try_from(text: String) -> Result<Self, regex::Error> {
        match text.as_str() {
            "" => Ok(Pattern(None)),
            _ => Regex::new(&text).map(|regex| Pattern(Some(regex))),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.as_str().to_owned()
    }
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    if let Some(config) = &edge.config.name_check {
        let section = json!({
            "forbidden_chars": config.forbidden_chars,
            "maximum_length": config.maximum_length,
            "forbidden_regexp": config.forbidden_regexp.as_str(),
        });
        sections.insert("name_check".into(), section);
    }
}

/// Only where the operator switched it on.
pub fn concerns(_: &Request, edge: &Edge) -> bool {
    edge.config.name_check.is_some()
}

pub async fn run(request: Request, next: Next) -> Response {
    let problem = next
        .edge()
        .config
        .name_check
        .as_ref()
        .and_then(|config| problem(config, request.uri().path()));
    match problem {
        Some(words) => answer::words(StatusCode::BAD_REQUEST, words),
        None => next.run(request).await,
    }
}

/// What is wrong with a quoted path, in words.
fn problem(config: &NameCheckConfig, path: &str) -> Option<String> {
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    let path = String::from_utf8_lossy(&bytes);
    if path.chars().any(|c| config.forbidden_chars.contains(c)) {
        return Some(format!(
            "Object/Container/Account name contains forbidden chars from {}",
            config.forbidden_chars
        ));
    }
    if bytes.len() > config.maximum_length {
        return Some(format!(
            "Object/Container/Account name longer than the allowed maximum {}",
            config.maximum_length
        ));
    }
    let pattern = config.forbidden_regexp.0.as_ref()?;
    pattern.is_match(&path).then(|| {
        format!(
            "Object/Container/Account name contains a forbidden substring from regular expression {}",
            pattern.as_str()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_wanted() {
        let config = NameCheckConfig::default();
        let long = format!("/v1/{}", "x".repeat(252));
        for (path, expected) in [
            ("/v1/a/c/o", None),
            ("/v1/a/c/o..x", None),
            ("/v1/a/c/...", None),
            ("/v1/a/c/%C3%BC", None),
            (&long[..255], None),
            ("/v1/a/c/%3Cb%3E", Some("forbidden chars from '\"`<>")),
            ("/v1/a/c/a'b", Some("forbidden chars")),
            ("/v1/a/c/%60", Some("forbidden chars")),
            (&long, Some("allowed maximum 255")),
            ("/v1/a/c/./o", Some("forbidden substring")),
            ("/v1/a/c/%2E%2E/o", Some("forbidden substring")),
            ("/v1/a/c/o/.", Some("forbidden substring")),
            ("/v1/a/c/..", Some("forbidden substring")),
        ] {
            let found = problem(&config, path);
            match (expected, &found) {
                (None, None) => {}
                (Some(words), Some(found)) => assert!(found.contains(words), "{path}: {found}"),
                _ => panic!("{path}: {found:?}"),
            }
        }
        let lax = NameCheckConfig {
            forbidden_chars: String::new(),
            maximum_length: 1_000,
            forbidden_regexp: Pattern::default(),
        };
        assert_eq!(problem(&lax, "/v1/a/c/./<>"), None);
    }

    #[test]
    fn a_wrong_pattern_is_no_configuration() {
        assert!(serde_json::from_str::<NameCheckConfig>(r#"{"forbidden_regexp": "("}"#).is_err());
        let config: NameCheckConfig = serde_json::from_str(r#"{"forbidden_regexp": "^/x"}"#).unwrap();
        assert!(problem(&config, "/x/y").is_some());
        assert_eq!(serde_json::to_value(&config).unwrap()["forbidden_regexp"], "^/x");
    }
}
