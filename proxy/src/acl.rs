//! Access control lists: of containers (Swift's comma lists) and of accounts (tempauth's JSON). Pure.
//!
//! See "Access Control Lists" in Swift's overview documentation.

use http::Uri;
use martlet_protocol::percent;
use serde_json::Value;

/// Checks and tidies `X-Container-Read` or `X-Container-Write`; the error is a sentence for the client.
///
/// `header` is the lower-case name: referrers may read but never write.
pub fn clean(header: &str, value: &str) -> Result<String, String> {
    let mut kept: Vec<String> = Vec::new();
    for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((first, second)) = item.split_once(':') else {
            kept.push(item.to_owned());
            continue;
        };
        let (first, second) = (first.trim(), second.trim());
        if !first.starts_with('.') {
            kept.push(item.to_owned());
            continue;
        }
        if ![".r", ".ref", ".referer", ".referrer"].contains(&first) {
            return Err(format!("Unknown designator '{first}' in ACL: '{item}'"));
        }
        if header.contains("write") {
            return Err(format!("Referrers not allowed in write ACL: '{item}'"));
        }
        let (sign, host) = match second.strip_prefix('-') {
            Some(host) => ("-", host.trim()),
            None => ("", second),
        };
        let host = if host == "*" {
            host
        } else {
            host.strip_prefix('*').map_or(host, str::trim)
        };
        if host.is_empty() || host == "." {
            return Err(format!(
                "No host/domain value after referrer designation in ACL: '{item}'"
            ));
        }
        kept.push(format!(".r:{sign}{host}"));
    }
    Ok(kept.join(","))
}

/// A stored container ACL, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerAcl {
    referrers: Vec<String>,
    groups: Vec<String>,
}

impl ContainerAcl {
    /// Reads what [`clean`] has written.
    pub fn parse(text: &str) -> Self {
        let mut acl = ContainerAcl::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            match item.strip_prefix(".r:") {
                Some(referrer) => acl.referrers.push(referrer.to_owned()),
                None => acl
                    .groups
                    .push(percent::unquote(item).unwrap_or_else(|_| item.to_owned())),
            }
        }
        acl
    }

    /// Whether anyone who comes from that page may read. The last entry that matches wins.
    pub fn allows_referrer(&self, referer: Option<&str>) -> bool {
        let parsed = referer.and_then(|text| text.parse::<Uri>().ok());
        let host = parsed
            .as_ref()
            .and_then(Uri::host)
            .unwrap_or("unknown")
            .to_ascii_lowercase();
        let matches =
            |pattern: &str| pattern == host || (pattern.starts_with('.') && host.ends_with(pattern));
        self.referrers
            .iter()
            .fold(false, |allowed, entry| match entry.strip_prefix('-') {
                Some(denied) if matches(denied) => false,
                None if entry == "*" || matches(entry) => true,
                Some(_) | None => allowed,
            })
    }

    /// Whether readers by referrer may also list.
    pub fn allows_listings(&self) -> bool {
        self.groups.iter().any(|group| group == ".rlistings")
    }

    /// Whether `project:user` stands there, letter by letter.
    pub fn names_pair(&self, project: &str, user: &str) -> bool {
        let is_pair = |group: &String| {
            let rest = group
                .strip_prefix(project)
                .and_then(|rest| rest.strip_prefix(':'));
            rest == Some(user)
        };
        self.groups.iter().any(is_pair)
    }

    /// Whether a role stands there, in whatever case.
    pub fn names_role(&self, role: &str) -> bool {
        self.groups.iter().any(|group| group.to_lowercase() == role)
    }

    /// Whether one of the user's groups is named. `*:*` names everyone who has logged in, `account:*` every user of an
    /// account.
    pub fn names_any_of(&self, groups: &[String]) -> bool {
        groups
            .iter()
            .any(|own| self.groups.iter().any(|named| is_named(named, own)))
    }
}

fn is_named(named: &str, own: &str) -> bool {
    if named == own {
        return true;
    }
    match (named.split_once(':'), own.split_once(':')) {
        (Some((account, "*")), Some((own_account, _))) => account == "*" || account == own_account,
        (Some(("*", user)), Some((_, own_user))) => user == own_user,
        _ => false,
    }
}

/// An account ACL, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountAcl {
    admin: Vec<String>,
    read_write: Vec<String>,
    read_only: Vec<String>,
}

/// What an account ACL gives a user; the most it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRight {
    ReadOnly,
    ReadWrite,
    Admin,
}

impl AccountAcl {
    /// Reads the stored form; anything malformed grants nothing.
    pub fn parse(text: &str) -> Self {
        let Ok(Value::Object(map)) = serde_json::from_str(text) else {
            return AccountAcl::default();
        };
        let list = |key: &str| -> Vec<String> {
            let items = map.get(key).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        AccountAcl {
            admin: list("admin"),
            read_write: list("read-write"),
            read_only: list("read-only"),
        }
    }

    /// The most a user with these groups may do.
    pub fn right_of(&self, groups: &[String]) -> Option<AccountRight> {
        let named = |list: &[String]| groups.iter().any(|group| list.contains(group));
        if named(&self.admin) {
            Some(AccountRight::Admin)
        } else if named(&self.read_write) {
            Some(AccountRight::ReadWrite)
        } else if named(&self.read_only) {
            Some(AccountRight::ReadOnly)
        } else {
            None
        }
    }
}

/// How a stored account ACL is shown: keys in order, without spaces, in ASCII. One that grants nothing is not shown.
pub fn shown_account_acl(stored: &str) -> Option<String> {
    let Ok(Value::Object(map)) = serde_json::from_str(stored) else {
        return None;
    };
    if map.is_empty() {
        return None;
    }
    let mut shown = String::new();
    for letter in Value::Object(map).to_string().chars() {
        if letter.is_ascii() {
            shown.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Some(shown)
}

/// Checks `X-Account-Access-Control`; the error is a sentence for the client.
pub fn check_account_acl(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Ok(Value::Object(map)) = serde_json::from_str(text) else {
        return Err(format!("Syntax error in input ('{text}')"));
    };
    const KEYS: [&str; 3] = ["admin", "read-write", "read-only"];
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("Key {} not recognized", Value::from(unknown.as_str())));
    }
    for key in KEYS {
        let Some(value) = map.get(key) else { continue };
        let Value::Array(items) = value else {
            return Err(format!("Value for key \"{key}\" must be a list"));
        };
        if !items.iter().all(Value::is_string) {
            return Err(format!("Elements of \"{key}\" list must be strings"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acls_are_tidied_or_refused() {
        for (header, value, expected) in [
            ("x-container-read", "bob, sue", Ok("bob,sue")),
            ("x-container-read", "bob , ,,sue:x", Ok("bob,sue:x")),
            ("x-container-read", ".referrer : *", Ok(".r:*")),
            ("x-container-read", ".ref:*.example.com", Ok(".r:.example.com")),
            ("x-container-read", ".r:*, .rlistings", Ok(".r:*,.rlistings")),
            ("x-container-read", ".r:- *.thief.com", Ok(".r:-.thief.com")),
            ("x-container-read", "*:*", Ok("*:*")),
            ("x-container-write", "test:tester", Ok("test:tester")),
            ("x-container-read", "", Ok("")),
            (
                "x-container-write",
                ".r:*",
                Err("Referrers not allowed in write ACL: '.r:*'"),
            ),
            (
                "x-container-read",
                ".r:",
                Err("No host/domain value after referrer designation in ACL: '.r:'"),
            ),
            (
                "x-container-read",
                ".r:-",
                Err("No host/domain value after referrer designation in ACL: '.r:-'"),
            ),
            (
                "x-container-read",
                ".r:*.",
                Err("No host/domain value after referrer designation in ACL: '.r:*.'"),
            ),
            (
                "x-container-read",
                ".unknown:x",
                Err("Unknown designator '.unknown' in ACL: '.unknown:x'"),
            ),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(clean(header, value), expected, "{header}: {value}");
        }
    }

    #[test]
    fn referrers_match_hosts_and_domains_in_order() {
        for (acl, referer, expected) in [
            (".r:*", None, true),
            (".r:*", Some("http://a.com/x"), true),
            (".r:a.com", Some("http://a.com/x"), true),
            (".r:a.com", Some("http://b.a.com/x"), false),
            (".r:.a.com", Some("https://b.A.com:81/x"), true),
            (".r:*,.r:-thief.com", Some("http://thief.com/"), false),
            (".r:*,.r:-.thief.com", Some("http://www.thief.com/"), false),
            (".r:-thief.com,.r:*", Some("http://thief.com/"), true),
            (".r:a.com", None, false),
            (".r:a.com", Some("not a url at all %%"), false),
            ("bob", Some("http://a.com"), false),
        ] {
            assert_eq!(
                ContainerAcl::parse(acl).allows_referrer(referer),
                expected,
                "{acl} {referer:?}"
            );
        }
        assert!(ContainerAcl::parse(".r:*,.rlistings").allows_listings());
        assert!(!ContainerAcl::parse(".r:*").allows_listings());
    }

    #[test]
    fn groups_match_users_accounts_and_stars() {
        let groups: Vec<String> = ["test", "test:tester3"].map(String::from).to_vec();
        for (acl, expected) in [
            ("test:tester3", true),
            ("test", true),
            ("test:*", true),
            ("*:tester3", true),
            ("*:*", true),
            ("test:tester", false),
            ("test2:*", false),
            ("*:tester", false),
            ("test%3Atester3", true),
            (".r:*", false),
            ("", false),
        ] {
            assert_eq!(ContainerAcl::parse(acl).names_any_of(&groups), expected, "{acl}");
        }
        assert!(!ContainerAcl::parse("*:*").names_any_of(&[]));
    }

    #[test]
    fn account_acls() {
        assert_eq!(check_account_acl(r#"{"admin":["a:b"],"read-only":[]}"#), Ok(()));
        assert_eq!(check_account_acl(""), Ok(()));
        for (text, error) in [
            ("[]", "Syntax error in input ('[]')"),
            ("{", "Syntax error in input ('{')"),
            (r#"{"other":[]}"#, "Key \"other\" not recognized"),
            (r#"{"admin":"x"}"#, "Value for key \"admin\" must be a list"),
            (r#"{"admin":[1]}"#, "Elements of \"admin\" list must be strings"),
        ] {
            assert_eq!(check_account_acl(text), Err(error.into()));
        }
        let acl = AccountAcl::parse(r#"{"admin":["a"],"read-write":["b"],"read-only":["b","c"]}"#);
        let right = |group: &str| acl.right_of(&[group.to_owned()]);
        assert_eq!(right("a"), Some(AccountRight::Admin));
        assert_eq!(right("b"), Some(AccountRight::ReadWrite));
        assert_eq!(right("c"), Some(AccountRight::ReadOnly));
        assert_eq!(right("d"), None);
        assert_eq!(AccountAcl::parse("junk"), AccountAcl::default());
        let shown = shown_account_acl(r#"{"read-only": ["ü😀"]}"#);
        assert_eq!(shown.as_deref(), Some(r#"{"read-only":["\u00fc\ud83d\ude00"]}"#));
    }
}
