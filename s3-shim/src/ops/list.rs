//! Listings of a bucket: ListObjects in both versions, and ListObjectVersions.

use super::{Call, acl, document, time, versioning};
use crate::errors::{Code, S3Error, S3Result};
use crate::metadata::{DELETE_MARKER_TYPE, listed_etag, quoted};
use crate::swift::Row;
use crate::xml::write::Xml;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use martlet_protocol::percent::quote;
use martlet_service::Response;

/// Sorts after every name that begins with a prefix: the last code point there is.
const LAST: char = '\u{10ffff}';

/// What a listing was asked for.
struct Wanted<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    max_keys: usize,
    encodes: bool,
    /// A listing of versions repeats the delimiter it was given, be it empty.
    shows_empty_delimiter: bool,
}

/// A page: rows in order, and whether more follow.
struct Page {
    rows: Vec<Row>,
    is_truncated: bool,
}

impl Page {
    /// The name the next page begins after.
    fn last(&self) -> Option<&str> {
        self.rows
            .last()
            .map(|row| row.subdir.as_deref().unwrap_or(&row.name))
    }
}

impl<'a> Wanted<'a> {
    fn read(call: &'a Call, count: &str) -> S3Result<Self> {
        let encodes = match call.query.get("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(other) => {
                return Err(S3Error::argument(
                    "encoding-type",
                    other,
                    "Invalid Encoding Method specified in Request",
                ));
            }
        };
        let largest = call.config().max_bucket_listing;
        Ok(Wanted {
            prefix: call.query.get("prefix").unwrap_or_default(),
            delimiter: call.query.get("delimiter").unwrap_or_default(),
            max_keys: call.number(count, largest, largest)?,
            encodes,
            shows_empty_delimiter: false,
        })
    }

    /// Names as the client wants them written.
    fn name(&self, name: &str) -> String {
        if self.encodes {
            quote(name)
        } else {
            name.to_owned()
        }
    }

    async fn page(&self, call: &Call, marker: &str) -> S3Result<Page> {
        if self.max_keys == 0 {
            call.head_bucket().await?;
            return Ok(Page {
                rows: Vec::new(),
                is_truncated: false,
            });
        }
        let after = self.skip(marker);
        // One more than is shown tells whether there is a next page; one more for a common prefix that was shown.
        let ask = call
            .swift
            .container(Method::GET, &call.bucket)
            .query("limit", &(self.max_keys + 2).to_string())
            .query_if("prefix", Some(self.prefix))
            .query_if("delimiter", Some(self.delimiter))
            .query_if("marker", Some(&after));
        let mut rows = call.swift.list(&call.bucket, ask).await?;
        rows.retain(|row| {
            row.subdir
                .as_deref()
                .is_none_or(|subdir| marker.is_empty() || subdir > marker)
        });
        let is_truncated = rows.len() > self.max_keys;
        rows.truncate(self.max_keys);
        Ok(Page { rows, is_truncated })
    }

    /// A page of versions, after a version of the key that is the marker if one is named, else after all of that key.
    async fn page_of_versions(
        &self,
        call: &Call,
        marker: &str,
        version_marker: Option<&str>,
    ) -> S3Result<Page> {
        let limit = self.max_keys + 1;
        let ask = call
            .swift
            .container(Method::GET, &call.bucket)
            .query("versions", "true")
            .query("limit", &limit.to_string())
            .query_if("prefix", Some(self.prefix))
            .query_if("delimiter", Some(self.delimiter))
            .query_if("marker", Some(&self.skip(marker)))
            .query_if("version_marker", version_marker);
        let mut rows = match call.swift.list(&call.bucket, ask).await {
            Err(error) if error.code == Code::InvalidBucketName => {
                return Err(S3Error::argument(
                    "version-id-marker",
                    version_marker.unwrap_or_default(),
                    "Invalid version id specified",
                ));
            }
            listed => listed?,
        };
        let is_truncated = self.max_keys > 0 && rows.len() > self.max_keys;
        rows.truncate(self.max_keys);
        Ok(Page { rows, is_truncated })
    }

    /// A marker that is a common prefix stands for all names that begin with it.
    fn skip(&self, marker: &str) -> String {
        let is_common_prefix = !self.delimiter.is_empty()
            && marker.len() > self.prefix.len()
            && marker.starts_with(self.prefix)
            && marker.ends_with(self.delimiter);
        if is_common_prefix {
            format!("{marker}{LAST}")
        } else {
            marker.to_owned()
        }
    }

    fn write_rows(&self, xml: &mut Xml, page: &Page, write: impl Fn(&mut Xml, &Row)) {
        for row in page.rows.iter().filter(|row| row.subdir.is_none()) {
            write(xml, row);
        }
        for subdir in page.rows.iter().filter_map(|row| row.subdir.as_deref()) {
            xml.within("CommonPrefixes", |xml| xml.leaf("Prefix", &self.name(subdir)));
        }
    }

    fn write_object(&self, xml: &mut Xml, row: &Row) {
        xml.leaf("Key", &self.name(&row.name));
        xml.leaf("LastModified", &time::of_row(&row.last_modified));
        xml.leaf("ETag", &quoted(&listed_etag(&row.hash)));
        xml.number("Size", row.bytes);
    }

    fn write_end(&self, xml: &mut Xml) {
        if !self.delimiter.is_empty() || self.shows_empty_delimiter {
            xml.leaf("Delimiter", &self.name(self.delimiter));
        }
        if self.encodes {
            xml.leaf("EncodingType", "url");
        }
    }
}

pub(super) async fn version_one(call: Call) -> S3Result<Response> {
    let wanted = Wanted::read(&call, "max-keys")?;
    let marker = call.query.get("marker").unwrap_or_default();
    let page = wanted.page(&call, marker).await?;
    Ok(document(Xml::document("ListBucketResult", |xml| {
        xml.leaf("Name", &call.bucket);
        xml.leaf("Prefix", &wanted.name(wanted.prefix));
        xml.leaf("Marker", &wanted.name(marker));
        // Without a delimiter the next marker is the last key, and S3 says nothing of it.
        if let (true, false, Some(last)) = (page.is_truncated, wanted.delimiter.is_empty(), page.last()) {
            xml.leaf("NextMarker", &wanted.name(last));
        }
        xml.number("MaxKeys", wanted.max_keys as u64);
        wanted.write_end(xml);
        xml.flag("IsTruncated", page.is_truncated);
        wanted.write_rows(xml, &page, |xml, row| {
            xml.within("Contents", |xml| {
                wanted.write_object(xml, row);
                acl::owner(xml, "Owner", call.bucket_owner());
                xml.leaf("StorageClass", "STANDARD");
            });
        });
    })))
}

pub(super) async fn version_two(call: Call) -> S3Result<Response> {
    let wanted = Wanted::read(&call, "max-keys")?;
    let start_after = call.query.get("start-after");
    let token = call.query.get("continuation-token");
    let marker = match token {
        Some("") => String::new(),
        Some(token) => read_token(token)?,
        None => start_after.unwrap_or_default().to_owned(),
    };
    let shows_owner = call.query.get("fetch-owner") == Some("true");
    let page = wanted.page(&call, &marker).await?;
    Ok(document(Xml::document("ListBucketResult", |xml| {
        xml.leaf("Name", &call.bucket);
        xml.leaf("Prefix", &wanted.name(wanted.prefix));
        if let (true, Some(last)) = (page.is_truncated, page.last()) {
            xml.leaf("NextContinuationToken", &token_after(last));
        }
        if let Some(token) = token {
            xml.leaf("ContinuationToken", token);
        }
        if let Some(start_after) = start_after {
            xml.leaf("StartAfter", &wanted.name(start_after));
        }
        xml.number("KeyCount", page.rows.len() as u64);
        xml.number("MaxKeys", wanted.max_keys as u64);
        wanted.write_end(xml);
        xml.flag("IsTruncated", page.is_truncated);
        wanted.write_rows(xml, &page, |xml, row| {
            xml.within("Contents", |xml| {
                wanted.write_object(xml, row);
                if shows_owner {
                    acl::owner(xml, "Owner", call.bucket_owner());
                }
                xml.leaf("StorageClass", "STANDARD");
            });
        });
    })))
}

/// All versions, newest first for each key. In a bucket that never had versions every object is its own only one.
pub(super) async fn versions(call: Call) -> S3Result<Response> {
    let mut wanted = Wanted::read(&call, "max-keys")?;
    wanted.shows_empty_delimiter = call.query.has("delimiter");
    let marker = call.query.get("key-marker").unwrap_or_default();
    let version_marker = call.query.get("version-id-marker");
    if let (true, Some(version)) = (marker.is_empty() && !call.query.has("key-marker"), version_marker) {
        return Err(S3Error::argument(
            "version-id-marker",
            version,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let has_versions = versioning::of_bucket(&call.head_bucket().await?).is_some();
    let page = if has_versions {
        let version_marker = version_marker.filter(|version| !version.is_empty());
        wanted.page_of_versions(&call, marker, version_marker).await?
    } else {
        wanted.page(&call, marker).await?
    };
    Ok(document(Xml::document("ListVersionsResult", |xml| {
        xml.leaf("Name", &call.bucket);
        xml.leaf("Prefix", &wanted.name(wanted.prefix));
        xml.leaf("KeyMarker", &wanted.name(marker));
        xml.leaf("VersionIdMarker", version_marker.unwrap_or_default());
        if let (true, Some(last)) = (page.is_truncated, page.rows.last()) {
            xml.leaf("NextKeyMarker", &wanted.name(page.last().unwrap_or_default()));
            xml.leaf("NextVersionIdMarker", version_of(last));
        }
        xml.number("MaxKeys", wanted.max_keys as u64);
        wanted.write_end(xml);
        xml.flag("IsTruncated", page.is_truncated);
        wanted.write_rows(xml, &page, |xml, row| {
            let is_marker = row.content_type == DELETE_MARKER_TYPE;
            let element = if is_marker { "DeleteMarker" } else { "Version" };
            xml.within(element, |xml| {
                xml.leaf("Key", &wanted.name(&row.name));
                xml.leaf("VersionId", version_of(row));
                xml.flag("IsLatest", row.is_latest.unwrap_or(true));
                xml.leaf("LastModified", &time::of_row(&row.last_modified));
                if !is_marker {
                    xml.leaf("ETag", &quoted(&listed_etag(&row.hash)));
                    xml.number("Size", row.bytes);
                }
                acl::owner(xml, "Owner", call.bucket_owner());
                if !is_marker {
                    xml.leaf("StorageClass", "STANDARD");
                }
            });
        });
    })))
}

/// What S3 calls the version of a row.
fn version_of(row: &Row) -> &str {
    row.version_id
        .as_deref()
        .filter(|version| !version.is_empty())
        .unwrap_or("null")
}

fn token_after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

fn read_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|name| !name.is_empty())
        .ok_or_else(|| {
            S3Error::argument(
                "continuation-token",
                token,
                "The continuation token provided is incorrect",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_both_ways_and_others_are_refused() {
        assert_eq!(read_token(&token_after("a/b ü")).unwrap(), "a/b ü");
        for bad in ["", "a/b", "!!", "_w"] {
            assert!(read_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_common_prefix_as_marker_skips_its_names() {
        let wanted = Wanted {
            prefix: "p/",
            delimiter: "/",
            max_keys: 10,
            encodes: true,
            shows_empty_delimiter: false,
        };
        assert_eq!(wanted.skip("p/a/"), format!("p/a/{LAST}"));
        assert_eq!(wanted.skip("p/a"), "p/a");
        assert_eq!(wanted.skip("p/"), "p/");
        assert_eq!(wanted.skip("q/"), "q/");
        assert_eq!(wanted.name("a b/ü+"), "a%20b/%C3%BC%2B");
    }
}
