//! S3's access lists: an owner and grants to users and groups, judged here and kept with buckets and objects in the
//! form that Swift's s3api keeps them in. Pure.
//!
//! See "Access control list (ACL) overview" of the S3 documentation. Only signed requests come this way, so the groups
//! of all users and of all authenticated users hold the same people.

mod canned;
mod document;
mod headers;

use http::HeaderMap;
use martlet_service::headers::text;
use serde::{Deserialize, Serialize};

pub use canned::canned;
pub use document::{read, write};
pub use headers::from_headers;

/// Where a bucket keeps its list.
pub const OF_BUCKET: &str = "x-container-sysmeta-s3api-acl";
/// Where an object keeps its list.
pub const OF_OBJECT: &str = "x-object-sysmeta-s3api-acl";
/// Where Swift's forerunner of s3api kept them.
const OF_BUCKET_BEFORE: &str = "x-container-sysmeta-swift3-acl";
const OF_OBJECT_BEFORE: &str = "x-object-sysmeta-swift3-acl";

/// Most grants of one list, as S3 has it; so a list fits into one header.
pub const MAX_GRANTS: usize = 100;
/// Longest list in its stored form, in bytes.
pub const MAX_STORED_BYTES: usize = 8 * 1024;

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    FullControl,
    Read,
    Write,
    ReadAcp,
    WriteAcp,
}

impl Permission {
    const ALL: [Permission; 5] = [
        Permission::FullControl,
        Permission::Read,
        Permission::Write,
        Permission::ReadAcp,
        Permission::WriteAcp,
    ];

    /// The permission as S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::FullControl => "FULL_CONTROL",
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == word)
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    User(String),
    AllUsers,
    AuthenticatedUsers,
    LogDelivery,
}

/// The user that delivers logs, in whatever account.
const LOG_DELIVERY_USER: &str = ".log_delivery";

impl Grantee {
    const GROUPS: [Grantee; 3] = [
        Grantee::AllUsers,
        Grantee::AuthenticatedUsers,
        Grantee::LogDelivery,
    ];

    /// The word a grantee is kept as: a group's name, or the user's own.
    fn word(&self) -> &str {
        match self {
            Grantee::User(id) => id,
            Grantee::AllUsers => "AllUsers",
            Grantee::AuthenticatedUsers => "AuthenticatedUsers",
            Grantee::LogDelivery => "LogDelivery",
        }
    }

    fn of_word(word: &str) -> Self {
        Self::GROUPS
            .into_iter()
            .find(|group| group.word() == word)
            .unwrap_or_else(|| Grantee::User(word.to_owned()))
    }

    /// A user by canonical id. `None` for what is no id, such as the word for a group, which would later be read as one.
    pub fn user(id: &str) -> Option<Self> {
        let id = id.trim();
        let is_id = !id.is_empty() && !id.chars().any(char::is_control);
        match Self::of_word(id) {
            user @ Grantee::User(_) if is_id => Some(user),
            _ => None,
        }
    }

    /// A group's URI.
    pub fn uri(&self) -> Option<&'static str> {
        match self {
            Grantee::User(_) => None,
            Grantee::AllUsers => Some("http://acs.amazonaws.com/groups/global/AllUsers"),
            Grantee::AuthenticatedUsers => Some("http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
            Grantee::LogDelivery => Some("http://acs.amazonaws.com/groups/s3/LogDelivery"),
        }
    }

    /// A group by its URI.
    pub fn group(uri: &str) -> Option<Self> {
        Self::GROUPS.into_iter().find(|group| group.uri() == Some(uri))
    }

    fn holds(&self, user: &str) -> bool {
        match self {
            Grantee::User(id) => id == user,
            Grantee::AllUsers | Grantee::AuthenticatedUsers => true,
            Grantee::LogDelivery => user.split_once(':').map_or(user, |(_, name)| name) == LOG_DELIVERY_USER,
        }
    }
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

/// A list. The owner may do everything, granted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Nobody has the empty name: a list that could not be read is one that allows nobody anything.
    pub owner: String,
    pub grants: Vec<Grant>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(rename = "Owner", borrow)]
    owner: std::borrow::Cow<'a, str>,
    #[serde(rename = "Grant", borrow, default)]
    grants: Vec<StoredGrant<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredGrant<'a> {
    #[serde(rename = "Permission", borrow)]
    permission: std::borrow::Cow<'a, str>,
    #[serde(rename = "Grantee", borrow)]
    grantee: std::borrow::Cow<'a, str>,
}

impl Acl {
    /// Whether a user may.
    pub fn allows(&self, user: &str, wanted: Permission) -> bool {
        self.is_owner(user)
            || self.grants.iter().any(|grant| {
                (grant.permission == wanted || grant.permission == Permission::FullControl)
                    && grant.grantee.holds(user)
            })
    }

    pub fn is_owner(&self, user: &str) -> bool {
        !self.owner.is_empty() && self.owner == user
    }

    /// The list of a bucket, from its container's headers. `None` when it has none, as a container made through Swift.
    pub fn of_bucket(headers: &HeaderMap) -> Option<Self> {
        Self::stored(headers, [OF_BUCKET, OF_BUCKET_BEFORE])
    }

    /// The list of an object, from its headers.
    pub fn of_object(headers: &HeaderMap) -> Option<Self> {
        Self::stored(headers, [OF_OBJECT, OF_OBJECT_BEFORE])
    }

    fn stored(headers: &HeaderMap, names: [&str; 2]) -> Option<Self> {
        let name = names
            .into_iter()
            .find(|name| headers.get(*name).is_some_and(|value| !value.is_empty()))?;
        let read = text(headers, name).and_then(Self::from_stored);
        Some(read.unwrap_or_else(|| {
            tracing::error!(
                name,
                "a stored access list could not be read; nobody is let in by it"
            );
            Acl {
                owner: String::new(),
                grants: Vec::new(),
            }
        }))
    }

    fn from_stored(text: &str) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_str(text).ok()?;
        let grants = stored.grants.iter().map(|grant| {
            Some(Grant {
                grantee: Grantee::of_word(&grant.grantee),
                permission: Permission::parse(&grant.permission)?,
            })
        });
        Some(Acl {
            owner: stored.owner.into_owned(),
            grants: grants.collect::<Option<_>>()?,
        })
    }

    /// The form it is kept in.
    pub fn to_stored(&self) -> String {
        let stored = Stored {
            owner: self.owner.as_str().into(),
            grants: self
                .grants
                .iter()
                .map(|grant| StoredGrant {
                    permission: grant.permission.as_str().into(),
                    grantee: grant.grantee.word().into(),
                })
                .collect(),
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Whether it is small enough to be kept.
    pub fn can_be_stored(&self) -> bool {
        self.grants.len() <= MAX_GRANTS && self.to_stored().len() <= MAX_STORED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::set;

    fn acl(grants: &[(Grantee, Permission)]) -> Acl {
        Acl {
            owner: "test:tester".into(),
            grants: grants
                .iter()
                .cloned()
                .map(|(grantee, permission)| Grant { grantee, permission })
                .collect(),
        }
    }

    #[test]
    fn who_may_what() {
        let user = |id: &str| Grantee::User(id.into());
        let list = acl(&[
            (user("test:reader"), Permission::Read),
            (user("test:all"), Permission::FullControl),
            (Grantee::LogDelivery, Permission::Write),
        ]);
        for (who, wanted, expected) in [
            ("test:tester", Permission::WriteAcp, true),
            ("test:reader", Permission::Read, true),
            ("test:reader", Permission::ReadAcp, false),
            ("test:reader", Permission::Write, false),
            ("test:all", Permission::WriteAcp, true),
            ("test:other", Permission::Read, false),
            ("logs:.log_delivery", Permission::Write, true),
            ("", Permission::Read, false),
        ] {
            assert_eq!(list.allows(who, wanted), expected, "{who} {wanted:?}");
        }
        for group in [Grantee::AllUsers, Grantee::AuthenticatedUsers] {
            let list = acl(&[(group, Permission::Read)]);
            assert!(list.allows("anyone:at_all", Permission::Read));
            assert!(!list.allows("anyone:at_all", Permission::Write));
        }
    }

    #[test]
    fn lists_are_kept_as_swift_keeps_them() {
        let list = acl(&[
            (Grantee::AllUsers, Permission::Read),
            (Grantee::User("test:üser".into()), Permission::FullControl),
        ]);
        let stored = r#"{"Owner":"test:tester","Grant":[{"Permission":"READ","Grantee":"AllUsers"},{"Permission":"FULL_CONTROL","Grantee":"test:üser"}]}"#;
        assert_eq!(list.to_stored(), stored);
        let mut headers = HeaderMap::new();
        set(&mut headers, OF_BUCKET, stored);
        assert_eq!(Acl::of_bucket(&headers), Some(list.clone()));
        assert_eq!(Acl::of_object(&headers), None);
        let mut headers = HeaderMap::new();
        set(&mut headers, "x-object-sysmeta-swift3-acl", stored);
        assert_eq!(Acl::of_object(&headers), Some(list));
    }

    #[test]
    fn what_cannot_be_read_allows_nobody() {
        for bad in [
            "{",
            "[]",
            r#"{"Grant":[]}"#,
            r#"{"Owner":7}"#,
            r#"{"Owner":"a","Grant":[{"Permission":"FLY","Grantee":"AllUsers"}]}"#,
        ] {
            let mut headers = HeaderMap::new();
            set(&mut headers, OF_OBJECT, bad);
            let list = Acl::of_object(&headers).unwrap();
            assert!(!list.allows("a", Permission::Read) && !list.is_owner(""), "{bad}");
        }
        let mut headers = HeaderMap::new();
        set(&mut headers, OF_OBJECT, "");
        assert_eq!(Acl::of_object(&headers), None);
    }

    #[test]
    fn no_user_is_taken_for_a_group() {
        assert_eq!(Grantee::user("AllUsers"), None);
        assert_eq!(Grantee::user(" "), None);
        assert_eq!(Grantee::user("a\nb"), None);
        assert_eq!(
            Grantee::user("test:tester"),
            Some(Grantee::User("test:tester".into()))
        );
    }

    #[test]
    fn a_list_has_its_bounds() {
        let many = vec![(Grantee::AllUsers, Permission::Read); MAX_GRANTS + 1];
        assert!(!acl(&many).can_be_stored());
        assert!(acl(&many[1..]).can_be_stored());
        let long = Grantee::User("u".repeat(MAX_STORED_BYTES));
        assert!(!acl(&[(long, Permission::Read)]).can_be_stored());
    }
}
