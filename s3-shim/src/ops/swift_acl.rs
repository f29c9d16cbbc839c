//! Access lists as far as Swift's container ACLs can say them, for doors without `s3_acl` and for buckets without a list
//! of S3's: the owner has full control, a bucket may be public.

use super::{Call, acl, document, empty};
use crate::errors::{Code, S3Error, S3Result};
use crate::swift::bucket_error;
use crate::xml::read::parse;
use crate::xml::write::Xml;
use http::{HeaderMap, Method, StatusCode};
use martlet_protocol::identity::Identity;
use martlet_service::Response;
use martlet_service::headers::{set, text};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const PUBLIC_READ: &str = ".r:*,.rlistings";
const PUBLIC_WRITE: &str = ".r:*";

/// Objects have no list of their own here: what would give one to them is refused, so that nobody relies on it.
pub(super) fn refuse_for_objects(headers: &HeaderMap) -> S3Result<()> {
    if let Some(name) = headers
        .keys()
        .find(|name| name.as_str().starts_with("x-amz-grant-"))
    {
        return Err(
            S3Error::new(Code::NotImplemented, "Grants are not implemented.").with("Header", name.as_str())
        );
    }
    match text(headers, "x-amz-acl") {
        None | Some("private" | "bucket-owner-full-control" | "bucket-owner-read") => Ok(()),
        Some(acl @ ("public-read" | "public-read-write" | "authenticated-read" | "aws-exec-read")) => {
            Err(S3Error::new(
                Code::NotImplemented,
                format!("The ACL {acl} is not implemented for objects."),
            ))
        }
        Some(acl) => Err(S3Error::argument("x-amz-acl", acl, "The ACL is not valid.")),
    }
}

/// The Swift ACLs of the canned ACL in `x-amz-acl`; none means the owner alone.
pub(super) fn canned(call: &Call) -> S3Result<HeaderMap> {
    if let Some(name) = call
        .headers
        .keys()
        .find(|name| name.as_str().starts_with("x-amz-grant-"))
    {
        return Err(
            S3Error::new(Code::NotImplemented, "Grants are not implemented.").with("Header", name.as_str())
        );
    }
    let mut access = HeaderMap::new();
    match call.header("x-amz-acl") {
        None | Some("private" | "bucket-owner-full-control" | "bucket-owner-read") => {}
        Some("public-read") => set(&mut access, "x-container-read", PUBLIC_READ),
        Some("public-read-write") => {
            set(&mut access, "x-container-read", PUBLIC_READ);
            set(&mut access, "x-container-write", PUBLIC_WRITE);
        }
        Some(acl @ ("authenticated-read" | "aws-exec-read" | "log-delivery-write")) => {
            return Err(S3Error::new(
                Code::NotImplemented,
                format!("The ACL {acl} is not implemented."),
            ));
        }
        Some(acl) => return Err(S3Error::argument("x-amz-acl", acl, "The ACL is not valid.")),
    }
    Ok(access)
}

fn policy(identity: &Identity, is_readable: bool, is_writable: bool) -> String {
    Xml::document("AccessControlPolicy", |xml| {
        acl::owner(xml, "Owner", &identity.user);
        xml.within("AccessControlList", |xml| {
            xml.within("Grant", |xml| {
                xml.typed("Grantee", "CanonicalUser", |xml| {
                    xml.leaf("ID", &identity.user);
                    xml.leaf("DisplayName", &identity.user);
                });
                xml.leaf("Permission", "FULL_CONTROL");
            });
            for (granted, permission) in [(is_readable, "READ"), (is_writable, "WRITE")] {
                if granted {
                    xml.within("Grant", |xml| {
                        xml.typed("Grantee", "Group", |xml| xml.leaf("URI", ALL_USERS));
                        xml.leaf("Permission", permission);
                    });
                }
            }
        });
    })
}

fn is_public(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|acl| acl.split(',').any(|entry| entry.trim() == ".r:*"))
}

pub(super) async fn get_bucket(call: Call) -> S3Result<Response> {
    let headers = call.swift.head_bucket(&call.bucket).await?;
    let readable = is_public(&headers, "x-container-read");
    Ok(document(policy(
        &call.identity,
        readable,
        is_public(&headers, "x-container-write"),
    )))
}

pub(super) async fn get_object(call: Call) -> S3Result<Response> {
    call.swift
        .head_version(&call.bucket, &call.key, call.version())
        .await?;
    Ok(document(policy(&call.identity, false, false)))
}

/// Sets a canned ACL, or takes a document that says no more than that the owner has full control.
pub(super) async fn put_bucket(mut call: Call) -> S3Result<Response> {
    let is_canned = call.headers.contains_key("x-amz-acl");
    let mut access = canned(&call)?;
    let body = call.document().await?;
    if !is_canned || !body.is_empty() {
        check_private(&body, &call.identity)?;
    }
    call.swift.head_bucket(&call.bucket).await?;
    for name in ["x-container-read", "x-container-write"] {
        if !access.contains_key(name) {
            set(&mut access, name, "");
        }
    }
    let response = call
        .swift
        .send(call.swift.container(Method::POST, &call.bucket).headers(access))
        .await?;
    match response.status() {
        status if status.is_success() => Ok(empty(StatusCode::OK)),
        status => Err(bucket_error(status, &call.bucket)),
    }
}

/// Objects have no ACL of their own: only what is true anyway can be set.
pub(super) async fn put_object(mut call: Call) -> S3Result<Response> {
    crate::metadata::refuse_unsupported(&call.headers)?;
    refuse_for_objects(&call.headers)?;
    let is_canned = call.headers.contains_key("x-amz-acl");
    let body = call.document().await?;
    if !is_canned || !body.is_empty() {
        check_private(&body, &call.identity)?;
    }
    call.swift.head_object(&call.bucket, &call.key).await?;
    Ok(empty(StatusCode::OK))
}

fn check_private(body: &[u8], identity: &Identity) -> S3Result<()> {
    let root = parse(body).map_err(|_| S3Error::from(Code::MalformedACLError))?;
    let grants = root
        .child("AccessControlList")
        .filter(|_| root.name == "AccessControlPolicy");
    let grants = grants.ok_or_else(|| S3Error::from(Code::MalformedACLError))?;
    for grant in grants.all("Grant") {
        let grantee = grant
            .child("Grantee")
            .and_then(|grantee| grantee.child_text("ID"));
        if grantee != Some(identity.user.as_str()) || grant.child_text("Permission") != Some("FULL_CONTROL") {
            return Err(S3Error::new(
                Code::NotImplemented,
                "Grants to others are not implemented.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_no_list_of_their_own() {
        let code = |name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            set(&mut headers, name, value);
            refuse_for_objects(&headers).map_err(|error| error.code)
        };
        assert_eq!(code("x-amz-acl", "private"), Ok(()));
        assert_eq!(code("x-amz-acl", "public-read"), Err(Code::NotImplemented));
        assert_eq!(code("x-amz-acl", "nonsense"), Err(Code::InvalidArgument));
        assert_eq!(code("x-amz-grant-read", "id=a"), Err(Code::NotImplemented));
    }
}
