//! Storage policies: which ring an object's copies follow.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a storage policy, as in `X-Backend-Storage-Policy-Index`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyIndex(pub u16);

impl fmt::Display for PolicyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl PolicyIndex {
    /// Reads the header's decimal form.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(PolicyIndex)
    }
}

/// One replication policy as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub index: PolicyIndex,
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default, rename = "default")]
    pub is_default: bool,
    #[serde(default, rename = "deprecated")]
    pub is_deprecated: bool,
}

/// All policies of a cluster: at least one, exactly one default, no two alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies(Vec<Policy>);

/// Why a set of policies cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl Policies {
    /// Checks a set. A single policy is the default without being told so.
    pub fn new(mut policies: Vec<Policy>) -> Result<Self, PolicyError> {
        if let [only] = policies.as_mut_slice() {
            only.is_default = true;
        }
        policies.sort_by_key(|policy| policy.index);
        let error = |text: String| Err(PolicyError(text));
        let mut names = std::collections::HashSet::new();
        for policy in &policies {
            for name in policy.names() {
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                    return error(format!("policy name {name:?} is not letters, digits and dashes"));
                }
                if !names.insert(name.to_ascii_lowercase()) {
                    return error(format!("policy name {name:?} stands twice"));
                }
            }
        }
        if policies.windows(2).any(|pair| pair[0].index == pair[1].index) {
            return error("a policy index stands twice".into());
        }
        match policies.iter().filter(|policy| policy.is_default).count() {
            1 => {}
            0 => return error("no policy is the default".into()),
            _ => return error("more than one policy is the default".into()),
        }
        if policies
            .iter()
            .any(|policy| policy.is_default && policy.is_deprecated)
        {
            return error("the default policy is deprecated".into());
        }
        Ok(Policies(policies))
    }

    /// One policy of index 0.
    pub fn single(name: &str) -> Self {
        let index = PolicyIndex(0);
        Policies(vec![Policy {
            index,
            name: name.into(),
            aliases: vec![],
            is_default: true,
            is_deprecated: false,
        }])
    }

    /// By name or alias, letter case ignored.
    pub fn by_name(&self, name: &str) -> Option<&Policy> {
        self.0
            .iter()
            .find(|policy| policy.names().any(|own| own.eq_ignore_ascii_case(name)))
    }

    pub fn by_index(&self, index: PolicyIndex) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.index == index)
    }

    /// The policy of a container created without naming one.
    pub fn default_policy(&self) -> &Policy {
        self.0
            .iter()
            .find(|policy| policy.is_default)
            .expect("checked when made: exactly one default")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }
}

impl Policy {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(index: u16, name: &str, is_default: bool) -> Policy {
        Policy {
            index: PolicyIndex(index),
            name: name.into(),
            aliases: vec![],
            is_default,
            is_deprecated: false,
        }
    }

    #[test]
    fn sets_are_checked() {
        let good = Policies::new(vec![policy(1, "silver", false), policy(0, "gold", true)]).unwrap();
        assert_eq!(good.default_policy().name, "gold");
        assert_eq!(good.by_name("SILVER").unwrap().index, PolicyIndex(1));
        for bad in [
            vec![],
            vec![policy(0, "gold", true), policy(0, "silver", false)],
            vec![policy(0, "gold", true), policy(1, "Gold", false)],
            vec![policy(0, "gold", true), policy(1, "silver", true)],
            vec![policy(0, "gold", false), policy(1, "silver", false)],
            vec![policy(0, "go ld", true)],
        ] {
            assert!(Policies::new(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
