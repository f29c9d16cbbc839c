//! Access lists of buckets and objects: reading and setting them, and the lists that new things begin with.

use super::{Call, document, empty, swift_acl, versioning};
use crate::acl::{self, Acl, OF_BUCKET, OF_OBJECT};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata::{self, LISTING_ETAG, MULTIPART, S3_ETAG};
use crate::ops::put::store;
use crate::swift::bucket_error;
use crate::xml::write::Xml;
use http::{HeaderMap, Method, StatusCode};
use martlet_protocol::percent::{quote, quote_segment};
use martlet_service::headers::{is_true, set, text};
use martlet_service::{Body, Response};

/// Largest document of a list, in bytes.
const MAX_DOCUMENT_BYTES: usize = 200 * 1024;

/// Writes an owner; S3's canonical user id is the user's name here.
pub(super) fn owner(xml: &mut Xml, element: &str, user: &str) {
    xml.within(element, |xml| {
        xml.leaf("ID", user);
        xml.leaf("DisplayName", user);
    });
}

/// Headers that give a new object its list. An object in a bucket without a list, which is Swift's, gets none either
/// unless the client asks for one.
pub(super) fn for_new_object(call: &Call) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if !call.config().s3_acl {
        swift_acl::refuse_for_objects(&call.headers)?;
        return Ok(headers);
    }
    let user = call.identity.user.as_str();
    let bucket_acl = call.found.bucket_acl.as_ref();
    let bucket_owner = bucket_acl.map_or(user, |acl| acl.owner.as_str());
    let wanted = acl::from_headers(&call.headers, bucket_owner, user)?;
    let list = match bucket_acl {
        Some(_) => wanted.or_else(|| acl::canned("private", bucket_owner, user)),
        None => wanted,
    };
    if let Some(list) = list {
        set(&mut headers, OF_OBJECT, &list.to_stored());
    }
    Ok(headers)
}

/// The list a new bucket begins with.
pub(super) fn for_new_bucket(call: &Call) -> S3Result<Option<Acl>> {
    let user = call.identity.user.as_str();
    let wanted = acl::from_headers(&call.headers, user, user)?;
    Ok(wanted.or_else(|| acl::canned("private", user, user)))
}

/// Keeps a bucket's list.
pub(super) async fn store_for_bucket(call: &Call, list: &Acl) -> S3Result<()> {
    let ask = call
        .swift
        .container(Method::POST, &call.bucket)
        .header(OF_BUCKET, &list.to_stored());
    match call.swift.send(ask).await?.status() {
        status if status.is_success() => Ok(()),
        status => Err(bucket_error(status, &call.bucket)),
    }
}

pub(super) async fn get_bucket(call: Call) -> S3Result<Response> {
    match &call.found.bucket_acl {
        Some(list) => Ok(document(acl::write(list))),
        None => swift_acl::get_bucket(call).await,
    }
}

pub(super) async fn get_object(call: Call) -> S3Result<Response> {
    match &call.found.object_acl {
        Some(list) => Ok(document(acl::write(list))),
        None => swift_acl::get_object(call).await,
    }
}

pub(super) async fn put_bucket(mut call: Call) -> S3Result<Response> {
    if !call.config().s3_acl {
        return swift_acl::put_bucket(call).await;
    }
    // A bucket without a list may be given one by those who own the account: Swift lets nobody else change it.
    if call.found.bucket_acl.is_none() && !call.swift.owns_account() {
        return Err(Code::AccessDenied.into());
    }
    let user = call.identity.user.clone();
    let owner = call
        .found
        .bucket_acl
        .as_ref()
        .map_or(user, |acl| acl.owner.clone());
    let list = wanted(&mut call, &owner, &owner).await?;
    store_for_bucket(&call, &list).await?;
    Ok(empty(StatusCode::OK))
}

/// The list belongs to the data, which is stored again with it: of an object made of parts that is its list of parts.
pub(super) async fn put_object(mut call: Call) -> S3Result<Response> {
    if !call.config().s3_acl {
        return swift_acl::put_object(call).await;
    }
    metadata::refuse_unsupported(&call.headers)?;
    if call.version().is_some() {
        return Err(S3Error::new(
            Code::NotImplemented,
            "The access list of a version cannot be changed.",
        ));
    }
    let stored = match call.found.object.take() {
        Some(stored) => stored,
        None if call.swift.owns_account() => call.swift.head_object(&call.bucket, &call.key).await?,
        None => return Err(Code::AccessDenied.into()),
    };
    let bucket = call.swift.as_account().head_bucket(&call.bucket).await?;
    let user = call.identity.user.as_str();
    let bucket_owner = Acl::of_bucket(&bucket).map_or_else(|| user.to_owned(), |acl| acl.owner);
    let owner = Acl::of_object(&stored).map_or_else(|| user.to_owned(), |acl| acl.owner);
    let list = wanted(&mut call, &bucket_owner, &owner).await?;
    let source = format!("/{}/{}", quote_segment(&call.bucket), quote(&call.key));
    let mut headers = HeaderMap::new();
    set(&mut headers, "x-copy-from", &source);
    set(&mut headers, OF_OBJECT, &list.to_stored());
    // Two versions that share their parts would lose them when either goes.
    if stored.contains_key(MULTIPART) && versioning::of_bucket(&bucket).is_some() {
        return Err(S3Error::new(
            Code::NotImplemented,
            "The access list of an object made of parts cannot be changed in a bucket with versions.",
        ));
    }
    let mut ask = call.swift.object(Method::PUT, &call.bucket, &call.key);
    if is_true(&stored, "x-static-large-object") {
        ask = ask.query("multipart-manifest", "get");
        // What marks the parts as this object's, so that they stay when its list of parts is replaced by itself.
        for (name, value) in &stored {
            let is_mark = [S3_ETAG, MULTIPART, LISTING_ETAG].contains(&name.as_str());
            if is_mark || name.as_str().starts_with("x-object-sysmeta-s3-checksum-") {
                headers.insert(name.clone(), value.clone());
            }
        }
        // An upload's ETag is what listings show of it, wherever it is kept.
        if let (Some(etag), false) = (text(&stored, S3_ETAG), stored.contains_key(LISTING_ETAG)) {
            set(&mut headers, LISTING_ETAG, etag);
        }
        if headers.contains_key(MULTIPART) {
            set(&mut headers, "x-backend-allow-reserved-names", "true");
        }
    }
    store(&call, ask.headers(headers).body(Body::empty(), Some(0)), None).await?;
    Ok(empty(StatusCode::OK))
}

/// The list a request asks for, in its headers or in its document, not in both. Its owner cannot be changed by it.
async fn wanted(call: &mut Call, bucket_owner: &str, owner: &str) -> S3Result<Acl> {
    let in_headers = acl::from_headers(&call.headers, bucket_owner, owner)?;
    let body = call.document_up_to(MAX_DOCUMENT_BYTES).await?;
    let list = match (in_headers, body.is_empty()) {
        (Some(_), false) => return Err(Code::UnexpectedContent.into()),
        (None, true) => {
            return Err(S3Error::from(Code::MissingSecurityHeader).with("MissingHeaderName", "x-amz-acl"));
        }
        (Some(list), true) => list,
        (None, false) => acl::read(&body)?,
    };
    if list.owner == owner {
        Ok(list)
    } else {
        Err(Code::AccessDenied.into())
    }
}

/// Whether a bucket, whose headers are at hand, is shown to the user in the list of buckets.
pub(super) fn may_see(headers: &HeaderMap, call: &Call) -> bool {
    match Acl::of_bucket(headers) {
        Some(acl) => acl.is_owner(&call.identity.user),
        None => call.swift.owns_account(),
    }
}
