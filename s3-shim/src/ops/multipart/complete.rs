//! CompleteMultipartUpload: checks the parts the client names, joins them, and cleans up.
//!
//! Runs as a task of its own: once begun it goes on to its end even when the client leaves. If it takes long, the
//! answer begins with white space, as S3's does, and its document says how it ended.

use super::session::{
    CONCURRENCY, Part, Session, find, part_name, parts, parts_container, remove, remove_parts, session_name,
    sessions_container, upload_id,
};
use crate::acl::OF_OBJECT;
use crate::checksum::{self, Algorithm, Kind, Value};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata::{self, LISTING_ETAG, MULTIPART, S3_ETAG};
use crate::ops::put::{check_conditions, store, unsupported_condition};
use crate::ops::{Call, document};
use crate::payload;
use crate::xml::read::parse;
use crate::xml::write::Xml;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, Method};
use martlet_service::headers::{set, text};
use martlet_service::{Body, BodyError, Response};
use md5::{Digest, Md5};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinHandle;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub(crate) async fn complete(call: Call) -> S3Result<Response> {
    let pause = Duration::from_millis(call.config().keep_alive_ms);
    let request_id = call.request_id.clone();
    let mut task = tokio::spawn(perform(call));
    tokio::select! {
        done = &mut task => outcome(done).map(document),
        () = tokio::time::sleep(pause) => {
            let mut response = document(String::new());
            *response.body_mut() = kept_alive(task, pause, request_id);
            Ok(response)
        }
    }
}

fn outcome(done: Result<S3Result<String>, tokio::task::JoinError>) -> S3Result<String> {
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "a completion of an upload ended without an answer");
        Err(Code::InternalError.into())
    })
}

/// White space until the task is done, then its document. The declaration must come first, so it is not repeated.
fn kept_alive(task: JoinHandle<S3Result<String>>, pause: Duration, request_id: String) -> Body {
    let rest = stream::unfold(Some(task), move |task| {
        let request_id = request_id.clone();
        async move {
            let mut task = task?;
            let chunk: Result<Bytes, BodyError> = tokio::select! {
                done = &mut task => {
                    let text = outcome(done).unwrap_or_else(|error| error.document(&request_id));
                    let text = text.strip_prefix(DECLARATION).unwrap_or(&text).to_owned();
                    return Some((Ok(Bytes::from(text)), None));
                }
                () = tokio::time::sleep(pause) => Ok(Bytes::from_static(b" ")),
            };
            Some((chunk, Some(task)))
        }
    });
    Body::stream(stream::once(async { Ok(Bytes::from_static(DECLARATION.as_bytes())) }).chain(rest))
}

/// A part as the client names it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    number: u32,
    etag: String,
    checksum: Option<(Algorithm, String)>,
}

fn read(body: &[u8], most: u32) -> S3Result<Vec<Named>> {
    let malformed = || S3Error::from(Code::MalformedXML);
    let root = parse(body).map_err(|_| malformed())?;
    if root.name != "CompleteMultipartUpload" {
        return Err(malformed());
    }
    let mut named: Vec<Named> = Vec::new();
    for part in root.all("Part") {
        let number = part
            .child_text("PartNumber")
            .and_then(|number| number.parse().ok())
            .ok_or_else(malformed)?;
        let etag = part
            .child_text("ETag")
            .ok_or_else(malformed)?
            .trim_matches('"')
            .to_ascii_lowercase();
        let checksum = Algorithm::ALL.into_iter().find_map(|algorithm| {
            part.child_text(algorithm.element())
                .map(|value| (algorithm, value.to_owned()))
        });
        if !(1..=most).contains(&number) {
            return Err(S3Error::argument(
                "partNumber",
                &number.to_string(),
                format!("Part number must be an integer between 1 and {most}, inclusive"),
            ));
        }
        if named.last().is_some_and(|last| last.number >= number) {
            return Err(Code::InvalidPartOrder.into());
        }
        named.push(Named {
            number,
            etag,
            checksum,
        });
    }
    if named.is_empty() || named.len() > most as usize {
        return Err(malformed());
    }
    Ok(named)
}

/// The stored parts the client names, in order; each must be there with its ETag and be large enough.
fn choose(named: &[Named], stored: &[Part], min_part_bytes: u64) -> S3Result<Vec<Part>> {
    let by_number: HashMap<u32, &Part> = stored.iter().map(|part| (part.number, part)).collect();
    let mut chosen = Vec::with_capacity(named.len());
    for (position, wanted) in named.iter().enumerate() {
        let part = by_number
            .get(&wanted.number)
            .filter(|part| part.etag == wanted.etag)
            .ok_or_else(|| {
                S3Error::from(Code::InvalidPart)
                    .with("PartNumber", wanted.number.to_string())
                    .with("ETag", wanted.etag.as_str())
            })?;
        if part.size < min_part_bytes && position + 1 < named.len() {
            return Err(S3Error::from(Code::EntityTooSmall)
                .with("ProposedSize", part.size.to_string())
                .with("MinSizeAllowed", min_part_bytes.to_string())
                .with("PartNumber", part.number.to_string())
                .with("ETag", part.etag.as_str()));
        }
        chosen.push((*part).clone());
    }
    Ok(chosen)
}

/// S3's ETag of a multipart object: the MD5 of the parts' MD5s, and how many there are.
fn joined_etag(parts: &[Part]) -> S3Result<String> {
    let mut hasher = Md5::new();
    for part in parts {
        let digest = hex::decode(&part.etag).map_err(|_| {
            tracing::error!(number = part.number, "the ETag of a stored part is no MD5");
            S3Error::from(Code::InternalError)
        })?;
        hasher.update(digest);
    }
    Ok(format!("{}-{}", hex::encode(hasher.finalize()), parts.len()))
}

/// A segment of the manifest.
#[derive(Serialize)]
struct Segment<'a> {
    path: String,
    etag: &'a str,
    size_bytes: u64,
}

async fn perform(mut call: Call) -> S3Result<String> {
    if call.headers.contains_key("if-match") {
        return Err(unsupported_condition());
    }
    let session = match find(&call).await {
        Ok(session) => session,
        Err(error) if error.code == Code::NoSuchUpload => return repeated(&call, error).await,
        Err(error) => return Err(error),
    };
    // Checksum headers of a completion are about the object, not about the document in the body.
    let promised = checksum::declared(&call.headers)?;
    let mut body_headers = call.headers.clone();
    for algorithm in Algorithm::ALL {
        body_headers.remove(algorithm.header());
    }
    body_headers.remove("x-amz-sdk-checksum-algorithm");
    let limit = call.config().max_document_bytes;
    let body = payload::document(call.take_body(), &body_headers, &call.payload, limit).await?;
    let named = read(&body, call.config().max_upload_part_num)?;
    let most = call.config().max_upload_part_num as usize;
    let stored = parts(&call.swift, &call.bucket, &call.key, &session.id, 0, most).await?;
    let chosen = choose(&named, &stored, call.config().min_segment_size)?;
    let total: u64 = chosen.iter().map(|part| part.size).sum();
    if let Some(size) = call.header("x-amz-mp-object-size")
        && size.parse() != Ok(total)
    {
        return Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The provided 'x-amz-mp-object-size' header does not match what was computed. Expected {total}."
            ),
        ));
    }
    let checksum = joined_checksum(&call, &session, &named, &chosen, promised).await?;
    let etag = joined_etag(&chosen)?;
    let mut headers = metadata::to_copy(&session.headers);
    check_conditions(&call, &mut headers).await?;
    if let Some(list) = session.headers.get(OF_OBJECT) {
        headers.insert(HeaderName::from_static(OF_OBJECT), list.clone());
    }
    set(&mut headers, S3_ETAG, &etag);
    set(&mut headers, LISTING_ETAG, &etag);
    if let Some((algorithm, value, kind)) = &checksum {
        set(&mut headers, algorithm.sysmeta(), value);
        set(&mut headers, checksum::KIND_SYSMETA, kind.as_str());
    }
    store_object(&call, &session, &chosen, headers).await?;
    clean_up(&call, &session, &stored, &chosen).await;
    Ok(result(&call, &etag, checksum))
}

/// Stores the manifest. Parts of no bytes have nothing to add to it; without any other the object is plainly empty.
async fn store_object(
    call: &Call,
    session: &Session,
    chosen: &[Part],
    mut headers: HeaderMap,
) -> S3Result<()> {
    let container = parts_container(&call.bucket);
    let segments: Vec<Segment<'_>> = chosen
        .iter()
        .filter(|part| part.size > 0)
        .map(|part| Segment {
            path: format!("/{container}/{}", part_name(&call.key, &session.id, part.number)),
            etag: &part.etag,
            size_bytes: part.size,
        })
        .collect();
    let mut ask = call.swift.object(Method::PUT, &call.bucket, &call.key);
    if segments.is_empty() {
        ask = ask.body(Body::empty(), Some(0));
    } else {
        set(&mut headers, MULTIPART, &session.id);
        set(&mut headers, "x-backend-allow-reserved-names", "true");
        let manifest = serde_json::to_vec(&segments).map_err(|_| S3Error::from(Code::InternalError))?;
        let length = manifest.len() as u64;
        ask = ask
            .query("multipart-manifest", "put")
            .body(Body::full(manifest), Some(length));
    }
    store(call, ask.headers(headers), None).await?;
    Ok(())
}

/// Removes the session, and the parts that did not become part of the object.
async fn clean_up(call: &Call, session: &Session, stored: &[Part], chosen: &[Part]) {
    let name = session_name(&call.key, &session.id);
    remove(&call.swift, &sessions_container(&call.bucket), &name).await;
    let kept: HashMap<u32, ()> = chosen
        .iter()
        .filter(|part| part.size > 0)
        .map(|part| (part.number, ()))
        .collect();
    let unused = stored
        .iter()
        .map(|part| part.number)
        .filter(|number| !kept.contains_key(number))
        .collect();
    remove_parts(&call.swift, &call.bucket, &call.key, &session.id, unused).await;
}

/// A completion that is asked for again, because its answer was lost, gets that answer again.
async fn repeated(call: &Call, missing: S3Error) -> S3Result<String> {
    let id = upload_id(call)?;
    let stored = match call.swift.head_object(&call.bucket, &call.key).await {
        Ok(stored) => stored,
        Err(error) if error.code == Code::NoSuchKey => return Err(missing),
        Err(error) => return Err(error),
    };
    if text(&stored, MULTIPART) != Some(id.as_str()) {
        return Err(missing);
    }
    Ok(result(call, &metadata::etag(&stored), checksum::stored(&stored)))
}

fn result(call: &Call, etag: &str, checksum: Option<(Algorithm, String, Kind)>) -> String {
    let host = call.header("host").unwrap_or("localhost");
    let path = martlet_protocol::percent::quote(&format!("/{}/{}", call.bucket, call.key));
    Xml::document("CompleteMultipartUploadResult", |xml| {
        xml.leaf("Location", &format!("{}://{host}{path}", call.scheme));
        xml.leaf("Bucket", &call.bucket);
        xml.leaf("Key", &call.key);
        xml.leaf("ETag", &metadata::quoted(etag));
        if let Some((algorithm, value, kind)) = &checksum {
            xml.leaf(algorithm.element(), value);
            xml.leaf("ChecksumType", kind.as_str());
        }
    })
}

/// The checksum of the whole, from those the parts were stored with. None when a part has none, as copied parts do.
async fn joined_checksum(
    call: &Call,
    session: &Session,
    named: &[Named],
    chosen: &[Part],
    promised: Option<Value>,
) -> S3Result<Option<(Algorithm, String, Kind)>> {
    let Some((algorithm, kind)) = session.checksum else {
        return Ok(None);
    };
    let container = &parts_container(&call.bucket);
    let names: Vec<String> = chosen
        .iter()
        .map(|part| part_name(&call.key, &session.id, part.number))
        .collect();
    let stored: Vec<Option<Value>> = stream::iter(names)
        .map(|name| async move {
            let headers = call.swift.head_object(container, &name).await?;
            S3Result::Ok(text(&headers, algorithm.sysmeta()).and_then(|value| Value::parse(algorithm, value)))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
        .map_err(|error| {
            if error.code == Code::NoSuchKey {
                Code::InvalidPart.into()
            } else {
                error
            }
        })?;
    for (wanted, found) in named.iter().zip(&stored) {
        if let (Some((_, value)), Some(found)) = (
            wanted.checksum.as_ref().filter(|(own, _)| *own == algorithm),
            found,
        ) && *value != found.text()
        {
            return Err(S3Error::from(Code::InvalidPart).with("PartNumber", wanted.number.to_string()));
        }
    }
    let values: Option<Vec<(Value, u64)>> = stored
        .into_iter()
        .zip(chosen)
        .map(|(value, part)| value.map(|value| (value, part.size)))
        .collect();
    let Some(values) = values else { return Ok(None) };
    let joined = checksum::join(algorithm, kind, &values);
    if let Some(promised) =
        promised.filter(|promised| promised.algorithm == algorithm && kind == Kind::FullObject)
        && promised.text() != joined
    {
        return Err(S3Error::new(
            Code::BadDigest,
            format!(
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ),
        ));
    }
    Ok(Some((algorithm, joined, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: u32, size: u64) -> Part {
        Part {
            number,
            etag: format!("{number:032x}"),
            size,
            last_modified: String::new(),
        }
    }

    fn named(numbers: &[u32]) -> Vec<Named> {
        numbers
            .iter()
            .map(|number| Named {
                number: *number,
                etag: format!("{number:032x}"),
                checksum: None,
            })
            .collect()
    }

    #[test]
    fn documents_are_read_strictly() {
        let part = |number: &str| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;AB&quot;</ETag></Part>")
        };
        let whole = |parts: &str| format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let good = read(whole(&(part("1") + &part("3"))).as_bytes(), 10).unwrap();
        assert_eq!((good[1].number, good[1].etag.as_str()), (3, "ab"));
        let code = |text: String| read(text.as_bytes(), 10).unwrap_err().code;
        assert_eq!(code(whole("")), Code::MalformedXML);
        assert_eq!(code(whole(&part("x"))), Code::MalformedXML);
        assert_eq!(
            code(whole("<Part><PartNumber>1</PartNumber></Part>")),
            Code::MalformedXML
        );
        assert_eq!(code(whole(&part("0"))), Code::InvalidArgument);
        assert_eq!(code(whole(&part("11"))), Code::InvalidArgument);
        assert_eq!(code(whole(&(part("2") + &part("2")))), Code::InvalidPartOrder);
        assert_eq!(code(whole(&(part("2") + &part("1")))), Code::InvalidPartOrder);
        assert_eq!(code("<Other/>".into()), Code::MalformedXML);
    }

    #[test]
    fn parts_must_be_there_and_large_enough() {
        let parts = [stored(1, 10), stored(2, 3), stored(3, 10)];
        assert_eq!(choose(&named(&[1, 2]), &parts, 5).unwrap().len(), 2);
        assert_eq!(
            choose(&named(&[1, 2, 3]), &parts, 5).unwrap_err().code,
            Code::EntityTooSmall
        );
        assert_eq!(
            choose(&named(&[1, 4]), &parts, 5).unwrap_err().code,
            Code::InvalidPart
        );
        let mut wrong = named(&[1]);
        wrong[0].etag = "0".repeat(32);
        assert_eq!(choose(&wrong, &parts, 5).unwrap_err().code, Code::InvalidPart);
    }

    #[test]
    fn the_etag_is_the_md5_of_the_parts_md5s() {
        let part = |data: &[u8]| Part {
            etag: hex::encode(Md5::digest(data)),
            ..stored(1, 1)
        };
        let mut both = Md5::digest(b"a").to_vec();
        both.extend(Md5::digest(b"b"));
        let wanted = format!("{}-2", hex::encode(Md5::digest(&both)));
        assert_eq!(joined_etag(&[part(b"a"), part(b"b")]).unwrap(), wanted);
    }
}
