//! Listings of accounts: the bytes of versions count as those of their container.

use super::super::{CONTAINER_PREFIX, parent_container};
use super::versions::{read, written};
use super::{Refusal, listing};
use crate::context::{self, Origin, allows_reserved_names, is_true};
use crate::pipeline::Next;
use crate::steps::answer;
use crate::steps::paths::RESERVED;
use http::{Method, StatusCode};
use martlet_protocol::listing::ListingQuery;
use martlet_protocol::name::{AccountName, Target};
use martlet_protocol::query::Query;
use martlet_service::{Body, Request, Response};
use serde_json::Value;
use std::collections::BTreeMap;

pub async fn list(request: Request, next: Next, account: AccountName) -> Result<Response, Refusal> {
    if allows_reserved_names(request.headers()) {
        // The inside sees hidden containers as they are.
        return Ok(next.run(request).await);
    }
    let asked = context::query(&request);
    let origin = Origin::of(&request).privileged();
    let response = next.clone().run(request).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let query = query_of_hidden(&asked);
    let hidden = origin.request(Method::GET, Target::Account(account), &query.encode());
    let hidden = next.clone().run(hidden).await;
    if !hidden.status().is_success() {
        return Ok(response);
    }
    let unreadable = || Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE));
    let hidden = read(hidden.into_body()).await.ok_or_else(unreadable)?;
    if hidden.is_empty() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let own = read(body).await.ok_or_else(unreadable)?;
    let max = next.edge().config.constraints.account_listing_limit;
    let limit = ListingQuery::parse(&asked, max).map_or(max, |query| query.limit);
    let is_reversed = asked.get("reverse").is_some_and(is_true);
    let rows = listing::sorted(merge(own, hidden), is_reversed, limit);
    Ok(written(Response::from_parts(parts, Body::empty()), rows))
}

/// The same page of the hidden containers.
fn query_of_hidden(asked: &Query) -> Query {
    let mut query = Query::default();
    query.push("format", "json");
    for (name, value) in asked.iter().filter(|(_, value)| !value.is_empty()) {
        match name {
            "limit" | "reverse" | "delimiter" => query.push(name, value),
            // The `paths` step begins pages of outside past all reserved names; here that is the beginning.
            "marker" | "end_marker" if !value.contains(RESERVED) => {
                query.push(name, format!("{CONTAINER_PREFIX}{value}"));
            }
            _ => {}
        }
    }
    let prefix = asked.get("prefix").unwrap_or("");
    query.push("prefix", format!("{CONTAINER_PREFIX}{prefix}"));
    query
}

/// Adds the bytes of hidden containers to their parents'. Those without a parent are shown under its name, so that
/// what they hold is not forgotten.
fn merge(own: Vec<Value>, hidden: Vec<Value>) -> Vec<Value> {
    let name = |row: &Value| row["name"].as_str().map(str::to_owned);
    let mut by_parent: BTreeMap<String, Value> = BTreeMap::new();
    for row in hidden {
        if let Some(parent) = name(&row).as_deref().and_then(parent_container) {
            by_parent.insert(parent.to_owned(), row);
        }
    }
    let mut rows = own;
    for row in &mut rows {
        let Some(kept) = name(row).and_then(|name| by_parent.remove(&name)) else {
            continue;
        };
        let bytes = |row: &Value| row["bytes"].as_u64().unwrap_or(0);
        row["bytes"] = bytes(row).saturating_add(bytes(&kept)).into();
    }
    for (parent, mut row) in by_parent {
        row["name"] = parent.into();
        row["count"] = 0.into();
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_of_versions_count() {
        let own = vec![
            json!({"name": "a", "count": 1, "bytes": 5}),
            json!({"subdir": "d-"}),
        ];
        let hidden = vec![
            json!({"name": "\0versions\0a", "count": 3, "bytes": 30}),
            json!({"name": "\0versions\0lost", "count": 2, "bytes": 7}),
            json!({"subdir": "\0versions\0d-"}),
        ];
        assert_eq!(
            merge(own, hidden),
            [
                json!({"name": "a", "count": 1, "bytes": 35}),
                json!({"subdir": "d-"}),
                json!({"name": "lost", "count": 0, "bytes": 7}),
            ]
        );
    }

    #[test]
    fn the_hidden_page_matches() {
        let ask = |query: &str| query_of_hidden(&Query::parse(query).unwrap());
        let query = ask("limit=5&marker=m&prefix=p&reverse=on&versions=&format=json");
        assert_eq!(
            (query.get("marker"), query.get("prefix"), query.get("limit")),
            (Some("\0versions\0m"), Some("\0versions\0p"), Some("5"))
        );
        let query = ask("marker=%00%F4%8F%BF%BF");
        assert_eq!(
            (query.get("marker"), query.get("prefix")),
            (None, Some("\0versions\0"))
        );
    }
}
