//! The five checksums of S3: how each is computed, named, read from headers, and joined over the parts of an upload.

use crate::errors::{Code, S3Error, S3Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use martlet_service::headers::text;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Whether a checksum of a multipart object covers the object or the checksums of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Composite,
    FullObject,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Composite => "COMPOSITE",
            Kind::FullObject => "FULL_OBJECT",
        }
    }

    pub fn parse(value: &str) -> Option<Self> {
        [Kind::Composite, Kind::FullObject]
            .into_iter()
            .find(|kind| kind.as_str() == value)
    }
}

/// Where the kind of a stored checksum is kept.
pub const KIND_SYSMETA: &str = "x-object-sysmeta-s3-checksum-type";

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
    ];

    /// As `x-amz-checksum-algorithm` names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The header or trailer that carries the value.
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The metadata that keeps the value with the object.
    pub fn sysmeta(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-object-sysmeta-s3-checksum-crc32",
            Algorithm::Crc32c => "x-object-sysmeta-s3-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-object-sysmeta-s3-checksum-crc64nvme",
            Algorithm::Sha1 => "x-object-sysmeta-s3-checksum-sha1",
            Algorithm::Sha256 => "x-object-sysmeta-s3-checksum-sha256",
        }
    }

    /// The XML element that carries the value.
    pub fn element(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "ChecksumCRC32",
            Algorithm::Crc32c => "ChecksumCRC32C",
            Algorithm::Crc64Nvme => "ChecksumCRC64NVME",
            Algorithm::Sha1 => "ChecksumSHA1",
            Algorithm::Sha256 => "ChecksumSHA256",
        }
    }

    /// Length of the value in bytes.
    pub fn length(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn from_header(header: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// The kind a multipart upload has when the client names none.
    pub fn default_kind(self) -> Kind {
        if self == Algorithm::Crc64Nvme {
            Kind::FullObject
        } else {
            Kind::Composite
        }
    }

    /// CRC64NVME can only cover the whole object, the SHAs only the parts.
    pub fn allows(self, kind: Kind) -> bool {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => true,
            Algorithm::Crc64Nvme => kind == Kind::FullObject,
            Algorithm::Sha1 | Algorithm::Sha256 => kind == Kind::Composite,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }
}

/// A checksum being computed.
pub enum Hasher {
    Crc(Algorithm, Box<crc_fast::Digest>),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm.crc() {
            Some(crc) => Hasher::Crc(algorithm, Box::new(crc_fast::Digest::new(crc))),
            None if algorithm == Algorithm::Sha1 => Hasher::Sha1(Box::default()),
            None => Hasher::Sha256(Box::default()),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Crc(_, digest) => digest.update(data),
            Hasher::Sha1(digest) => digest.update(data),
            Hasher::Sha256(digest) => digest.update(data),
        }
    }

    pub fn finish(self) -> Value {
        match self {
            Hasher::Crc(algorithm, digest) => Value::of_number(algorithm, digest.finalize()),
            Hasher::Sha1(digest) => Value {
                algorithm: Algorithm::Sha1,
                bytes: digest.finalize().to_vec(),
            },
            Hasher::Sha256(digest) => Value {
                algorithm: Algorithm::Sha256,
                bytes: digest.finalize().to_vec(),
            },
        }
    }
}

/// A checksum; its length is the algorithm's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub algorithm: Algorithm,
    pub bytes: Vec<u8>,
}

impl Value {
    /// Reads base64; `None` when it is not, or not of the algorithm's length.
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        (bytes.len() == algorithm.length()).then_some(Value { algorithm, bytes })
    }

    /// Base64.
    pub fn text(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    fn of_number(algorithm: Algorithm, number: u64) -> Self {
        let bytes = number.to_be_bytes();
        Value {
            algorithm,
            bytes: bytes[bytes.len() - algorithm.length().min(8)..].to_vec(),
        }
    }

    fn number(&self) -> u64 {
        self.bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The checksum that stands in the headers, if one does.
pub fn declared(headers: &HeaderMap) -> S3Result<Option<Value>> {
    let mut found = None;
    for name in headers.keys().map(|name| name.as_str()) {
        let Some(kind) = name.strip_prefix("x-amz-checksum-") else {
            continue;
        };
        if matches!(kind, "algorithm" | "mode" | "type") {
            continue;
        }
        let Some(algorithm) = Algorithm::from_header(name) else {
            return Err(S3Error::new(
                Code::InvalidRequest,
                format!("The checksum of the header {name} is not supported."),
            ));
        };
        let value = text(headers, name)
            .and_then(|value| Value::parse(algorithm, value))
            .ok_or_else(|| {
                S3Error::new(
                    Code::InvalidRequest,
                    format!("Value for {name} header is invalid."),
                )
            })?;
        if found.replace(value).is_some() || headers.get_all(name).iter().count() > 1 {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
    }
    Ok(found)
}

/// The checksum that `x-amz-trailer` announces.
pub fn announced(headers: &HeaderMap) -> S3Result<Option<Algorithm>> {
    let Some(value) = text(headers, "x-amz-trailer") else {
        return Ok(None);
    };
    Algorithm::from_header(value.trim()).map(Some).ok_or_else(|| {
        S3Error::new(
            Code::InvalidRequest,
            "The value specified in the x-amz-trailer header is not supported",
        )
    })
}

/// The algorithm of `x-amz-sdk-checksum-algorithm` must be the one that is used.
pub fn check_sdk_algorithm(headers: &HeaderMap, used: Option<Algorithm>) -> S3Result<()> {
    let Some(name) = text(headers, "x-amz-sdk-checksum-algorithm") else {
        return Ok(());
    };
    let wanted = Algorithm::from_name(name).ok_or_else(|| {
        S3Error::new(
            Code::InvalidRequest,
            "Value for x-amz-sdk-checksum-algorithm header is invalid.",
        )
    })?;
    match used {
        Some(used) if used == wanted => Ok(()),
        Some(_) => Err(S3Error::new(
            Code::InvalidRequest,
            "Value for x-amz-sdk-checksum-algorithm header is invalid.",
        )),
        None => Err(S3Error::new(
            Code::InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        )),
    }
}

/// The stored checksum of an object, with its kind.
pub fn stored(headers: &HeaderMap) -> Option<(Algorithm, String, Kind)> {
    let (algorithm, value) = Algorithm::ALL
        .into_iter()
        .find_map(|algorithm| text(headers, algorithm.sysmeta()).map(|value| (algorithm, value)))?;
    let kind = text(headers, KIND_SYSMETA)
        .and_then(Kind::parse)
        .unwrap_or(Kind::FullObject);
    Some((algorithm, value.to_owned(), kind))
}

/// The checksum of an object made of parts, as S3 writes it. Parts are `(value, size in bytes)`.
pub fn join(algorithm: Algorithm, kind: Kind, parts: &[(Value, u64)]) -> String {
    match (kind, algorithm.crc()) {
        (Kind::FullObject, Some(crc)) => {
            let mut parts = parts.iter();
            let first = parts.next().map_or(0, |(value, _)| value.number());
            let whole = parts.fold(first, |sum, (value, size)| {
                crc_fast::checksum_combine(crc, sum, value.number(), *size)
            });
            Value::of_number(algorithm, whole).text()
        }
        (Kind::Composite, _) | (Kind::FullObject, None) => {
            let mut hasher = Hasher::new(algorithm);
            for (value, _) in parts {
                hasher.update(&value.bytes);
            }
            format!("{}-{}", hasher.finish().text(), parts.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, data: &[u8]) -> Value {
        let mut hasher = Hasher::new(algorithm);
        for chunk in data.chunks(3) {
            hasher.update(chunk);
        }
        hasher.finish()
    }

    #[test]
    fn known_values() {
        let hex = |algorithm| hex::encode(of(algorithm, b"123456789").bytes);
        assert_eq!(hex(Algorithm::Crc32), "cbf43926");
        assert_eq!(hex(Algorithm::Crc32c), "e3069283");
        assert_eq!(hex(Algorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            hex(Algorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
    }

    #[test]
    fn full_object_checksums_of_parts_equal_the_checksum_of_the_whole() {
        let data: Vec<u8> = (0..50_000u32).map(|n| (n % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<_> = data
                .chunks(17_000)
                .map(|part| (of(algorithm, part), part.len() as u64))
                .collect();
            assert_eq!(
                join(algorithm, Kind::FullObject, &parts),
                of(algorithm, &data).text()
            );
        }
        let parts: Vec<_> = data
            .chunks(17_000)
            .map(|part| (of(Algorithm::Sha256, part), 0))
            .collect();
        assert!(join(Algorithm::Sha256, Kind::Composite, &parts).ends_with("=-3"));
    }

    #[test]
    fn headers_are_read_strictly() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect()
        };
        assert_eq!(
            declared(&headers(&[("x-amz-checksum-mode", "ENABLED")])),
            Ok(None)
        );
        let value = declared(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")]))
            .unwrap()
            .unwrap();
        assert_eq!(value, of(Algorithm::Crc32, b"123456789"));
        for bad in [
            &[("x-amz-checksum-crc32", "AAAA")][..],
            &[("x-amz-checksum-crc32", "!")],
            &[("x-amz-checksum-md9", "AAAA")],
            &[
                ("x-amz-checksum-crc32", "y/Q5Jg=="),
                ("x-amz-checksum-crc32c", "y/Q5Jg=="),
            ],
        ] {
            assert_eq!(declared(&headers(bad)).unwrap_err().code, Code::InvalidRequest);
        }
        assert_eq!(
            announced(&headers(&[("x-amz-trailer", "x-amz-checksum-crc32c")])),
            Ok(Some(Algorithm::Crc32c))
        );
        assert!(announced(&headers(&[("x-amz-trailer", "x-other")])).is_err());
        let sdk = headers(&[("x-amz-sdk-checksum-algorithm", "CRC32")]);
        assert!(check_sdk_algorithm(&sdk, Some(Algorithm::Crc32)).is_ok());
        assert!(check_sdk_algorithm(&sdk, Some(Algorithm::Sha1)).is_err());
        assert!(check_sdk_algorithm(&sdk, None).is_err());
    }
}
