//! Shows a container: its headers, and the listing of its objects.

use super::{Addressed, ContainerServer, headers::absent, headers::describe};
use crate::errors::Refusal;
use crate::listing_body;
use crate::listing_response::{ListingFormat, respond_rows};
use crate::request;
use http::HeaderValue;
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::{ListingEntry, ObjectRow};
use martlet_service::Response;
use martlet_service::headers::{is_true, set};
use martlet_storage::{Device, Row, Space};

impl ContainerServer {
    /// 204, or 404 with what is known of a deleted container.
    pub(super) async fn head_container(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let format = ListingFormat::choose(&request::query(&head.uri)?, &head.headers)?;
        let device = self.device(at)?;
        let record = existing(&device, at).await?;
        Ok(format.respond_head(describe(&record, &device)))
    }

    /// 200 with the listing (204 for an empty one in plain text), or 404 as for HEAD. With `X-Backend-Martlet-Rows` the
    /// rows come whole, tombstones included, so that a proxy can merge several replicas' answers by timestamp.
    pub(super) async fn get_container(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let query = request::query(&head.uri)?;
        let mut wanted = ListingQuery::parse(&query, self.config.limits.container_listing_limit)?;
        let format = ListingFormat::choose(&query, &head.headers)?;
        request::policy(&head.headers, &self.policies)?;
        let whole_rows = is_true(&head.headers, header::X_BACKEND_MARTLET_ROWS);
        // A proxy that merges whole rows hides the cluster's own names itself, where it knows who is asking.
        if !whole_rows && !is_true(&head.headers, header::X_BACKEND_ALLOW_RESERVED_NAMES) {
            wanted.skip_reserved();
        }
        let device = self.device(at)?;
        let record = existing(&device, at).await?;
        let entries = device
            .list(Space::Containers, at.hash, &wanted, whole_rows)
            .await?;
        let entries: Vec<_> = entries.into_iter().filter_map(object_entry).collect();
        let mut out = describe(&record, &device);
        out.insert("x-backend-record-type", HeaderValue::from_static("object"));
        set(
            &mut out,
            "x-backend-record-storage-policy-index",
            &record.policy.to_string(),
        );
        if whole_rows {
            return Ok(respond_rows(out, &entries));
        }
        let body = match format {
            ListingFormat::Text => listing_body::text(&entries, |row| &row.name),
            ListingFormat::Json => listing_body::objects_json(&entries),
            ListingFormat::ApplicationXml | ListingFormat::TextXml => {
                listing_body::objects_xml(&at.container, &entries)
            }
        };
        Ok(format.respond(out, body))
    }
}

/// The record of a container that is there, or the 404 that says what is known.
async fn existing(device: &Device, at: &Addressed) -> Result<ContainerRecord, Refusal> {
    match device.container(Space::Containers, at.hash).await? {
        Some(record) if !record.is_deleted() => Ok(record),
        gone => Err(Refusal::NotFound(absent(gone.as_ref(), device))),
    }
}

fn object_entry(entry: ListingEntry<Row>) -> Option<ListingEntry<ObjectRow>> {
    match entry {
        ListingEntry::Row(Row::Object(row)) => Some(ListingEntry::Row(row)),
        ListingEntry::Subdir(subdir) => Some(ListingEntry::Subdir(subdir)),
        // Containers hold rows of objects only.
        ListingEntry::Row(Row::Container(_)) => None,
    }
}
