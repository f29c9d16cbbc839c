//! Query strings as ordered, decoded pairs.

use crate::percent;

/// A parsed query string. Names may repeat; the first wins in [`Query::get`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `a=1&b&c=%20+`. `+` is a space. Pairs whose bytes are not UTF-8 are an error.
    pub fn parse(text: &str) -> Result<Self, percent::NotUtf8> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Query(pairs))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the name is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// No pairs at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a pair at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Removes every pair of a name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// The pairs encoded again; every value is written with its `=`.
    pub fn encode(&self) -> String {
        let pairs = self.0.iter();
        let encoded = pairs.map(|(name, value)| {
            format!(
                "{}={}",
                percent::quote_segment(name),
                percent::quote_segment(value)
            )
        });
        encoded.collect::<Vec<_>>().join("&")
    }
}

fn decode(text: &str) -> Result<String, percent::NotUtf8> {
    if text.contains('+') {
        percent::unquote(&text.replace('+', " "))
    } else {
        percent::unquote(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_in_order() {
        let query = Query::parse("prefix=a%2Fb&limit=5&reverse&x=1+2&&").unwrap();
        assert_eq!(query.get("prefix"), Some("a/b"));
        assert_eq!(query.get("reverse"), Some(""));
        assert_eq!(query.get("x"), Some("1 2"));
        assert!(!query.has("marker"));
        assert_eq!(Query::parse(&query.encode()).unwrap(), query);
        assert!(Query::parse("a=%ff").is_err());
    }
}
