//! Who may do what, where access lists are S3's own (`s3_acl`): decided for every action before it is done.
//!
//! An action that a list allows is done with the rights of the account's owner, for Swift knows nothing of the list. A
//! bucket or object without a list, as Swift makes them, is Swift's: the action is done in the user's own name, and
//! Swift's ACLs judge. So both doors show the same, and nothing is open that neither kind of list opens.

use super::Call;
use crate::acl::{Acl, Permission};
use crate::errors::{Code, S3Error, S3Result};
use crate::route::Action;
use crate::swift::{Ask, Swift, status_error};
use http::{HeaderMap, Method, StatusCode};
use martlet_service::Response;

/// What an action needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The action judges for itself: there is no one bucket or object to look at, or its own answer tells.
    Itself,
    /// To own the bucket.
    Bucket(Right),
    Object(Right),
}

/// Owners may everything; others what they were granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Owner,
    Granted(Permission),
}

impl Right {
    fn is_given(self, acl: &Acl, user: &str) -> bool {
        match self {
            Right::Owner => acl.is_owner(user),
            Right::Granted(permission) => acl.allows(user, permission),
        }
    }
}

const READ: Right = Right::Granted(Permission::Read);
const WRITE: Right = Right::Granted(Permission::Write);

fn need(action: Action) -> Need {
    match action {
        Action::ListBuckets
        | Action::CreateBucket
        | Action::DeleteObjects
        | Action::GetObject
        | Action::HeadObject => Need::Itself,
        Action::DeleteBucket
        | Action::GetBucketLocation
        | Action::GetBucketVersioning
        | Action::GetEmptyConfiguration(_)
        | Action::GetMissingConfiguration(_)
        | Action::GetRequestPayment => Need::Bucket(Right::Owner),
        Action::HeadBucket
        | Action::ListObjects
        | Action::ListObjectsV2
        | Action::ListObjectVersions
        | Action::ListMultipartUploads
        | Action::ListParts => Need::Bucket(READ),
        Action::PutBucketVersioning
        | Action::PutObject
        | Action::DeleteObject
        | Action::CreateMultipartUpload
        | Action::UploadPart
        | Action::CompleteMultipartUpload
        | Action::AbortMultipartUpload => Need::Bucket(WRITE),
        Action::GetBucketAcl => Need::Bucket(Right::Granted(Permission::ReadAcp)),
        Action::PutBucketAcl => Need::Bucket(Right::Granted(Permission::WriteAcp)),
        Action::GetObjectTagging | Action::GetObjectAttributes | Action::GetMissingObjectConfiguration(_) => {
            Need::Object(READ)
        }
        Action::GetObjectAcl => Need::Object(Right::Granted(Permission::ReadAcp)),
        Action::PutObjectAcl => Need::Object(Right::Granted(Permission::WriteAcp)),
    }
}

/// Lets the action go on, with the rights it has, or refuses it.
pub(super) async fn admit(action: Action, call: &mut Call) -> S3Result<()> {
    if call.header("x-amz-expected-bucket-owner").is_some() && !call.bucket.is_empty() {
        check_expected_owner(call).await?;
    }
    if !call.config().s3_acl {
        return Ok(());
    }
    match need(action) {
        Need::Itself => Ok(()),
        Need::Bucket(right) => bucket(call, right).await,
        Need::Object(right) => object(call, right).await,
    }
}

/// Judges the bucket of the request by its list, and keeps what was found.
pub(super) async fn bucket(call: &mut Call, right: Right) -> S3Result<()> {
    let account = call.swift.as_account();
    let headers = account.head_bucket(&call.bucket).await?;
    let Some(acl) = Acl::of_bucket(&headers) else {
        return Ok(());
    };
    if !right.is_given(&acl, &call.identity.user) {
        return Err(Code::AccessDenied.into());
    }
    call.swift = account;
    call.found.bucket = Some(headers);
    call.found.bucket_acl = Some(acl);
    Ok(())
}

/// Judges the object of the request by its list, and keeps what was found.
async fn object(call: &mut Call, right: Right) -> S3Result<()> {
    let account = call.swift.as_account();
    let ask = account
        .object(Method::HEAD, &call.bucket, &call.key)
        .query_if("version-id", call.version());
    let response = account.send(ask).await?;
    if !response.status().is_success() {
        return Err(missing(call, response.status(), &call.bucket, &call.key).await);
    }
    let headers = response.into_parts().0.headers;
    let Some(acl) = Acl::of_object(&headers) else {
        return Ok(());
    };
    if !right.is_given(&acl, &call.identity.user) {
        return Err(Code::AccessDenied.into());
    }
    call.swift = account;
    call.found.object = Some(headers);
    call.found.object_acl = Some(acl);
    Ok(())
}

/// Reads an object, or looks at it, in one request: its own answer carries the list it is judged by. The answer of the
/// inside is handed on only when the list, or Swift, allows it; what it says of a missing object is an error.
pub(super) async fn read_object(
    call: &Call,
    bucket: &str,
    key: &str,
    ask: impl Fn(&Swift) -> Ask,
) -> S3Result<Response> {
    if !call.config().s3_acl {
        let response = call.user.send(ask(&call.user)).await?;
        return match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            status => Err(missing(call, status, bucket, key).await),
        };
    }
    let account = call.user.as_account();
    let asked = ask(&account);
    let version = asked.query_value("version-id");
    let response = account.send(asked).await?;
    let found = match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Acl::of_object(response.headers()),
        // An answer without the object's own headers: look at those first.
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let headers = account.head_version(bucket, key, version.as_deref()).await?;
            Acl::of_object(&headers)
        }
        status => return Err(missing(call, status, bucket, key).await),
    };
    match found {
        Some(acl) if READ.is_given(&acl, &call.identity.user) => Ok(response),
        Some(_) => Err(Code::AccessDenied.into()),
        None if call.user.owns_account() => Ok(response),
        None => {
            let response = call.user.send(ask(&call.user)).await?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                    Ok(response)
                }
                status => Err(missing(call, status, bucket, key).await),
            }
        }
    }
}

/// What a status about an object means. Who may not list the bucket does not learn which of its objects exist.
pub(super) async fn missing(call: &Call, status: StatusCode, bucket: &str, key: &str) -> S3Error {
    let version = call
        .version()
        .filter(|_| key == call.key && bucket == call.bucket);
    if status == StatusCode::BAD_REQUEST
        && let Some(version) = version
    {
        return S3Error::argument("versionId", version, "Invalid version id specified");
    }
    if status != StatusCode::NOT_FOUND {
        return status_error(status);
    }
    let looker = if call.config().s3_acl {
        call.user.as_account()
    } else {
        call.user.clone()
    };
    let headers = match looker.head_bucket(bucket).await {
        Ok(headers) => headers,
        Err(error) => return error,
    };
    let may_list = match Acl::of_bucket(&headers) {
        Some(acl) if call.config().s3_acl => READ.is_given(&acl, &call.identity.user),
        _ => call.user.owns_account() || call.user.head_bucket(bucket).await.is_ok(),
    };
    if !may_list {
        return Code::AccessDenied.into();
    }
    match version {
        Some(version) if version != "null" => S3Error::from(Code::NoSuchVersion)
            .with("Key", key)
            .with("VersionId", version),
        _ => S3Error::from(Code::NoSuchKey).with("Key", key),
    }
}

/// `x-amz-expected-bucket-owner`: refuses to act on a bucket that has come to belong to another.
async fn check_expected_owner(call: &Call) -> S3Result<()> {
    let wanted = call.header("x-amz-expected-bucket-owner").unwrap_or_default();
    let is_own = wanted == call.identity.user || wanted == call.identity.account;
    let owner = if call.config().s3_acl {
        match call.swift.as_account().head_bucket(&call.bucket).await {
            Ok(headers) => Acl::of_bucket(&headers).map(|acl| acl.owner),
            Err(error) if error.code == Code::NoSuchBucket => None,
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    match owner {
        Some(owner) if owner == wanted => Ok(()),
        None if is_own => Ok(()),
        _ => Err(Code::AccessDenied.into()),
    }
}

/// What was found out about a request while it was judged.
#[derive(Default)]
pub(crate) struct Found {
    pub bucket: Option<HeaderMap>,
    pub bucket_acl: Option<Acl>,
    pub object: Option<HeaderMap>,
    pub object_acl: Option<Acl>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::canned;

    #[test]
    fn what_changes_a_bucket_needs_more_than_to_read_it() {
        let list = canned("public-read", "a:owner", "a:owner").unwrap();
        let may = |action: Action, user: &str| match need(action) {
            Need::Itself => None,
            Need::Bucket(right) | Need::Object(right) => Some(right.is_given(&list, user)),
        };
        for (action, others) in [
            (Action::ListObjects, true),
            (Action::ListParts, true),
            (Action::GetObjectTagging, true),
            (Action::PutObject, false),
            (Action::DeleteObject, false),
            (Action::UploadPart, false),
            (Action::PutBucketVersioning, false),
            (Action::DeleteBucket, false),
            (Action::GetBucketLocation, false),
            (Action::GetBucketAcl, false),
            (Action::PutBucketAcl, false),
            (Action::GetObjectAcl, false),
            (Action::PutObjectAcl, false),
        ] {
            assert_eq!(may(action, "a:other"), Some(others), "{action:?}");
            assert_eq!(may(action, "a:owner"), Some(true), "{action:?}");
        }
    }
}
