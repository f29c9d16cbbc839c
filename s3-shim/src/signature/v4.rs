//! AWS Signature Version 4 in the Authorization header, and the chain of chunk signatures that follows from it.

use super::claim::{self, Claim, Kind};
use super::{Checker, Payload, canonical, refuse_unsigned};
use crate::errors::{Code, S3Error, S3Result};
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use martlet_protocol::date;
use martlet_service::OddHeaders;
use martlet_service::headers::text;
use sha2::Sha256;

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const STREAMING_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const STREAMING_UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// What the first chunk's signature is chained to.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkSeed {
    pub key: [u8; 32],
    pub date: String,
    pub scope: String,
    pub signature: String,
}

impl std::fmt::Debug for ChunkSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkSeed")
            .field("date", &self.date)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl ChunkSeed {
    /// The signature of a chunk, given the one before it and the SHA-256 of its data in hex.
    pub fn chunk_signature(&self, previous: &str, data_sha256: &str) -> String {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            "{ALGORITHM}-PAYLOAD\n{}\n{}\n{previous}\n{empty}\n{data_sha256}",
            self.date, self.scope
        );
        hex::encode(hmac(&self.key, text.as_bytes()))
    }

    /// The signature of the trailer, given the last chunk's and the SHA-256 of the trailer in hex.
    pub fn trailer_signature(&self, previous: &str, trailer_sha256: &str) -> String {
        let text = format!(
            "{ALGORITHM}-TRAILER\n{}\n{}\n{previous}\n{trailer_sha256}",
            self.date, self.scope
        );
        hex::encode(hmac(&self.key, text.as_bytes()))
    }
}

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length; the fallback can not be reached.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The key of a day, region and service.
pub fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let key = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    let key = hmac(&key, region.as_bytes());
    let key = hmac(&key, service.as_bytes());
    hmac(&key, b"aws4_request")
}

/// `access/20130524/us-east-1/s3/aws4_request`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub access_key: String,
    pub day: String,
    pub region: String,
    pub service: String,
    pub terminator: String,
}

impl Scope {
    /// Access keys may hold slashes, so the four last segments are the scope.
    pub fn parse(credential: &str) -> Option<Self> {
        let mut segments = credential.rsplitn(5, '/');
        let terminator = segments.next()?.to_owned();
        let service = segments.next()?.to_owned();
        let region = segments.next()?.to_owned();
        let day = segments.next()?.to_owned();
        let access_key = segments.next().filter(|key| !key.is_empty())?.to_owned();
        Some(Scope {
            access_key,
            day,
            region,
            service,
            terminator,
        })
    }

    pub fn text(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.day, self.region, self.service, self.terminator
        )
    }

    /// Checks everything but the access key; the error's words are wrapped by the caller's code.
    pub fn check(&self, region: &str, amz_date: &str, code: Code, opening: &str) -> S3Result<()> {
        if self.terminator != "aws4_request" {
            return Err(S3Error::new(
                code,
                format!(
                    "{opening}; incorrect terminal \"{}\". This endpoint uses \"aws4_request\".",
                    self.terminator
                ),
            ));
        }
        if self.service != "s3" {
            return Err(S3Error::new(
                code,
                format!(
                    "{opening}; incorrect service \"{}\". This endpoint belongs to \"s3\".",
                    self.service
                ),
            ));
        }
        if self.region != region {
            return Err(S3Error::new(
                code,
                format!(
                    "{opening}; the region '{}' is wrong; expecting '{region}'",
                    self.region
                ),
            )
            .with("Region", region));
        }
        if !amz_date.starts_with(&self.day) || self.day.len() != 8 {
            return Err(S3Error::new(
                code,
                format!(
                    "{opening}; Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{amz_date}\".",
                    self.day
                ),
            ));
        }
        Ok(())
    }
}

/// Everything a Version 4 signature is computed over.
pub(crate) struct Signed<'a> {
    pub parts: &'a Parts,
    pub scope: &'a Scope,
    pub amz_date: &'a str,
    pub signed_headers: &'a [String],
    pub payload_hash: &'a str,
    /// The query parameter that holds the signature itself.
    pub without: Option<&'a str>,
}

impl Signed<'_> {
    /// The canonical request; `None` when a signed header is missing.
    pub fn canonical_request(&self) -> Option<Vec<u8>> {
        let query = canonical::query(self.parts.uri.query().unwrap_or_default(), self.without);
        let mut text = format!(
            "{}\n{}\n{query}\n",
            self.parts.method,
            canonical::path(self.parts.uri.path())
        )
        .into_bytes();
        for name in self.signed_headers {
            let odd = self.parts.extensions.get::<OddHeaders>();
            let value = canonical::header_value(&self.parts.headers, name)
                .or_else(|| odd.and_then(|odd| odd.get(name)));
            let value = match value {
                Some(value) => value,
                None if name == "host" => self.parts.uri.authority()?.as_str().as_bytes().to_vec(),
                None => return None,
            };
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            text.extend_from_slice(&value);
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.signed_headers.join(";").as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.payload_hash.as_bytes());
        Some(text)
    }

    /// The claim that this signature makes.
    pub fn claim(self, signature: String) -> S3Result<Claim> {
        let canonical_request = self
            .canonical_request()
            .ok_or_else(|| S3Error::from(Code::SignatureDoesNotMatch))?;
        let unsigned = refuse_unsigned(self.parts, |name| {
            self.signed_headers.iter().any(|signed| signed == name)
        });
        Ok(Claim {
            access_key: self.scope.access_key.clone(),
            string_to_sign: claim::string_to_sign(self.amz_date, self.scope, &canonical_request),
            signature,
            kind: Kind::V4 {
                scope: self.scope.clone(),
                amz_date: self.amz_date.to_owned(),
                canonical_request,
                payload_hash: self.payload_hash.to_owned(),
                unsigned,
            },
        })
    }
}

/// The names of a `SignedHeaders` list: lower case, sorted, each once, the host among them.
pub(crate) fn signed_headers(list: &str) -> Option<Vec<String>> {
    let names: Vec<String> = list.split(';').map(str::to_owned).collect();
    let ordered = names.windows(2).all(|pair| pair[0] < pair[1]);
    let lower = names
        .iter()
        .all(|name| !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    (ordered && lower && names.iter().any(|name| name == "host")).then_some(names)
}

/// Reads a request that is signed in its Authorization header.
pub(super) fn read_header(checker: &Checker<'_>, parts: &Parts) -> S3Result<Claim> {
    const OPENING: &str = "The authorization header is malformed";
    let malformed = |why: &str| S3Error::new(Code::AuthorizationHeaderMalformed, format!("{OPENING}; {why}"));
    let header = text(&parts.headers, "authorization").ok_or_else(|| malformed("it is not text."))?;
    let Some((ALGORITHM, fields)) = header.split_once(' ') else {
        return Err(S3Error::new(
            Code::InvalidArgument,
            "Unsupported Authorization Type",
        ));
    };
    let (amz_date, secs) = request_date(parts)?;
    let mut credential = None;
    let mut list = None;
    let mut signature = None;
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| malformed("a field has no value."))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut list,
            "Signature" => &mut signature,
            _ => return Err(malformed("it has an unknown field.")),
        };
        if slot.replace(value).is_some() {
            return Err(malformed("a field stands twice."));
        }
    }
    let credential = credential.ok_or_else(|| malformed("the Credential field is missing."))?;
    let list = list.ok_or_else(|| malformed("the SignedHeaders field is missing."))?;
    let signature = signature.ok_or_else(|| malformed("the Signature field is missing."))?;
    let scope = Scope::parse(credential).ok_or_else(|| {
        malformed(&format!(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\", got \"{credential}\"."
        ))
    })?;
    let signed = signed_headers(list)
        .ok_or_else(|| malformed("SignedHeaders must be lower case, sorted, and name the host."))?;
    scope.check(
        checker.region,
        &amz_date,
        Code::AuthorizationHeaderMalformed,
        OPENING,
    )?;
    checker.check_skew(secs)?;
    let payload_hash = text(&parts.headers, "x-amz-content-sha256").ok_or_else(|| {
        S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: x-amz-content-sha256",
        )
    })?;
    Signed {
        parts,
        scope: &scope,
        amz_date: &amz_date,
        signed_headers: &signed,
        payload_hash,
        without: None,
    }
    .claim(signature.to_owned())
}

/// The request's own time: `x-amz-date`, or `Date`. Two of them are none: one might be signed and the other believed.
fn request_date(parts: &Parts) -> S3Result<(String, u64)> {
    let invalid = || {
        S3Error::new(
            Code::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    };
    if parts.headers.get_all("x-amz-date").iter().count() > 1 {
        return Err(invalid());
    }
    if let Some(amz_date) = text(&parts.headers, "x-amz-date") {
        if let Some(secs) = canonical::parse_amz_date(amz_date) {
            return Ok((amz_date.to_owned(), secs));
        }
        let secs = date::parse_http_date(amz_date).ok_or_else(invalid)?;
        return Ok((canonical::amz_date(secs), secs));
    }
    let date = text(&parts.headers, "date").ok_or_else(invalid)?;
    let secs = date::parse_http_date(date)
        .or_else(|| canonical::parse_amz_date(date))
        .ok_or_else(invalid)?;
    Ok((canonical::amz_date(secs), secs))
}

/// Whether each chunk of the body is signed.
pub(super) fn is_signed_chunks(payload_hash: &str) -> bool {
    matches!(payload_hash, STREAMING | STREAMING_TRAILER)
}

/// What `x-amz-content-sha256` says of the body. Without a seed (Signature V2) chunks can not be signed.
pub(crate) fn payload(value: &str, seed: Option<ChunkSeed>) -> S3Result<Payload> {
    match value {
        UNSIGNED => Ok(Payload::Unsigned),
        STREAMING | STREAMING_TRAILER => match seed {
            Some(seed) => Ok(Payload::SignedChunks {
                seed,
                trailer: value == STREAMING_TRAILER,
            }),
            None => Err(S3Error::argument(
                "x-amz-content-sha256",
                value,
                "Signed chunks need AWS Signature Version 4.",
            )),
        },
        STREAMING_UNSIGNED_TRAILER => Ok(Payload::UnsignedChunks),
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
            Err(S3Error::new(
                Code::NotImplemented,
                format!("{value} is not implemented"),
            ))
        }
        _ => {
            let mut hash = [0; 32];
            hex::decode_to_slice(value, &mut hash).map_err(|_| {
                S3Error::argument(
                    "x-amz-content-sha256",
                    value,
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                     STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
                )
            })?;
            Ok(Payload::Sha256(hash))
        }
    }
}

#[cfg(test)]
#[path = "v4_vectors.rs"]
mod vectors;
