//! Multipart uploads: sessions, parts, and the completion that makes them one object.
//!
//! A session is an object `<key> NUL <upload id>` in the hidden container `NUL mpu-uploads NUL <bucket>`; it holds the
//! metadata the object is to have. Parts are objects `<key>/<upload id>/<number in 8 digits>` in the hidden container
//! `NUL mpu NUL <bucket>`. Completion stores a static-large-object manifest over the parts under the key itself, marked
//! with the upload id, by which the proxy knows whose parts go when the object goes. Sessions have a container of their
//! own so that listing them costs what there are of them, not what there are of parts.
//!
//! Invariant: parts of a completed object are never removed by an abort, because an abort looks at the object first.

mod abort;
mod complete;
mod create;
mod list;
mod part;
mod session;

pub(super) use abort::abort;
pub(super) use complete::complete;
pub(super) use create::create;
pub(super) use list::{list_parts, list_uploads};
pub(super) use part::{copy_part, put_part, range_of_part};
pub(super) use session::remove_hidden_containers;
