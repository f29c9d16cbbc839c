//! Container listings: the row of a link says where it leads.

use crate::pipeline::Next;
use crate::steps::listing_page;
use martlet_protocol::name::AccountName;
use martlet_protocol::percent;
use martlet_service::{Request, Response};
use serde_json::Value;

/// Stands in the hash of every row of a link, and next to never in another.
const MARK: &str = "; symlink_target=";

pub async fn get(request: Request, next: Next, account: &AccountName) -> Response {
    listing_page::rewrite(request, next, MARK, |row| show(row, account)).await
}

/// Takes the link's parameters out of a hash; those of other steps stay in it.
fn show(row: &mut Value, own: &AccountName) {
    let hash = row.get("hash").and_then(Value::as_str);
    let Some(hash) = hash.filter(|hash| hash.contains(MARK)).map(str::to_owned) else {
        return;
    };
    let mut items = hash.split("; ");
    let mut kept = items.next().unwrap_or("").to_owned();
    let (mut target, mut account) = (None, percent::quote(own));
    for item in items {
        match item.split_once('=') {
            Some(("symlink_target", value)) => target = Some(value),
            Some(("symlink_target_account", value)) => account = value.to_owned(),
            Some(("symlink_target_etag", value)) => row["symlink_etag"] = value.into(),
            Some(("symlink_target_bytes", value)) => {
                if let Ok(bytes) = value.parse::<u64>() {
                    row["symlink_bytes"] = bytes.into();
                }
            }
            _ => {
                kept.push_str("; ");
                kept.push_str(item);
            }
        }
    }
    row["hash"] = kept.into();
    if let Some(target) = target {
        row["symlink_path"] = format!("/v1/{account}/{target}").into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_links_say_where_they_lead() {
        let account = AccountName::new("a b").unwrap();
        for (hash, expected) in [
            (
                "e; symlink_target=c/o",
                json!({"hash": "e", "symlink_path": "/v1/a%20b/c/o"}),
            ),
            (
                "e; slo_etag=s; symlink_target=c/o; symlink_target_account=b; symlink_target_etag=t; symlink_target_bytes=7",
                json!({"hash": "e; slo_etag=s", "symlink_path": "/v1/b/c/o", "symlink_etag": "t", "symlink_bytes": 7}),
            ),
            ("e; slo_etag=s", json!({"hash": "e; slo_etag=s"})),
            ("e", json!({"hash": "e"})),
        ] {
            let page = serde_json::to_vec(&json!([{"hash": hash}, {"subdir": "x/"}])).unwrap();
            let rows: Value =
                serde_json::from_slice(&listing_page::changed(&page, |row| show(row, &account)).unwrap())
                    .unwrap();
            assert_eq!(rows, json!([expected, {"subdir": "x/"}]));
        }
    }
}
