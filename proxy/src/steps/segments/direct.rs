//! Reads a segment from the core itself, past the steps that would pass the request on as it came.
//!
//! A large object of a thousand segments would go through each of them a thousand times, which costs more than the
//! bytes. Most steps act on requests that only clients make, or ask for the large object's manifest alone. Some could
//! answer otherwise than the core does, and each of those shows beforehand or in the core's answer:
//!
//! - `s3_segments`: there is no container of that name, which may stand for another.
//! - `symlink`: the answer is that of a link.
//!
//! Such a segment is then asked for through all steps. Who may read it is judged here as `dispatch` judges.

use super::ObjectPiece;
use super::reader::Shared;
use crate::context;
use crate::core::segment::{Segment, SegmentRead};
use crate::core::{Authorize, Need};
use crate::steps::dispatch;
use crate::steps::guard::Standing;
use crate::steps::paths::RESERVED;
use crate::steps::symlink::link::STORED_TARGET;
use http::{Method, StatusCode};
use martlet_protocol::name::Target;
use martlet_service::headers;
use std::sync::Arc;

/// Asks for a piece; `target` is its path. `None`: a step may have a say in it.
///
/// # Errors
/// The status that a GET would have.
pub async fn read(
    shared: &Shared,
    piece: &ObjectPiece,
    target: &Arc<Target>,
) -> Result<Option<Segment>, StatusCode> {
    let (edge, origin) = (shared.source.next.edge(), &shared.source.origin);
    let is_reserved = piece.path.container.contains(RESERVED);
    let allows_reserved = is_reserved || context::allows_reserved_names(origin.headers());
    if dispatch::names_reserved(target) && !allows_reserved {
        return Ok(None);
    }
    let info = edge.core.container_of(&piece.path).await;
    if !info.exists() {
        return Ok(None);
    }
    let mut asker = origin.asker();
    // Parts of S3 uploads live under reserved names; whoever may read the manifest may read them.
    asker.is_pre_authorized |= is_reserved;
    let mut guard = dispatch::guard_against(edge, asker, Method::GET, target.clone());
    if guard.standing == Standing::Refused {
        return Err(guard.refusal().status());
    }
    if guard.wants_account() {
        Box::pin(dispatch::ask_account(edge, &mut guard, target)).await;
    }
    let need = Need {
        method: &Method::GET,
        target,
        container_read_acl: info.read_acl.as_deref(),
        container_write_acl: info.write_acl.as_deref(),
        account: None,
        is_listing: false,
    };
    guard.authorize(need).map_err(|refusal| refusal.status())?;
    let wanted = SegmentRead {
        path: &piece.path,
        policy: info.policy,
        range: (!piece.is_whole()).then_some(piece.range),
        headers: &shared.headers,
        allows_reserved,
        whole_if: STORED_TARGET,
    };
    let found = edge.core.segment(wanted).await?;
    let is_link = headers::find(&found.headers, STORED_TARGET).is_some();
    Ok((!is_link).then_some(found))
}
