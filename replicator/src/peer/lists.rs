//! Questions about many records at once: a refill of a device is made of them.

use super::{Peer, PeerError, malformed, refused};
use crate::transfer::{self, Arrival};
use crate::wire;
use http::StatusCode;
use martlet_protocol::hash::PathHash;
use martlet_protocol::policy::PolicyIndex;
use martlet_service::{collect, headers};
use martlet_storage::{Space, Version};

/// What a peer holds below some prefixes.
pub struct TheirVersions {
    /// Ascending by hash.
    pub versions: Vec<Version>,
    /// It gives several objects in one answer. One that does not tells no sizes either: they are 0.
    pub packs: bool,
}

/// Adds a page of versions to those before it; whether it is the last.
///
/// # Errors
/// When they do not ascend.
pub(super) fn add_page(versions: &mut Vec<Version>, page: Vec<Version>) -> Result<bool, PeerError> {
    let is_ascending = versions
        .last()
        .into_iter()
        .chain(&page)
        .is_sorted_by(|a, b| a.hash < b.hash);
    if !is_ascending {
        return Err(malformed("versions out of order"));
    }
    let is_full = page.len() >= wire::MAX_VERSIONS;
    versions.extend(page);
    Ok(!is_full)
}

impl Peer {
    /// All versions below the given prefixes (ascending, at most [`wire::MAX_NAMED_PREFIXES`]).
    pub async fn versions_of(&self, space: Space, prefixes: &[u16]) -> Result<TheirVersions, PeerError> {
        let mut told = TheirVersions {
            versions: Vec::new(),
            packs: true,
        };
        let Some((first, others)) = prefixes.split_first() else {
            return Ok(told);
        };
        let path = format!("versions/{}/{first:04x}", wire::space_name(space));
        let also = wire::write_prefixes(others);
        loop {
            let mut query = format!("also={also}");
            if let Some(last) = told.versions.last() {
                query.push_str(&format!("&after={}", last.hash));
            }
            let (map, bytes) = self.get(&path, Some(query)).await?;
            if headers::text(&map, wire::SIZED) != Some("1") {
                return self.versions_one_by_one(space, prefixes).await;
            }
            let page = wire::unpack_sized(&bytes).map_err(|_| malformed("versions"))?;
            if add_page(&mut told.versions, page)? {
                return Ok(told);
            }
        }
    }

    /// As a peer from before such questions answers.
    async fn versions_one_by_one(&self, space: Space, prefixes: &[u16]) -> Result<TheirVersions, PeerError> {
        let mut told = TheirVersions {
            versions: Vec::new(),
            packs: false,
        };
        for prefix in prefixes {
            told.versions.extend(self.versions(space, *prefix).await?);
        }
        Ok(told)
    }

    /// Small objects, in one answer. What is not there (any more), is damaged, large, or has no room is left out. Only
    /// for peers that [`TheirVersions::packs`]; at most [`wire::MAX_PACKED`].
    pub async fn fetch_small(
        &self,
        policy: PolicyIndex,
        hashes: &[PathHash],
    ) -> Result<Vec<Arrival>, PeerError> {
        let named: Vec<String> = hashes.iter().map(PathHash::to_string).collect();
        let path = format!("objects/{}", wire::space_name(Space::Objects(policy)));
        let request = self.json_request(&path, &named)?;
        let response = self.answer(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response.status()));
        }
        let limit = wire::MAX_PACK_BYTES + wire::MAX_RECORD_BYTES;
        let bytes = self.in_time(collect(response.into_body(), limit)).await?;
        let bytes = bytes.map_err(|_| PeerError::Silent("the answer broke off".into()))?;
        Ok(transfer::unpack(bytes)?)
    }
}
