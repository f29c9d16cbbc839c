//! Who signed this request? Tells the four ways apart, checks the one that was used, and hands on what the body
//! still has to prove.

pub mod canonical;
mod claim;
pub mod presigned;
pub mod v2;
pub mod v4;

pub use claim::Claim;

use crate::errors::{Code, S3Error, S3Result};
use http::request::Parts;
use martlet_protocol::identity::Identity;
use martlet_service::OddHeaders;
use subtle::ConstantTimeEq;

/// How far a client's clock may be from ours, in seconds, either way.
pub const MAX_SKEW_SECS: u64 = 15 * 60;

/// What the body must prove while it streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the signature does not cover it.
    Unsigned,
    /// Its SHA-256 was signed.
    Sha256([u8; 32]),
    /// aws-chunked; each chunk is signed, and the trailer too if there is one.
    SignedChunks { seed: v4::ChunkSeed, trailer: bool },
    /// aws-chunked without signatures, with a trailer.
    UnsignedChunks,
}

impl Payload {
    /// Whether the body is in aws-chunked form.
    pub fn is_chunked(&self) -> bool {
        matches!(self, Payload::SignedChunks { .. } | Payload::UnsignedChunks)
    }
}

/// A request whose signature holds.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub identity: Identity,
    pub payload: Payload,
}

/// What reading a signature needs besides the request.
pub struct Checker<'a> {
    pub region: &'a str,
    pub now_secs: u64,
    /// `/bucket` when the bucket came from the host name: Signature V2 signs it as part of the resource.
    pub host_bucket: Option<&'a str>,
}

/// The one way a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    V4Header,
    V4Query,
    V2Header,
    V2Query,
}

impl Checker<'_> {
    /// Reads what the signature claims. Fails closed: no signature, or two of them, is an error.
    pub fn read(&self, parts: &Parts) -> S3Result<Claim> {
        match scheme(parts)? {
            Scheme::V4Header => v4::read_header(self, parts),
            Scheme::V4Query => presigned::read_v4(self, parts),
            Scheme::V2Header => v2::read_header(self, parts),
            Scheme::V2Query => presigned::read_v2(self, parts),
        }
    }

    /// Refuses a request whose clock is too far from ours.
    pub(crate) fn check_skew(&self, request_secs: u64) -> S3Result<()> {
        if request_secs.abs_diff(self.now_secs) > MAX_SKEW_SECS {
            return Err(S3Error::from(Code::RequestTimeTooSkewed)
                .with("RequestTime", canonical::amz_date(request_secs))
                .with("ServerTime", canonical::amz_date(self.now_secs))
                .with("MaxAllowedSkewMilliseconds", (MAX_SKEW_SECS * 1000).to_string()));
        }
        Ok(())
    }
}

fn scheme(parts: &Parts) -> S3Result<Scheme> {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| canonical::pairs(query).any(|(key, _)| key == name.as_bytes());
    let mut authorizations = parts.headers.get_all(http::header::AUTHORIZATION).iter();
    let header = match (authorizations.next(), authorizations.next()) {
        (_, Some(_)) => return Err(Code::InvalidArgument.into()),
        (Some(value), None) => Some(
            value
                .to_str()
                .map_err(|_| S3Error::from(Code::AuthorizationHeaderMalformed))?,
        ),
        (None, None) => None,
    };
    let v4_query = has("X-Amz-Algorithm") || has("X-Amz-Signature") || has("X-Amz-Credential");
    let v2_query = has("AWSAccessKeyId") || (has("Signature") && has("Expires"));
    let in_header = header.is_some_and(|value| value.starts_with("AWS"));
    if usize::from(v4_query) + usize::from(v2_query) + usize::from(in_header) > 1 {
        return Err(S3Error::new(
            Code::InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        ));
    }
    match header {
        _ if v4_query => Ok(Scheme::V4Query),
        _ if v2_query => Ok(Scheme::V2Query),
        Some(value) if value.starts_with("AWS4-") => Ok(Scheme::V4Header),
        Some(value) if value.starts_with("AWS ") => Ok(Scheme::V2Header),
        Some(_) => Err(S3Error::new(
            Code::InvalidArgument,
            "Unsupported Authorization Type",
        )),
        None => Err(Code::AccessDenied.into()),
    }
}

/// Compares two signatures in a time that does not tell where they differ.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    bool::from(left.ct_eq(right))
}

/// Refuses `x-amz-*` headers that the signature does not cover: someone between the client and us could have added
/// them, and they can change what the request does. `x-amz-content-sha256` is part of what is signed either way.
pub(crate) fn refuse_unsigned(parts: &Parts, is_signed: impl Fn(&str) -> bool) -> S3Result<()> {
    let odd = parts.extensions.get::<OddHeaders>();
    let odd_names = odd
        .iter()
        .flat_map(|odd| odd.0.iter().map(|header| header.name.as_str()));
    let unsigned: Vec<&str> = parts
        .headers
        .keys()
        .map(|name| name.as_str())
        .chain(odd_names)
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !is_signed(name))
        .collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(S3Error::new(
        Code::AccessDenied,
        "There were headers present in the request which were not signed",
    )
    .with("HeadersNotSigned", unsigned.join(", ")))
}
