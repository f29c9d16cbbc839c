//! PUT of a link: checked, for a static one with a look at the target, and stored as an object of no bytes.

use super::TrustedTarget;
use super::follow::Follow;
use super::link::Link;
use crate::context::Origin;
use crate::pipeline::Next;
use crate::steps::answer;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use martlet_protocol::header;
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::version::MD5_OF_NOTHING;
use martlet_service::{Body, Request, Response, headers};

pub async fn put(mut request: Request, next: Next, path: ObjectPath) -> Result<Response, Box<Response>> {
    if has_body(&mut request).await {
        let words = "Symlink requests require a zero byte body";
        return Err(Box::new(answer::words(StatusCode::BAD_REQUEST, words)));
    }
    let (mut link, target) = Link::asked(request.headers(), &path)
        .map_err(|(status, words)| Box::new(answer::words(status, words)))?;
    if link.etag.is_none() {
        link.bytes = None;
        if !has_type(request.headers()) {
            let kind = HeaderValue::from_static("application/symlink");
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
    } else if request.extensions().get::<TrustedTarget>().is_none() {
        link = prove(&mut request, next.clone(), link, target).await?;
    }
    let map = request.headers_mut();
    link.keep(map);
    let etag = headers::text(map, header::OVERRIDE_ETAG).unwrap_or(MD5_OF_NOTHING);
    let row = format!("{etag}; {}", link.row_parameters());
    headers::set(map, header::OVERRIDE_ETAG, &row);
    map.remove(http::header::TRANSFER_ENCODING);
    map.insert(CONTENT_LENGTH, HeaderValue::from(0));
    *request.body_mut() = Body::empty();
    Ok(next.run(request).await)
}

/// A body of unknown length is looked at for its first byte.
async fn has_body(request: &mut Request) -> bool {
    let announced = headers::text(request.headers(), CONTENT_LENGTH.as_str())
        .map(|length| length.trim().parse::<u64>().unwrap_or(u64::MAX))
        .or_else(|| request.body().content_length());
    if let Some(length) = announced {
        return length != 0;
    }
    while let Some(chunk) = request.body_mut().next().await {
        match chunk {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(_) | Err(_) => return true,
        }
    }
    false
}

fn has_type(map: &HeaderMap) -> bool {
    map.get(CONTENT_TYPE).is_some_and(|value| !value.is_empty())
}

/// Looks at the target of a static link: it must be there and have the ETag. The link gets its length, and its type
/// where the client gives none.
async fn prove(
    request: &mut Request,
    next: Next,
    mut link: Link,
    target: ObjectPath,
) -> Result<Link, Box<Response>> {
    let account = target.account.clone();
    let location = format!("/v1{}", target.path());
    let look = Origin::of(request).request(Method::HEAD, Target::Object(target), "");
    let etag = link.etag.clone().unwrap_or_default();
    let follow = Follow::proving(next, account, location, etag);
    let found = follow.run(look).await?;
    if found.status() == StatusCode::NOT_FOUND {
        let mut response = answer::words(StatusCode::CONFLICT, "X-Symlink-Target does not exist");
        if let Some(target) = found.headers().get(CONTENT_LOCATION) {
            response.headers_mut().insert(CONTENT_LOCATION, target.clone());
        }
        return Err(Box::new(response));
    }
    if !found.status().is_success() {
        return Err(Box::new(answer::status(found.status())));
    }
    let text = |name: &str| headers::text(found.headers(), name).filter(|value| !value.is_empty());
    let bytes = text(crate::steps::slo::SLO_SIZE)
        .or(text(CONTENT_LENGTH.as_str()))
        .unwrap_or("0");
    link.bytes = Some(bytes.to_owned());
    // The row says of a link to a large object what the row of the large object itself says.
    let parameters = match text(header::OVERRIDE_ETAG) {
        Some(row) => row.split_once(';').map(|(_, parameters)| parameters.to_owned()),
        None => text(crate::steps::slo::SLO_ETAG).map(|etag| format!(" slo_etag={etag}")),
    };
    let map = request.headers_mut();
    if let Some(parameters) = parameters
        && !map.contains_key(header::OVERRIDE_ETAG)
    {
        headers::set(
            map,
            header::OVERRIDE_ETAG,
            &format!("{MD5_OF_NOTHING};{parameters}"),
        );
    }
    if !has_type(map)
        && let Some(value) = found.headers().get(CONTENT_TYPE)
    {
        map.insert(CONTENT_TYPE, value.clone());
    }
    Ok(link)
}
