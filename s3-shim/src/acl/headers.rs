//! Lists that a request names in its headers: `x-amz-acl`, or `x-amz-grant-*`.

use super::{Acl, Grant, Grantee, Permission, canned};
use crate::errors::{Code, S3Error, S3Result};
use http::HeaderMap;
use martlet_service::headers::{text, value_text};

/// The header of each permission.
const GRANTS: [(&str, Permission); 5] = [
    ("x-amz-grant-full-control", Permission::FullControl),
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
];

/// The list the headers ask for; `None` when they ask for none.
pub fn from_headers(headers: &HeaderMap, bucket_owner: &str, owner: &str) -> S3Result<Option<Acl>> {
    let mut grants = Vec::new();
    for (name, permission) in GRANTS {
        for value in headers.get_all(name) {
            let value =
                value_text(value).ok_or_else(|| S3Error::argument(name, "", "The grant is not text."))?;
            for one in value.split(',') {
                grants.push(Grant {
                    grantee: grantee(one)?,
                    permission,
                });
            }
        }
    }
    let acl = match (text(headers, "x-amz-acl"), grants.is_empty()) {
        (None, true) => return Ok(None),
        (Some(_), false) => {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Specifying both Canned ACLs and Header Grants is not allowed",
            ));
        }
        (Some(name), true) => canned(name, bucket_owner, owner)
            .ok_or_else(|| S3Error::argument("x-amz-acl", name, "The ACL is not valid."))?,
        (None, false) => Acl {
            owner: owner.to_owned(),
            grants,
        },
    };
    if acl.can_be_stored() {
        Ok(Some(acl))
    } else {
        Err(too_large())
    }
}

/// The error for a list with too many grants, or too long ones.
pub(super) fn too_large() -> S3Error {
    S3Error::new(
        Code::InvalidArgument,
        "The access control list has more or longer grants than are allowed.",
    )
}

/// `id="..."`, `uri="..."`; `emailAddress="..."` is S3's too, but users have none here.
fn grantee(text: &str) -> S3Result<Grantee> {
    let (kind, value) = text
        .split_once('=')
        .ok_or_else(|| S3Error::argument("grantee", text.trim(), "Argument format not recognized"))?;
    let kind = kind.trim().to_ascii_lowercase();
    let value = value.trim().trim_matches(|quote| matches!(quote, '"' | '\''));
    match kind.as_str() {
        "id" => Grantee::user(value).ok_or_else(|| S3Error::argument("id", value, "Invalid id")),
        "uri" => Grantee::group(value).ok_or_else(|| S3Error::argument("uri", value, "Invalid group uri")),
        "emailaddress" => Err(S3Error::new(
            Code::NotImplemented,
            "Grants to e-mail addresses are not implemented.",
        )),
        _ => Err(S3Error::argument(&kind, value, "Argument format not recognized")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::set;

    fn check(pairs: &[(&str, &str)]) -> Result<Option<Vec<(String, &'static str)>>, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            set(&mut headers, name, value);
        }
        let found = from_headers(&headers, "b:owner", "o:owner").map_err(|error| error.code)?;
        Ok(found.map(|acl| {
            assert_eq!(acl.owner, "o:owner");
            acl.grants
                .iter()
                .map(|grant| (grant.grantee.word().to_owned(), grant.permission.as_str()))
                .collect()
        }))
    }

    #[test]
    fn what_headers_ask_for() {
        assert_eq!(check(&[("x-amz-meta-acl", "x")]), Ok(None));
        assert_eq!(
            check(&[("x-amz-acl", "private")]),
            Ok(Some(vec![("o:owner".into(), "FULL_CONTROL")]))
        );
        assert_eq!(
            check(&[
                (
                    "x-amz-grant-read",
                    "id=\"a:b\", uri='http://acs.amazonaws.com/groups/global/AllUsers'"
                ),
                ("x-amz-grant-write-acp", "ID=c:d"),
            ]),
            Ok(Some(vec![
                ("a:b".into(), "READ"),
                ("AllUsers".into(), "READ"),
                ("c:d".into(), "WRITE_ACP"),
            ]))
        );
    }

    #[test]
    fn what_is_refused() {
        for (pairs, code) in [
            (vec![("x-amz-acl", "nonsense")], Code::InvalidArgument),
            (
                vec![("x-amz-acl", "private"), ("x-amz-grant-read", "id=a")],
                Code::InvalidRequest,
            ),
            (vec![("x-amz-grant-read", "nobody")], Code::InvalidArgument),
            (vec![("x-amz-grant-read", "name=a")], Code::InvalidArgument),
            (vec![("x-amz-grant-read", "id=")], Code::InvalidArgument),
            (vec![("x-amz-grant-read", "id=AllUsers")], Code::InvalidArgument),
            (vec![("x-amz-grant-read", "uri=http://x")], Code::InvalidArgument),
            (
                vec![("x-amz-grant-read", "emailAddress=a@b.c")],
                Code::NotImplemented,
            ),
        ] {
            assert_eq!(check(&pairs), Err(code), "{pairs:?}");
        }
        let many = vec!["id=a"; super::super::MAX_GRANTS + 1].join(",");
        assert_eq!(check(&[("x-amz-grant-read", &many)]), Err(Code::InvalidArgument));
    }
}
