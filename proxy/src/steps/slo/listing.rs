//! Container listings: a large object's row keeps two ETags, which are shown apart.

use crate::pipeline::Next;
use crate::steps::listing_page;
use martlet_service::{Request, Response};
use serde_json::Value;

const MARK: &str = "slo_etag=";

pub async fn get(request: Request, next: Next) -> Response {
    listing_page::rewrite(request, next, MARK, split).await
}

fn split(row: &mut Value) {
    let hash = row.get("hash").and_then(Value::as_str);
    let Some((own, large)) = hash.and_then(apart) else {
        return;
    };
    row["hash"] = own.into();
    row["slo_etag"] = large.into();
}

/// A row's hash without the large object's ETag, and that ETag, quoted. Other parameters stay with the hash.
fn apart(hash: &str) -> Option<(String, String)> {
    let mut parameters = hash.split(';').map(str::trim);
    let mut own = parameters.next()?.to_owned();
    let mut large = None;
    for parameter in parameters {
        match parameter.strip_prefix(MARK) {
            Some(etag) => large = Some(format!("\"{}\"", etag.trim_matches('"'))),
            None => own = format!("{own}; {parameter}"),
        }
    }
    Some((own, large?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_etags_are_shown_apart() {
        let page = br#"[{"name":"a","hash":"e1; slo_etag=e2"},{"subdir":"b/"},{"name":"slo_etag=","hash":"e3; a=b"}]"#;
        let rows: Vec<Value> = serde_json::from_slice(&listing_page::changed(page, split).unwrap()).unwrap();
        assert_eq!(
            (rows[0]["hash"].as_str(), rows[0]["slo_etag"].as_str()),
            (Some("e1"), Some("\"e2\""))
        );
        assert_eq!(
            (rows[2]["hash"].as_str(), rows[2].get("slo_etag")),
            (Some("e3; a=b"), None)
        );
        assert_eq!(
            apart("e1; this=that;slo_etag=e2"),
            Some(("e1; this=that".into(), "\"e2\"".into()))
        );
        assert_eq!(
            apart("e1;slo_etag=e2; x=y"),
            Some(("e1; x=y".into(), "\"e2\"".into()))
        );
        assert_eq!(listing_page::changed(b"plain text; slo_etag=x", split), None);
    }
}
