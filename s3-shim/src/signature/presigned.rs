//! Presigned URLs: both signature versions in the query string, and how long each is good for.

use super::claim::{Claim, Kind};
use super::v4::{self, Scope, Signed};
use super::{Checker, MAX_SKEW_SECS, canonical, v2};
use crate::errors::{Code, S3Error, S3Result};
use http::request::Parts;
use martlet_service::headers::text;

/// A Version 4 URL is good for a week at most.
const MAX_EXPIRES_SECS: u64 = 604_800;
/// A Version 2 URL names the second it ends at, in a number that was meant to have 31 bits.
const LATEST_EXPIRY_SECS: u64 = 1 << 31;
const OPENING: &str = "Error parsing the X-Amz-Credential parameter";

/// The value of a parameter that must stand exactly once.
fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let mut values =
        canonical::pairs(parts.uri.query().unwrap_or_default()).filter(|(key, _)| key == name.as_bytes());
    let value = values.next()?.1;
    if values.next().is_some() {
        return None;
    }
    String::from_utf8(value).ok()
}

/// Reads a URL signed with Version 4.
pub(super) fn read_v4(checker: &Checker<'_>, parts: &Parts) -> S3Result<Claim> {
    let malformed = |why: &str| S3Error::new(Code::AuthorizationQueryParametersError, why);
    let required = |name: &str| {
        parameter(parts, name).ok_or_else(|| {
            malformed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    if required("X-Amz-Algorithm")? != v4::ALGORITHM {
        return Err(malformed(
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"",
        ));
    }
    let credential = required("X-Amz-Credential")?;
    let amz_date = required("X-Amz-Date")?;
    let list = required("X-Amz-SignedHeaders")?;
    let signature = required("X-Amz-Signature")?;
    let expires = expires(&required("X-Amz-Expires")?)?;
    let scope = Scope::parse(&credential).ok_or_else(|| {
        malformed(&format!(
            "{OPENING}; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
        ))
    })?;
    let secs = canonical::parse_amz_date(&amz_date)
        .ok_or_else(|| malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    scope.check(
        checker.region,
        &amz_date,
        Code::AuthorizationQueryParametersError,
        OPENING,
    )?;
    let signed = v4::signed_headers(&list)
        .ok_or_else(|| malformed("X-Amz-SignedHeaders must be lower case, sorted, and name the host."))?;
    if secs > checker.now_secs + MAX_SKEW_SECS {
        return Err(S3Error::new(Code::AccessDenied, "Request is not yet valid"));
    }
    if checker.now_secs > secs + expires {
        return Err(expired(secs + expires, checker.now_secs).with("X-Amz-Expires", expires.to_string()));
    }
    let in_header = text(&parts.headers, "x-amz-content-sha256").map(str::to_owned);
    let payload_hash = in_header
        .or_else(|| parameter(parts, "X-Amz-Content-Sha256"))
        .unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned());
    Signed {
        parts,
        scope: &scope,
        amz_date: &amz_date,
        signed_headers: &signed,
        payload_hash: &payload_hash,
        without: Some("X-Amz-Signature"),
    }
    .claim(signature)
}

fn expires(value: &str) -> S3Result<u64> {
    let refused = |why: &str| Err(S3Error::new(Code::AuthorizationQueryParametersError, why));
    match value.parse::<i64>() {
        Err(_) => refused("X-Amz-Expires should be a number"),
        Ok(number) if number < 0 => refused("X-Amz-Expires must be non-negative"),
        Ok(0) => refused("X-Amz-Expires must be at least 1 second"),
        Ok(number) if number.unsigned_abs() > MAX_EXPIRES_SECS => refused(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        ),
        Ok(number) => Ok(number.unsigned_abs()),
    }
}

fn expired(at: u64, now: u64) -> S3Error {
    S3Error::new(Code::AccessDenied, "Request has expired")
        .with("Expires", canonical::amz_date(at))
        .with("ServerTime", canonical::amz_date(now))
}

/// Reads a URL signed with Version 2: `AWSAccessKeyId`, `Expires`, `Signature`.
pub(super) fn read_v2(checker: &Checker<'_>, parts: &Parts) -> S3Result<Claim> {
    let required = |name: &str| {
        parameter(parts, name).ok_or_else(|| {
            S3Error::new(
                Code::AccessDenied,
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
            )
        })
    };
    let access_key = required("AWSAccessKeyId")?;
    let signature = required("Signature")?;
    let expires = required("Expires")?;
    let at: u64 = expires
        .parse()
        .ok()
        .filter(|at| *at < LATEST_EXPIRY_SECS)
        .ok_or_else(|| {
            S3Error::new(
                Code::AccessDenied,
                format!("Invalid date (should be seconds since epoch): {expires}"),
            )
        })?;
    if checker.now_secs > at {
        return Err(expired(at, checker.now_secs));
    }
    Ok(Claim {
        string_to_sign: v2::string_to_sign(parts, &expires, checker.host_bucket),
        access_key,
        // Some clients leave a `+` of the base64 signature as it is, which a query turns into a space.
        signature: signature.replace(' ', "+"),
        kind: Kind::V2 {
            payload: v2::unsigned_payload(parts),
        },
    })
}
