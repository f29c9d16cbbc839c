//! What the core asks of whoever guards it, once it knows the container's rules (Swift's delayed authorisation).

use super::info::AccountInfo;
use http::Method;
use martlet_protocol::name::Target;
use martlet_protocol::version::version_in;
use martlet_service::Response;

/// What a request needs to be allowed.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    pub method: &'a Method,
    pub target: &'a Target,
    /// `X-Container-Read` of the container, also for an object in it.
    pub container_read_acl: Option<&'a str>,
    /// `X-Container-Write` of the container, also for an object in it.
    pub container_write_acl: Option<&'a str>,
    /// The account, for requests about accounts and containers; objects are judged without asking for it. Its system
    /// metadata holds account ACLs (`core-access-control`).
    pub account: Option<&'a AccountInfo>,
    /// A GET or HEAD of a container: `.rlistings` is then needed beside a referrer's right to read.
    pub is_listing: bool,
}

impl Need<'_> {
    /// The container ACL that may allow this request: read for GET and HEAD, write for changes of objects. Changes of
    /// containers, versions that are named, and everything about accounts are for the account's own people.
    pub fn acl(&self) -> Option<&str> {
        let reads = *self.method == Method::GET || *self.method == Method::HEAD;
        match self.target {
            Target::Account(_) => None,
            Target::Container(_) if reads => self.container_read_acl,
            Target::Container(_) => None,
            Target::Object(path) if version_in(&path.container, &path.object).is_some() => None,
            Target::Object(_) if reads => self.container_read_acl,
            Target::Object(_) => self.container_write_acl,
        }
    }
}

/// Says yes, or gives the refusal that the client gets (401, 403).
pub trait Authorize: Send + Sync {
    fn authorize(&self, need: Need<'_>) -> Result<(), Response>;
}

/// Allows everything: for requests that were judged before they reached the core.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorize for AllowAll {
    fn authorize(&self, _: Need<'_>) -> Result<(), Response> {
        Ok(())
    }
}
