//! Names and places of uploads, and the look-up of a session.

use crate::checksum::{Algorithm, Kind};
use crate::errors::{Code, S3Error, S3Result};
use crate::ops::Call;
use crate::swift::{Row, Swift, bucket_error};
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Method, StatusCode};
use martlet_service::headers::text;

/// Length of an upload id.
const ID_LENGTH: usize = 32;
/// Length of a part number in a part's name.
const NUMBER_LENGTH: usize = 8;
/// Rows asked for at once.
pub(super) const PAGE: usize = 10_000;
/// Parts removed, or looked at, at the same time.
pub(super) const CONCURRENCY: usize = 16;

/// Where a session keeps the checksum algorithm and its kind.
pub(super) const ALGORITHM: &str = "x-object-sysmeta-s3-upload-algorithm";
pub(super) const KIND: &str = "x-object-sysmeta-s3-upload-checksum-type";

/// The hidden container of a bucket's parts.
pub(super) fn parts_container(bucket: &str) -> String {
    format!("\0mpu\0{bucket}")
}

/// The hidden container of a bucket's sessions.
pub(super) fn sessions_container(bucket: &str) -> String {
    format!("\0mpu-uploads\0{bucket}")
}

/// What a key's upload is called among the sessions.
pub(super) fn session_name(key: &str, id: &str) -> String {
    format!("{key}\0{id}")
}

/// What all names of an upload's parts begin with.
pub(super) fn parts_prefix(key: &str, id: &str) -> String {
    format!("{key}/{id}/")
}

/// The name of a part.
pub(super) fn part_name(key: &str, id: &str, number: u32) -> String {
    format!("{key}/{id}/{number:08}")
}

/// A new upload id.
pub(super) fn new_id() -> String {
    hex::encode(rand::random::<[u8; ID_LENGTH / 2]>())
}

/// A session that is there.
pub(super) struct Session {
    pub id: String,
    pub headers: HeaderMap,
    pub checksum: Option<(Algorithm, Kind)>,
}

/// The upload id of a request, in the form we give them.
pub(super) fn upload_id(call: &Call) -> S3Result<String> {
    let id = call.query.get("uploadId").unwrap_or_default();
    if id.len() == ID_LENGTH
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    {
        return Ok(id.to_owned());
    }
    Err(no_such_upload(id))
}

pub(super) fn no_such_upload(id: &str) -> S3Error {
    S3Error::from(Code::NoSuchUpload).with("UploadId", id)
}

/// The session of a request, or `NoSuchUpload`, or `NoSuchBucket`.
pub(super) async fn find(call: &Call) -> S3Result<Session> {
    let id = match upload_id(call) {
        Ok(id) => id,
        Err(error) => {
            call.head_bucket().await?;
            return Err(error);
        }
    };
    let name = session_name(&call.key, &id);
    let ask = call
        .swift
        .object(Method::HEAD, &sessions_container(&call.bucket), &name);
    let response = call.swift.send(ask).await?;
    match response.status() {
        status if status.is_success() => {
            let headers = response.into_parts().0.headers;
            let algorithm = text(&headers, ALGORITHM).and_then(Algorithm::from_name);
            let kind = text(&headers, KIND).and_then(Kind::parse);
            let checksum = algorithm.map(|algorithm| (algorithm, kind.unwrap_or(algorithm.default_kind())));
            Ok(Session {
                id,
                headers,
                checksum,
            })
        }
        StatusCode::NOT_FOUND => {
            call.head_bucket().await?;
            Err(no_such_upload(&id))
        }
        status => Err(bucket_error(status, &call.bucket)),
    }
}

/// A part as the listing of its container shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub number: u32,
    pub etag: String,
    pub size: u64,
    pub last_modified: String,
}

/// Parts of an upload in order of their numbers, after a number, at most so many.
pub(super) async fn parts(
    swift: &Swift,
    bucket: &str,
    key: &str,
    id: &str,
    after: u32,
    most: usize,
) -> S3Result<Vec<Part>> {
    let container = parts_container(bucket);
    let prefix = parts_prefix(key, id);
    let mut marker = part_name(key, id, after);
    let mut parts: Vec<Part> = Vec::new();
    loop {
        let limit = PAGE.min(most - parts.len());
        if limit == 0 {
            return Ok(parts);
        }
        let ask = swift
            .container(Method::GET, &container)
            .query("limit", &limit.to_string())
            .query("prefix", &prefix)
            .query("marker", &marker);
        let page = match swift.list(bucket, ask).await {
            Ok(page) => page,
            Err(error) if error.code == Code::NoSuchBucket => return Ok(parts),
            Err(error) => return Err(error),
        };
        let is_last = page.len() < limit;
        if let Some(last) = page.last() {
            marker = last.name.clone();
        }
        parts.extend(page.into_iter().filter_map(|row| read_part(row, &prefix)));
        if is_last {
            return Ok(parts);
        }
    }
}

fn read_part(row: Row, prefix: &str) -> Option<Part> {
    let number = row
        .name
        .strip_prefix(prefix)
        .filter(|number| number.len() == NUMBER_LENGTH)?
        .parse()
        .ok()?;
    Some(Part {
        number,
        etag: row.hash,
        size: row.bytes,
        last_modified: row.last_modified,
    })
}

/// Removes parts; what can not be removed is logged and stays until the bucket goes.
pub(super) async fn remove_parts(swift: &Swift, bucket: &str, key: &str, id: &str, numbers: Vec<u32>) {
    let container = &parts_container(bucket);
    stream::iter(numbers)
        .for_each_concurrent(CONCURRENCY, |number| async move {
            remove(swift, container, &part_name(key, id, number)).await;
        })
        .await;
}

/// Removes a hidden object.
pub(super) async fn remove(swift: &Swift, container: &str, name: &str) {
    let status = swift
        .send(swift.object(Method::DELETE, container, name))
        .await
        .map(|response| response.status());
    match status {
        Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => {}
        other => tracing::warn!(
            ?other,
            container,
            name,
            "a part or session of an upload could not be removed"
        ),
    }
}

/// Removes what uploads left behind in a bucket that is gone.
pub(crate) async fn remove_hidden_containers(swift: &Swift, bucket: &str) {
    // Sessions first: without its session nobody adds parts to an upload.
    for container in &[sessions_container(bucket), parts_container(bucket)] {
        let mut marker = String::new();
        loop {
            let ask = swift
                .container(Method::GET, container)
                .query("limit", &PAGE.to_string())
                .query_if("marker", Some(&marker));
            let Ok(page) = swift.list(bucket, ask).await else {
                break;
            };
            let Some(last) = page.last() else { break };
            marker = last.name.clone();
            stream::iter(page)
                .for_each_concurrent(CONCURRENCY, |row| async move {
                    remove(swift, container, &row.name).await
                })
                .await;
        }
        let status = swift
            .send(swift.container(Method::DELETE, container))
            .await
            .map(|response| response.status());
        match status {
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => {}
            other => tracing::warn!(
                ?other,
                bucket,
                "a hidden container of a deleted bucket could not be removed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_sort_by_number_and_are_read_back() {
        let id = new_id();
        assert_eq!(id.len(), ID_LENGTH);
        assert!(part_name("k", &id, 2) < part_name("k", &id, 10));
        let row = |name: String| Row {
            name,
            bytes: 5,
            hash: "h".into(),
            ..Row::default()
        };
        let prefix = parts_prefix("a/b", &id);
        assert_eq!(
            read_part(row(part_name("a/b", &id, 10_000)), &prefix)
                .unwrap()
                .number,
            10_000
        );
        assert_eq!(read_part(row(format!("{prefix}x")), &prefix), None);
    }
}
