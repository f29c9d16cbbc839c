//! A signed request in two halves: what it claims, read without knowing any key; and the proof, once the key is known.
//!
//! Between the two, whoever knows the key is asked, which may take a question to another server.

use super::v4::{self, Scope};
use super::{Authenticated, Payload, canonical, same, v2};
use crate::Credential;
use crate::errors::{Code, S3Error, S3Result};

/// What a request claims by its signature.
#[derive(Debug)]
pub struct Claim {
    pub access_key: String,
    /// The words that were signed, as this side reads the request.
    pub string_to_sign: Vec<u8>,
    /// As the client gave it: hexadecimal in version 4, base64 in version 2.
    pub signature: String,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    V4 {
        scope: Scope,
        amz_date: String,
        canonical_request: Vec<u8>,
        payload_hash: String,
        /// The refusal of headers that are not signed, if there are such.
        unsigned: S3Result<()>,
    },
    V2 {
        payload: S3Result<Payload>,
    },
}

impl Claim {
    /// Holds the claim against the key.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, and what is wrong with a request that was signed well.
    pub fn prove(self, credential: Credential) -> S3Result<Authenticated> {
        let Credential { secret, identity } = credential;
        let payload = match secret {
            Some(secret) => self.check(&secret)?,
            None => self.vouched()?,
        };
        Ok(Authenticated { identity, payload })
    }

    fn check(self, secret: &str) -> S3Result<Payload> {
        match self.kind {
            Kind::V2 { payload } => {
                v2::verify(secret, &self.access_key, &self.string_to_sign, &self.signature)?;
                payload
            }
            Kind::V4 {
                scope,
                amz_date,
                canonical_request,
                payload_hash,
                unsigned,
            } => {
                let key = v4::signing_key(secret, &scope.day, &scope.region, &scope.service);
                let right = hex::encode(v4::hmac(&key, &self.string_to_sign));
                if !same(right.as_bytes(), self.signature.as_bytes()) {
                    return Err(S3Error::from(Code::SignatureDoesNotMatch)
                        .with("AWSAccessKeyId", self.access_key)
                        .with("StringToSign", String::from_utf8_lossy(&self.string_to_sign))
                        .with("SignatureProvided", self.signature)
                        .with("CanonicalRequest", String::from_utf8_lossy(&canonical_request)));
                }
                unsigned?;
                let seed = v4::ChunkSeed {
                    key,
                    scope: scope.text(),
                    date: amz_date,
                    signature: self.signature,
                };
                v4::payload(&payload_hash, Some(seed))
            }
        }
    }

    /// The signature was checked by whoever keeps the secret. Chunks that are signed cannot be checked then.
    fn vouched(self) -> S3Result<Payload> {
        match self.kind {
            Kind::V2 { payload } => payload,
            Kind::V4 {
                payload_hash,
                unsigned,
                ..
            } => {
                unsigned?;
                if v4::is_signed_chunks(&payload_hash) {
                    return Err(S3Error::new(
                        Code::NotImplemented,
                        "Signed chunks cannot be checked: the identity service does not show this key's secret.",
                    ));
                }
                v4::payload(&payload_hash, None)
            }
        }
    }
}

/// The words that version 4 signs for a canonical request.
pub(super) fn string_to_sign(amz_date: &str, scope: &Scope, canonical_request: &[u8]) -> Vec<u8> {
    format!(
        "{}\n{amz_date}\n{}\n{}",
        v4::ALGORITHM,
        scope.text(),
        canonical::sha256_hex(canonical_request)
    )
    .into_bytes()
}
