//! Names of accounts, containers and objects, and the paths they make. Having one in hand means it is valid.

use crate::percent;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;

/// Longest names storage accepts, in bytes of UTF-8. A cluster's `Limits` may ask for less.
pub const MAX_ACCOUNT_BYTES: usize = 256;
pub const MAX_CONTAINER_BYTES: usize = 256;
pub const MAX_OBJECT_BYTES: usize = 4096;

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    Empty,
    TooLong,
    /// An account or container name with a slash.
    Slash,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "name is empty",
            NameError::TooLong => "name is too long",
            NameError::Slash => "name holds a slash",
        })
    }
}

impl std::error::Error for NameError {}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $max:expr, $slash_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a decoded name.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if name.is_empty() {
                    return Err(NameError::Empty);
                }
                if name.len() > $max {
                    return Err(NameError::TooLong);
                }
                if !$slash_allowed && name.contains('/') {
                    return Err(NameError::Slash);
                }
                Ok($name(name))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                $name::new(name)
            }
        }
    };
}

name_type!(
    /// The name of an account, such as `AUTH_test`.
    AccountName, MAX_ACCOUNT_BYTES, false
);
name_type!(
    /// The name of a container.
    ContainerName, MAX_CONTAINER_BYTES, false
);
name_type!(
    /// The name of an object; slashes are ordinary characters.
    ObjectName, MAX_OBJECT_BYTES, true
);

/// A container in its account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPath {
    pub account: AccountName,
    pub container: ContainerName,
}

/// An object in its container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath {
    pub account: AccountName,
    pub container: ContainerName,
    pub object: ObjectName,
}

impl ContainerPath {
    pub fn new(account: AccountName, container: ContainerName) -> Self {
        ContainerPath { account, container }
    }

    /// `/account/container`, percent-encoded.
    pub fn path(&self) -> String {
        [
            "/",
            &percent::quote_segment(&self.account),
            "/",
            &percent::quote_segment(&self.container),
        ]
        .concat()
    }
}

impl ObjectPath {
    pub fn new(account: AccountName, container: ContainerName, object: ObjectName) -> Self {
        ObjectPath {
            account,
            container,
            object,
        }
    }

    /// The container this object is in.
    pub fn container_path(&self) -> ContainerPath {
        ContainerPath {
            account: self.account.clone(),
            container: self.container.clone(),
        }
    }

    /// `/account/container/object`, percent-encoded, slashes of the object name kept.
    pub fn path(&self) -> String {
        let names = self.account.len() + self.container.len() + self.object.len();
        // Nearly always nothing is to be encoded.
        let mut path = String::with_capacity(names + 3);
        path.push('/');
        percent::push_quoted_segment(&mut path, &self.account);
        path.push('/');
        percent::push_quoted_segment(&mut path, &self.container);
        path.push('/');
        percent::push_quoted(&mut path, &self.object);
        path
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Account(AccountName),
    Container(ContainerPath),
    Object(ObjectPath),
}

impl Target {
    /// Splits a decoded path without its version, `account[/container[/object]]`. A trailing slash after the account
    /// or container names the account or container itself, as in Swift.
    pub fn parse(path: &str) -> Result<Self, NameError> {
        let mut parts = path.splitn(3, '/');
        let account = AccountName::new(parts.next().unwrap_or(""))?;
        let container = match parts.next() {
            None => return Ok(Target::Account(account)),
            Some("") if parts.next().is_none() => return Ok(Target::Account(account)),
            Some(container) => ContainerName::new(container)?,
        };
        match parts.next() {
            None | Some("") => Ok(Target::Container(ContainerPath { account, container })),
            Some(object) => Ok(Target::Object(ObjectPath {
                account,
                container,
                object: ObjectName::new(object)?,
            })),
        }
    }

    pub fn account(&self) -> &AccountName {
        match self {
            Target::Account(account) => account,
            Target::Container(path) => &path.account,
            Target::Object(path) => &path.account,
        }
    }

    pub fn container(&self) -> Option<&ContainerName> {
        match self {
            Target::Account(_) => None,
            Target::Container(path) => Some(&path.container),
            Target::Object(path) => Some(&path.container),
        }
    }

    pub fn object(&self) -> Option<&ObjectName> {
        match self {
            Target::Object(path) => Some(&path.object),
            Target::Account(_) | Target::Container(_) => None,
        }
    }

    /// The container's path, of a container or of an object's.
    pub fn container_path(&self) -> Option<ContainerPath> {
        match self {
            Target::Account(_) => None,
            Target::Container(path) => Some(path.clone()),
            Target::Object(path) => Some(path.container_path()),
        }
    }

    /// `/a[/c[/o]]`, percent-encoded.
    pub fn path(&self) -> String {
        match self {
            Target::Account(account) => format!("/{}", percent::quote_segment(account)),
            Target::Container(path) => path.path(),
            Target::Object(path) => path.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_as_in_swift() {
        let shown = |path: &str| Target::parse(path).map(|target| target.path());
        assert_eq!(shown("a"), Ok("/a".into()));
        assert_eq!(shown("a/"), Ok("/a".into()));
        assert_eq!(shown("a/c/"), Ok("/a/c".into()));
        assert_eq!(shown("a/c/o/p//q/"), Ok("/a/c/o/p//q/".into()));
        assert_eq!(shown("a/c//o"), Ok("/a/c//o".into()));
        assert_eq!(shown(""), Err(NameError::Empty));
        assert_eq!(shown("a//o"), Err(NameError::Empty));
        assert_eq!(shown(&format!("a/{}", "c".repeat(257))), Err(NameError::TooLong));
        assert_eq!(ContainerName::new("a/b"), Err(NameError::Slash));
    }
}
