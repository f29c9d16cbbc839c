//! AWS Signature Version 2: what old clients put in the Authorization header, and old CLIs in presigned URLs.

use super::claim::{Claim, Kind};
use super::{Checker, Payload, canonical, same};
use crate::errors::{Code, S3Error, S3Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use martlet_protocol::date;
use martlet_service::OddHeaders;
use martlet_service::headers::text;
use sha1::Sha1;

/// The query parameters that are part of the signed resource.
const SIGNED_PARAMETERS: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Reads a request that is signed in its Authorization header: `AWS access:signature`.
pub(super) fn read_header(checker: &Checker<'_>, parts: &Parts) -> S3Result<Claim> {
    let malformed = || {
        S3Error::new(
            Code::InvalidArgument,
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
        )
    };
    let header = text(&parts.headers, "authorization").ok_or_else(malformed)?;
    let (access_key, signature) = header
        .strip_prefix("AWS ")
        .and_then(|rest| rest.trim().rsplit_once(':'))
        .ok_or_else(malformed)?;
    if access_key.is_empty() || signature.is_empty() {
        return Err(malformed());
    }
    let amz_date = text(&parts.headers, "x-amz-date");
    let moment = amz_date.or_else(|| text(&parts.headers, "date"));
    let secs = moment
        .and_then(|moment| date::parse_http_date(moment).or_else(|| canonical::parse_amz_date(moment)))
        .ok_or_else(|| {
            S3Error::new(
                Code::AccessDenied,
                "AWS authentication requires a valid Date or x-amz-date header",
            )
        })?;
    checker.check_skew(secs)?;
    let date_line = if amz_date.is_some() {
        ""
    } else {
        text(&parts.headers, "date").unwrap_or_default()
    };
    Ok(Claim {
        access_key: access_key.to_owned(),
        string_to_sign: string_to_sign(parts, date_line, checker.host_bucket),
        signature: signature.to_owned(),
        kind: Kind::V2 {
            payload: unsigned_payload(parts),
        },
    })
}

/// Signature V2 does not cover the body; the streaming forms belong to V4.
pub(super) fn unsigned_payload(parts: &Parts) -> S3Result<Payload> {
    match text(&parts.headers, "x-amz-content-sha256") {
        None => Ok(Payload::Unsigned),
        Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Ok(Payload::UnsignedChunks),
        Some(value) => super::v4::payload(value, None),
    }
}

/// Compares the given signature with the right one.
pub(super) fn verify(secret: &str, access_key: &str, signed: &[u8], given: &str) -> S3Result<()> {
    let right = signature(secret, signed);
    if same(right.as_bytes(), given.as_bytes()) {
        return Ok(());
    }
    Err(S3Error::from(Code::SignatureDoesNotMatch)
        .with("AWSAccessKeyId", access_key)
        .with("StringToSign", String::from_utf8_lossy(signed))
        .with("SignatureProvided", given))
}

/// HMAC-SHA1 in base64.
pub fn signature(secret: &str, signed: &[u8]) -> String {
    // HMAC takes keys of every length; the fallback can not be reached.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(signed);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// What is signed. `date_line` is the `Date` header, nothing when `x-amz-date` is there, or `Expires` when presigned.
pub(super) fn string_to_sign(parts: &Parts, date_line: &str, host_bucket: Option<&str>) -> Vec<u8> {
    let header = |name: &str| canonical::header_value(&parts.headers, name).unwrap_or_default();
    let mut signed = parts.method.as_str().as_bytes().to_vec();
    for line in [
        header("content-md5"),
        header("content-type"),
        date_line.as_bytes().to_vec(),
    ] {
        signed.push(b'\n');
        signed.extend_from_slice(&line);
    }
    signed.push(b'\n');
    let odd = parts.extensions.get::<OddHeaders>();
    let odd_names = odd
        .iter()
        .flat_map(|odd| odd.0.iter().map(|header| header.name.as_str()));
    let mut names: Vec<&str> = parts
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-amz-"))
        .chain(odd_names)
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let value = odd.and_then(|odd| odd.get(name));
        signed.extend_from_slice(name.as_bytes());
        signed.push(b':');
        signed.extend_from_slice(&value.unwrap_or_else(|| plain_value(parts, name)));
        signed.push(b'\n');
    }
    signed.extend_from_slice(resource(parts, host_bucket).as_slice());
    signed
}

/// Values joined by commas; unlike V4, spaces inside stay.
fn plain_value(parts: &Parts, name: &str) -> Vec<u8> {
    let values: Vec<&[u8]> = parts
        .headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().trim_ascii())
        .collect();
    values.join(&b","[..])
}

fn resource(parts: &Parts, host_bucket: Option<&str>) -> Vec<u8> {
    let mut resource = Vec::new();
    if let Some(bucket) = host_bucket {
        resource.push(b'/');
        resource.extend_from_slice(bucket.as_bytes());
    }
    resource.extend_from_slice(parts.uri.path().as_bytes());
    let mut signed: Vec<(Vec<u8>, Option<Vec<u8>>)> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| {
            let (name, value) = canonical::pairs(pair).next()?;
            let is_signed = SIGNED_PARAMETERS.iter().any(|signed| signed.as_bytes() == name);
            is_signed.then(|| (name, pair.contains('=').then_some(value)))
        })
        .collect();
    signed.sort();
    for (position, (name, value)) in signed.iter().enumerate() {
        resource.push(if position == 0 { b'?' } else { b'&' });
        resource.extend_from_slice(name);
        if let Some(value) = value {
            resource.push(b'=');
            resource.extend_from_slice(value);
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    /// The examples of Amazon's page "Signing and authenticating REST requests".
    #[test]
    fn the_documented_examples_hold() {
        let get = parts(
            "GET",
            "/photos/puppy.jpg",
            &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
        );
        let signed = string_to_sign(&get, "Tue, 27 Mar 2007 19:36:42 +0000", Some("awsexamplebucket1"));
        assert_eq!(signature(SECRET, &signed), "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=");

        let put = parts("PUT", "/photos/puppy.jpg", &[("content-type", "image/jpeg")]);
        let signed = string_to_sign(&put, "Tue, 27 Mar 2007 21:15:45 +0000", Some("awsexamplebucket1"));
        assert_eq!(signature(SECRET, &signed), "iqRzw+ileNPu1fhspnRs8nOjjIA=");

        let list = parts("GET", "/?prefix=photos&max-keys=50&marker=puppy", &[]);
        let signed = string_to_sign(
            &list,
            "Tue, 27 Mar 2007 19:42:41 +0000",
            Some("awsexamplebucket1"),
        );
        assert_eq!(signature(SECRET, &signed), "m0WP8eCtspQl5Ahe6L1SozdX9YA=");

        let acl = parts("GET", "/?acl", &[]);
        let signed = string_to_sign(&acl, "Tue, 27 Mar 2007 19:44:46 +0000", Some("awsexamplebucket1"));
        assert_eq!(signature(SECRET, &signed), "82ZHiFIjc+WbcwFKGUVEQspPn+0=");
    }

    #[test]
    fn only_known_parameters_are_signed_and_values_are_decoded() {
        let get = parts("GET", "/b/k%20y?uploadId=a%2Fb&x=1&partNumber=2&acl", &[]);
        assert_eq!(resource(&get, None), b"/b/k%20y?acl&partNumber=2&uploadId=a/b");
    }
}
