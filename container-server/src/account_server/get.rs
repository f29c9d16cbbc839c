//! Shows an account: its headers, and the listing of its containers.

use super::{AccountServer, Addressed, deleted_mark, headers::describe};
use crate::errors::Refusal;
use crate::listing_body;
use crate::listing_response::{ListingFormat, respond_rows};
use crate::request;
use http::request::Parts;
use martlet_protocol::header;
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::row::{ContainerRow, ListingEntry};
use martlet_service::Response;
use martlet_service::headers::is_true;
use martlet_storage::{Device, Row, Space};

impl AccountServer {
    /// 204, or 404 (`X-Account-Status: Deleted` when it was there once).
    pub(super) async fn head_account(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let format = ListingFormat::choose(&request::query(&head.uri)?, &head.headers)?;
        let device = self.device(at)?;
        let record = existing(&device, at).await?;
        Ok(format.respond_head(describe(&record, &self.policies, &device)))
    }

    /// 200 with the listing (204 for an empty one in plain text), or 404 as for HEAD. With `X-Backend-Martlet-Rows` the
    /// rows come whole, tombstones included.
    pub(super) async fn get_account(&self, head: &Parts, at: &Addressed) -> Result<Response, Refusal> {
        let query = request::query(&head.uri)?;
        let mut wanted = ListingQuery::parse(&query, self.config.limits.account_listing_limit)?;
        // Pseudo-folders are for objects: accounts know no `path`.
        wanted.path = None;
        let format = ListingFormat::choose(&query, &head.headers)?;
        let whole_rows = is_true(&head.headers, header::X_BACKEND_MARTLET_ROWS);
        // A proxy that merges whole rows hides the cluster's own names itself, where it knows who is asking.
        if !whole_rows && !is_true(&head.headers, header::X_BACKEND_ALLOW_RESERVED_NAMES) {
            wanted.skip_reserved();
        }
        let device = self.device(at)?;
        let record = existing(&device, at).await?;
        let entries = device.list(Space::Accounts, at.hash, &wanted, whole_rows).await?;
        let entries: Vec<_> = entries.into_iter().filter_map(container_entry).collect();
        let out = describe(&record, &self.policies, &device);
        if whole_rows {
            return Ok(respond_rows(out, &entries));
        }
        let body = match format {
            ListingFormat::Text => listing_body::text(&entries, |row| &row.name),
            ListingFormat::Json => listing_body::containers_json(&entries, &self.policies),
            ListingFormat::ApplicationXml | ListingFormat::TextXml => {
                listing_body::containers_xml(&at.account, &entries, &self.policies)
            }
        };
        Ok(format.respond(out, body))
    }
}

/// The record of an account that is there, or the 404 that says whether it ever was.
async fn existing(device: &Device, at: &Addressed) -> Result<ContainerRecord, Refusal> {
    match device.container(Space::Accounts, at.hash).await? {
        Some(record) if !record.is_deleted() => Ok(record),
        gone => {
            let mut out = deleted_mark(gone.as_ref());
            martlet_service::headers::set(
                &mut out,
                header::X_BACKEND_MARTLET_SYNCED,
                &device.synced_at().normal(),
            );
            martlet_service::headers::set(
                &mut out,
                header::X_BACKEND_MARTLET_RINGS,
                &format!("{:016x}", device.synced_rings()),
            );
            Err(Refusal::NotFound(out))
        }
    }
}

fn container_entry(entry: ListingEntry<Row>) -> Option<ListingEntry<ContainerRow>> {
    match entry {
        ListingEntry::Row(Row::Container(row)) => Some(ListingEntry::Row(row)),
        ListingEntry::Subdir(subdir) => Some(ListingEntry::Subdir(subdir)),
        // Accounts hold rows of containers only.
        ListingEntry::Row(Row::Object(_)) => None,
    }
}
