//! Which headers containers and accounts keep, how many, and how they come back.

use crate::errors::Refusal;
use http::HeaderMap;
use martlet_protocol::limits::Limits;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::headers;

/// One item: its header name, and its value with the moment it was set. An empty value is a removal.
pub type Item = (String, (String, Timestamp));

/// A family of metadata headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Container,
    Account,
}

/// Plain headers a container keeps beside its families.
const KEPT_CONTAINER_HEADERS: [&str; 5] = [
    "x-container-read",
    "x-container-write",
    "x-container-sync-key",
    "x-container-sync-to",
    "x-versions-location",
];

impl Keeper {
    fn user_prefix(self) -> &'static str {
        match self {
            Keeper::Container => "x-container-meta-",
            Keeper::Account => "x-account-meta-",
        }
    }

    fn system_prefix(self) -> &'static str {
        match self {
            Keeper::Container => "x-container-sysmeta-",
            Keeper::Account => "x-account-sysmeta-",
        }
    }

    /// The user's own part of a name: `x-container-meta-color` is `color`.
    fn user_name(self, name: &str) -> Option<&str> {
        name.strip_prefix(self.user_prefix())
            .filter(|rest| !rest.is_empty())
    }

    fn keeps(self, name: &str) -> bool {
        let is_system = || {
            name.strip_prefix(self.system_prefix())
                .is_some_and(|rest| !rest.is_empty())
        };
        let is_plain = || self == Keeper::Container && KEPT_CONTAINER_HEADERS.contains(&name);
        self.user_name(name).is_some() || is_system() || is_plain()
    }

    /// The items a request sets, all at the request's time. 400 for a value that is not UTF-8.
    pub fn items(self, headers: &HeaderMap, at: Timestamp) -> Result<Vec<Item>, Refusal> {
        let mut items = Vec::new();
        for name in headers
            .keys()
            .map(http::HeaderName::as_str)
            .filter(|name| self.keeps(name))
        {
            let value = headers::text(headers, name);
            let value = value.ok_or_else(|| Refusal::BadRequest("Metadata must be valid UTF-8".into()))?;
            items.push((name.to_owned(), (value.to_owned(), at)));
        }
        Ok(items)
    }

    /// 400 when the user metadata would be too much, once `items` are merged into what `record` holds.
    pub fn check(
        self,
        record: Option<&ContainerRecord>,
        items: &[Item],
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let is_user = |name: &str| self.user_name(name).is_some();
        if !items.iter().any(|(name, _)| is_user(name)) {
            return Ok(());
        }
        let replaced =
            |name: &str, at: &Timestamp| items.iter().any(|(new, (_, new_at))| new == name && new_at > at);
        let known = record.into_iter().flat_map(|record| &record.metadata);
        let kept = known
            .filter(|(name, (_, at))| !replaced(name, at))
            .map(|(name, (value, _))| (name, value));
        // An item older than what is kept changes nothing; counting it is at worst one too many for a stale request.
        let all = kept.chain(items.iter().map(|(name, (value, _))| (name, value)));
        let (mut count, mut bytes) = (0, 0);
        for (name, value) in all.filter(|(name, value)| !value.is_empty() && is_user(name)) {
            count += 1;
            bytes += name.len() - self.user_prefix().len() + value.len();
        }
        if count > limits.max_meta_count {
            let text = format!("Too many metadata items; max {}", limits.max_meta_count);
            return Err(Refusal::BadRequest(text));
        }
        if bytes > limits.max_meta_overall_size {
            let text = format!("Total metadata too large; max {}", limits.max_meta_overall_size);
            return Err(Refusal::BadRequest(text));
        }
        Ok(())
    }

    /// Whether a check needs the record: only when user metadata is set.
    pub fn sets_user_metadata(self, items: &[Item]) -> bool {
        items
            .iter()
            .any(|(name, (value, _))| !value.is_empty() && self.user_name(name).is_some())
    }

    /// Writes the items in force into response headers.
    pub fn show(self, record: &ContainerRecord, out: &mut HeaderMap) {
        for (name, value) in record.live_metadata().filter(|(name, _)| self.keeps(name)) {
            headers::set(out, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn families_are_kept_and_the_rest_is_not() {
        let sent = headers(&[
            ("x-container-meta-color", "red"),
            ("x-container-meta-", "no name"),
            ("x-container-sysmeta-quota", ""),
            ("x-container-read", ".r:*"),
            ("x-account-meta-color", "blue"),
            ("x-timestamp", "1"),
        ]);
        let at = Timestamp::from_secs(7);
        let mut names: Vec<_> = Keeper::Container
            .items(&sent, at)
            .unwrap()
            .into_iter()
            .map(|item| item.0)
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "x-container-meta-color",
                "x-container-read",
                "x-container-sysmeta-quota"
            ]
        );
        assert_eq!(
            Keeper::Account.items(&sent, at).unwrap(),
            [("x-account-meta-color".to_owned(), ("blue".to_owned(), at))]
        );
    }

    #[test]
    fn limits_count_names_and_values_of_live_items() {
        let limits = Limits {
            max_meta_count: 2,
            max_meta_overall_size: 10,
            ..Limits::default()
        };
        let item = |name: &str, value: &str| (name.to_owned(), (value.to_owned(), Timestamp::from_secs(1)));
        let check = |items: &[Item]| Keeper::Account.check(None, items, &limits);
        assert_eq!(
            check(&[item("x-account-meta-a", "1234"), item("x-account-meta-b", "1234")]),
            Ok(())
        );
        assert!(
            check(&[
                item("x-account-meta-a", "1234"),
                item("x-account-meta-b", "12345")
            ])
            .is_err()
        );
        assert!(check(&["a", "b", "c"].map(|name| item(&format!("x-account-meta-{name}"), "1"))).is_err());
        assert_eq!(
            check(&["a", "b", "c"].map(|name| item(&format!("x-account-meta-{name}"), ""))),
            Ok(())
        );
        assert_eq!(
            check(&[item("x-account-sysmeta-a", "more than ten bytes")]),
            Ok(())
        );
    }
}
