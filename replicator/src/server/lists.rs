//! Answers about many records at once.

use super::{Asked, Refusal, packed, read_json};
use crate::transfer;
use crate::wire;
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::ObjectRecord;
use martlet_service::{Body, Response, headers};
use martlet_storage::{Device, StorageError};

/// Versions below the prefix in the path, and below those that `also` names: with their bytes then.
pub(super) async fn versions(asked: &Asked<'_>) -> Result<Response, Refusal> {
    asked.only_get()?;
    let space = asked.space()?;
    let prefix = asked.words.get(1).and_then(|word| wire::parse_prefix(word));
    let prefix = prefix.ok_or(Refusal::BadRequest("not a prefix"))?;
    let after: Option<PathHash> = asked.number("after")?;
    let limit = asked.limit(wire::MAX_VERSIONS)?;
    let Some(also) = asked.query.get("also") else {
        let versions = asked.device.versions(space, prefix, after, limit).await?;
        return Ok(packed(wire::pack_versions(&versions)));
    };
    let mut prefixes = wire::parse_prefixes(also).ok_or(Refusal::BadRequest("prefixes do not parse"))?;
    prefixes.push(prefix);
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut found = Vec::new();
    let reached = after.map(|after| after.prefix());
    for prefix in prefixes {
        if reached.is_some_and(|reached| prefix < reached) {
            continue;
        }
        let after = after.filter(|_| reached == Some(prefix));
        let room = limit - found.len();
        found.extend(asked.device.versions(space, prefix, after, room).await?);
        if found.len() >= limit {
            break;
        }
    }
    let mut response = packed(wire::pack_sized(&found));
    headers::set(response.headers_mut(), wire::SIZED, "1");
    Ok(response)
}

/// Small objects, one behind the other. Those that cannot be given are left out.
pub(super) async fn send_objects(asked: &Asked<'_>, body: Body) -> Result<Response, Refusal> {
    if asked.method != Method::PUT {
        return Err(Refusal::WrongMethod);
    }
    let policy = asked.policy()?;
    let named: Vec<String> = read_json(body, wire::MAX_PACK_BYTES).await?;
    if named.len() > wire::MAX_PACKED {
        return Err(Refusal::BadRequest("too many hashes"));
    }
    let hashes: Result<Vec<PathHash>, _> = named.iter().map(|hash| hash.parse()).collect();
    let hashes = hashes.map_err(|_| Refusal::BadRequest("not a path hash"))?;
    let mut out = BytesMut::new();
    for hash in hashes {
        if let Some((record, body)) = small_object(&asked.device, policy, hash).await? {
            let before = out.len();
            transfer::pack(&mut out, &record, body.as_deref())?;
            if out.len() > wire::MAX_PACK_BYTES {
                out.truncate(before);
                break;
            }
        }
    }
    let response = packed(out.freeze());
    debug_assert_eq!(response.status(), StatusCode::OK);
    Ok(response)
}

/// `None`: it is not there, or is better fetched alone, where its damage is told.
async fn small_object(
    device: &Device,
    policy: PolicyIndex,
    hash: PathHash,
) -> Result<Option<(ObjectRecord, Option<Bytes>)>, Refusal> {
    let open = match device.open_object(policy, hash).await {
        Ok(Some(open)) => open,
        Ok(None) | Err(StorageError::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(length) = open.record.data.as_ref().map(|data| data.length) else {
        return Ok(Some((open.record, None)));
    };
    if length > wire::MAX_PACKED_BODY {
        return Ok(None);
    }
    let mut reader = open.body;
    let mut body = BytesMut::with_capacity(length as usize);
    loop {
        match reader.next().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Some((open.record, Some(body.freeze())))),
            Err(_) => return Ok(None),
        }
    }
}
