//! ListParts and ListMultipartUploads.

use super::session::{find, parts, sessions_container};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata::quoted;
use crate::ops::{Call, acl, document, time};
use crate::swift::Row;
use crate::xml::write::Xml;
use http::Method;
use martlet_protocol::percent::quote;
use martlet_service::Response;

fn encodes(call: &Call) -> S3Result<bool> {
    match call.query.get("encoding-type") {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => Err(S3Error::argument(
            "encoding-type",
            other,
            "Invalid Encoding Method specified in Request",
        )),
    }
}

fn name(encodes: bool, name: &str) -> String {
    if encodes { quote(name) } else { name.to_owned() }
}

pub(crate) async fn list_parts(call: Call) -> S3Result<Response> {
    let most = call.number(
        "max-parts",
        call.config().max_parts_listing,
        call.config().max_parts_listing,
    )?;
    let after = call.number("part-number-marker", 0, 99_999_999)?;
    let encodes = encodes(&call)?;
    let session = find(&call).await?;
    let after = u32::try_from(after).unwrap_or(u32::MAX);
    let mut parts = parts(&call.swift, &call.bucket, &call.key, &session.id, after, most + 1).await?;
    let is_truncated = parts.len() > most;
    parts.truncate(most);
    Ok(document(Xml::document("ListPartsResult", |xml| {
        xml.leaf("Bucket", &call.bucket);
        xml.leaf("Key", &name(encodes, &call.key));
        xml.leaf("UploadId", &session.id);
        acl::owner(xml, "Initiator", &call.identity.user);
        acl::owner(xml, "Owner", call.bucket_owner());
        xml.leaf("StorageClass", "STANDARD");
        if let Some((algorithm, kind)) = session.checksum {
            xml.leaf("ChecksumAlgorithm", algorithm.name());
            xml.leaf("ChecksumType", kind.as_str());
        }
        xml.number("PartNumberMarker", u64::from(after));
        xml.number(
            "NextPartNumberMarker",
            parts.last().map_or(0, |part| u64::from(part.number)),
        );
        xml.number("MaxParts", most as u64);
        if encodes {
            xml.leaf("EncodingType", "url");
        }
        xml.flag("IsTruncated", is_truncated);
        for part in &parts {
            xml.within("Part", |xml| {
                xml.number("PartNumber", u64::from(part.number));
                xml.leaf("LastModified", &time::of_row(&part.last_modified));
                xml.leaf("ETag", &quoted(&part.etag));
                xml.number("Size", part.size);
            });
        }
    })))
}

/// An upload in a listing, or a prefix that many share.
enum Entry {
    Upload { key: String, id: String, begun: String },
    CommonPrefix(String),
}

fn entry(row: Row) -> Option<Entry> {
    if let Some(prefix) = row.subdir {
        return Some(Entry::CommonPrefix(prefix));
    }
    let (key, id) = row.name.rsplit_once('\0')?;
    Some(Entry::Upload {
        key: key.to_owned(),
        id: id.to_owned(),
        begun: row.last_modified,
    })
}

/// The name of the session a listing goes on after.
fn marker(key_marker: &str, id_marker: &str) -> String {
    match (key_marker, id_marker) {
        ("", _) => String::new(),
        // All uploads of the key: the byte after NUL sorts after each of them.
        (key, "") => format!("{key}\0\u{7f}"),
        (key, id) => format!("{key}\0{id}"),
    }
}

pub(crate) async fn list_uploads(call: Call) -> S3Result<Response> {
    let most = call.number(
        "max-uploads",
        call.config().max_parts_listing,
        call.config().max_parts_listing,
    )?;
    let encodes = encodes(&call)?;
    let prefix = call.query.get("prefix").unwrap_or_default();
    let delimiter = call.query.get("delimiter").unwrap_or_default();
    let key_marker = call.query.get("key-marker").unwrap_or_default();
    let id_marker = call.query.get("upload-id-marker").unwrap_or_default();
    call.head_bucket().await?;
    let container = sessions_container(&call.bucket);
    let ask = call
        .swift
        .container(Method::GET, &container)
        .query("limit", &(most + 2).to_string())
        .query_if("prefix", Some(prefix))
        .query_if("delimiter", Some(delimiter))
        .query_if("marker", Some(&marker(key_marker, id_marker)));
    let rows = match call.swift.list(&call.bucket, ask).await {
        Ok(rows) => rows,
        // No upload was ever begun here.
        Err(error) if error.code == Code::NoSuchBucket => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut entries: Vec<Entry> = rows.into_iter().filter_map(entry).collect();
    entries.retain(|entry| match entry {
        Entry::Upload { .. } => true,
        Entry::CommonPrefix(prefix) => key_marker.is_empty() || prefix.as_str() > key_marker,
    });
    let is_truncated = most > 0 && entries.len() > most;
    entries.truncate(most);
    Ok(document(Xml::document("ListMultipartUploadsResult", |xml| {
        xml.leaf("Bucket", &call.bucket);
        xml.leaf("KeyMarker", &name(encodes, key_marker));
        xml.leaf("UploadIdMarker", id_marker);
        // Where the page ends is said of every page of more than one, as Swift's s3api does.
        let (key, id) = match entries.last() {
            Some(Entry::Upload { key, id, .. }) if is_truncated || entries.len() > 1 => {
                (key.as_str(), id.as_str())
            }
            Some(Entry::CommonPrefix(prefix)) if is_truncated || entries.len() > 1 => (prefix.as_str(), ""),
            _ => ("", ""),
        };
        xml.leaf("NextKeyMarker", &name(encodes, key));
        xml.leaf("NextUploadIdMarker", id);
        if !delimiter.is_empty() {
            xml.leaf("Delimiter", &name(encodes, delimiter));
        }
        xml.leaf("Prefix", &name(encodes, prefix));
        xml.number("MaxUploads", most as u64);
        if encodes {
            xml.leaf("EncodingType", "url");
        }
        xml.flag("IsTruncated", is_truncated);
        for entry in &entries {
            if let Entry::Upload { key, id, begun } = entry {
                xml.within("Upload", |xml| {
                    xml.leaf("Key", &name(encodes, key));
                    xml.leaf("UploadId", id);
                    acl::owner(xml, "Initiator", &call.identity.user);
                    acl::owner(xml, "Owner", call.bucket_owner());
                    xml.leaf("StorageClass", "STANDARD");
                    xml.leaf("Initiated", &time::of_row(begun));
                });
            }
        }
        for entry in &entries {
            if let Entry::CommonPrefix(prefix) = entry {
                xml.within("CommonPrefixes", |xml| xml.leaf("Prefix", &name(encodes, prefix)));
            }
        }
    })))
}
