//! What a signed request may do without a user: what was signed, and the reads that answering it takes.

use http::Method;
use martlet_protocol::name::{AccountName, ContainerPath, Target};
use martlet_protocol::version::version_in;
use std::sync::Arc;

/// How far a key reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A key of the account: every container of it.
    Account(AccountName),
    /// A key of the container.
    Container(ContainerPath),
}

impl Scope {
    fn holds(&self, target: &Target) -> bool {
        match self {
            Scope::Account(account) => target.account() == account && target.container().is_some(),
            Scope::Container(path) => target.container_path().as_ref() == Some(path) && !is_version(target),
        }
    }
}

/// A version that is named; whoever may read a container may read what is current in it.
fn is_version(target: &Target) -> bool {
    let names = target.container().zip(target.object());
    names.is_some_and(|(container, object)| version_in(container, object).is_some())
}

/// Stands among a request's extensions in the place of a user. Never set from anything but a signature that was checked.
///
/// A large object's segments, a link's target or a page of a listing are read while the signed request is answered, so
/// reads are allowed throughout the key's scope. Changes are allowed only as signed: this method on this target.
#[derive(Clone, Debug)]
pub struct Grant {
    scope: Scope,
    method: Method,
    target: Arc<Target>,
}

impl Grant {
    pub fn new(scope: Scope, method: Method, target: Arc<Target>) -> Self {
        Grant {
            scope,
            method,
            target,
        }
    }

    pub fn allows(&self, method: &Method, target: &Target) -> bool {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        self.scope.holds(target) && (is_read || (*method == self.method && *target == *self.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_as_signed_and_reads_within_the_scope() {
        let target = |path: &str| Target::parse(path).unwrap();
        let signed = Arc::new(target("a/c/o"));
        let account = Scope::Account(signed.account().clone());
        let container = Scope::Container(signed.container_path().unwrap());
        for (scope, method, path, expected) in [
            (&account, Method::PUT, "a/c/o", true),
            (&account, Method::GET, "a/c/o", true),
            (&account, Method::GET, "a/c/segment", true),
            (&account, Method::HEAD, "a/other/o", true),
            (&account, Method::GET, "a/other", true),
            (&account, Method::GET, "a", false),
            (&account, Method::GET, "b/c/o", false),
            (&account, Method::PUT, "a/c/p", false),
            (&account, Method::PUT, "a/c", false),
            (&account, Method::POST, "a/c/o", false),
            (&account, Method::DELETE, "a/c/o", false),
            (&container, Method::PUT, "a/c/o", true),
            (&container, Method::GET, "a/c/segment", true),
            (&container, Method::GET, "a/c", true),
            (&container, Method::GET, "a/other/o", false),
            (&container, Method::GET, "a", false),
            (&account, Method::GET, "a/c/\0o\08765432109.87654", true),
            (&container, Method::GET, "a/c/\0o\08765432109.87654", false),
            (&container, Method::PUT, "a/c/p", false),
        ] {
            let grant = Grant::new(scope.clone(), Method::PUT, signed.clone());
            assert_eq!(
                grant.allows(&method, &target(path)),
                expected,
                "{scope:?} {method} {path}"
            );
        }
    }
}
