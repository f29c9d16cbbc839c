//! The keys that sign for an account and a container (`X-Account-Meta-Temp-URL-Key`, `X-Container-Meta-...`, `-2`).

use crate::core::{Core, Existence};
use crate::grant::Scope;
use martlet_protocol::name::ContainerPath;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Up to two keys each of the account and of the container, remembered as long as everything known about them.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: Vec<(String, Scope)>,
    /// False: too few servers answered to say that there are no others.
    pub is_complete: bool,
}

impl Keys {
    pub async fn of(core: &Arc<Core>, path: &ContainerPath) -> Keys {
        let (account, container) =
            futures_util::join!(core.account_info(&path.account), core.container_info(path));
        let of_account = Scope::Account(path.account.clone());
        let of_container = Scope::Container(path.clone());
        let keys = read(&account.metadata, &of_account).chain(read(&container.metadata, &of_container));
        Keys {
            keys: keys.collect(),
            is_complete: account.existence != Existence::Unknown && container.existence != Existence::Unknown,
        }
    }

    /// For what no key can sign.
    pub fn none() -> Keys {
        Keys {
            keys: Vec::new(),
            is_complete: true,
        }
    }

    /// The scope of the first key that satisfies.
    pub fn find(&self, is_right: impl Fn(&str) -> bool) -> Option<&Scope> {
        self.keys
            .iter()
            .find(|(key, _)| is_right(key))
            .map(|(_, scope)| scope)
    }
}

#[cfg(test)]
impl Keys {
    pub fn of_account(account: &str, keys: &[&str]) -> Keys {
        let account = martlet_protocol::name::AccountName::new(account).expect("a name");
        let scope = Scope::Account(account);
        Keys {
            keys: keys.iter().map(|key| (key.to_string(), scope.clone())).collect(),
            is_complete: true,
        }
    }
}

/// An empty key is none: everybody could sign with it.
fn read<'a>(
    metadata: &'a BTreeMap<String, String>,
    scope: &'a Scope,
) -> impl Iterator<Item = (String, Scope)> + 'a {
    ["temp-url-key", "temp-url-key-2"]
        .into_iter()
        .filter_map(|name| metadata.get(name))
        .filter(|key| !key.is_empty())
        .map(|key| (key.clone(), scope.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::name::Target;

    #[test]
    fn empty_keys_are_none() {
        let account = Target::parse("a").unwrap().account().clone();
        let scope = Scope::Account(account);
        let metadata = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        let found = |pairs: &[(&str, &str)]| {
            read(&metadata(pairs), &scope)
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found(&[("temp-url-key", "one"), ("temp-url-key-2", "two"), ("x", "y")]),
            ["one", "two"]
        );
        assert_eq!(found(&[("temp-url-key", ""), ("temp-url-key-2", "two")]), ["two"]);
        assert!(found(&[]).is_empty());
    }
}
