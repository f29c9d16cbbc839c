//! The lists that have a name of their own, as `x-amz-acl` says them.

use super::{Acl, Grant, Grantee, Permission};

/// The list of a name, for a bucket (both owners are the same then) or for an object in another's bucket.
pub fn canned(name: &str, bucket_owner: &str, owner: &str) -> Option<Acl> {
    use Permission::{FullControl, Read, ReadAcp, Write};
    let own = (Grantee::User(owner.to_owned()), FullControl);
    let bucket_owners = |permission| (Grantee::User(bucket_owner.to_owned()), permission);
    let grants = match name {
        "private" => vec![own],
        "public-read" => vec![(Grantee::AllUsers, Read), own],
        "public-read-write" => vec![(Grantee::AllUsers, Read), (Grantee::AllUsers, Write), own],
        "authenticated-read" => vec![(Grantee::AuthenticatedUsers, Read), own],
        "bucket-owner-read" => vec![bucket_owners(Read), own],
        "bucket-owner-full-control" => vec![own, bucket_owners(FullControl)],
        "log-delivery-write" => vec![
            (Grantee::LogDelivery, Write),
            (Grantee::LogDelivery, ReadAcp),
            own,
        ],
        _ => return None,
    };
    let grants = grants
        .into_iter()
        .map(|(grantee, permission)| Grant { grantee, permission });
    Some(Acl {
        owner: owner.to_owned(),
        grants: grants.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_names_allow() {
        let may = |name: &str, who: &str| {
            let list = canned(name, "bucket:owner", "object:owner").unwrap();
            let all = [
                Permission::Read,
                Permission::Write,
                Permission::ReadAcp,
                Permission::WriteAcp,
            ];
            all.map(|permission| u8::from(list.allows(who, permission)))
        };
        for (name, bucket_owner, anyone) in [
            ("private", [0, 0, 0, 0], [0, 0, 0, 0]),
            ("public-read", [1, 0, 0, 0], [1, 0, 0, 0]),
            ("public-read-write", [1, 1, 0, 0], [1, 1, 0, 0]),
            ("authenticated-read", [1, 0, 0, 0], [1, 0, 0, 0]),
            ("bucket-owner-read", [1, 0, 0, 0], [0, 0, 0, 0]),
            ("bucket-owner-full-control", [1, 1, 1, 1], [0, 0, 0, 0]),
            ("log-delivery-write", [0, 0, 0, 0], [0, 0, 0, 0]),
        ] {
            assert_eq!(may(name, "object:owner"), [1, 1, 1, 1], "{name}");
            assert_eq!(may(name, "bucket:owner"), bucket_owner, "{name}");
            assert_eq!(may(name, "some:one"), anyone, "{name}");
        }
        assert_eq!(may("log-delivery-write", "a:.log_delivery"), [0, 1, 1, 0]);
        assert_eq!(canned("aws-exec-read", "a", "b"), None);
        assert_eq!(canned("Private", "a", "b"), None);
    }
}
