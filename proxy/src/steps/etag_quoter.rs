//! Puts ETags of objects between quotes, as RFC 7232 wants them, for the accounts and containers that ask for it.
//!
//! See "Etag Quoter" in Swift's middleware documentation: a container's own word is stronger than its account's, and that
//! than the default.

use crate::context::{is_true, target};
use crate::core::{AccountInfo, ContainerInfo};
use crate::pipeline::Next;
use http::header::{ETAG, HeaderMap, HeaderName};
use martlet_protocol::name::{ObjectPath, Target};
use martlet_service::{Request, Response, headers};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whether ETags are quoted where neither container nor account says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtagQuoterConfig {
    pub enable_by_default: bool,
}

/// The step's part of `/info`.
pub fn info(config: &EtagQuoterConfig) -> Value {
    json!({"enable_by_default": config.enable_by_default})
}

/// How an account or container names its word, to clients and inside.
struct Names {
    client: &'static str,
    removal: &'static str,
    kept: &'static str,
}

const OF_ACCOUNTS: Names = Names {
    client: "x-account-rfc-compliant-etags",
    removal: "x-remove-account-rfc-compliant-etags",
    kept: "x-account-sysmeta-rfc-compliant-etags",
};
const OF_CONTAINERS: Names = Names {
    client: "x-container-rfc-compliant-etags",
    removal: "x-remove-container-rfc-compliant-etags",
    kept: "x-container-sysmeta-rfc-compliant-etags",
};
/// The kept name without its family, as account and container information has it.
const FLAG: &str = "rfc-compliant-etags";

pub async fn run(request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    match &*target {
        Target::Account(_) => switch(request, next, &OF_ACCOUNTS).await,
        Target::Container(_) => switch(request, next, &OF_CONTAINERS).await,
        Target::Object(path) => {
            let mut response = next.clone().run(request).await;
            if let Some(quoted) = quoted(response.headers())
                && is_wanted(&next, path).await
            {
                headers::set(response.headers_mut(), ETAG.as_str(), &quoted);
            }
            response
        }
    }
}

async fn switch(mut request: Request, next: Next, names: &Names) -> Response {
    keep(request.headers_mut(), names);
    let mut response = next.run(request).await;
    let map = response.headers_mut();
    if let Some(value) = map.remove(names.kept) {
        map.insert(HeaderName::from_static(names.client), value);
    }
    response
}

/// Turns what a client asks into what is kept; an empty value takes the word back.
fn keep(map: &mut HeaderMap, names: &Names) {
    if let Some(value) = headers::text(map, names.client) {
        let kept = match value {
            "" => "",
            value if is_true(value) => "True",
            _ => "False",
        };
        headers::set(map, names.kept, kept);
    }
    if headers::text(map, names.removal).is_some_and(|value| !value.is_empty()) {
        headers::set(map, names.kept, "");
    }
}

/// The ETag between quotes; `None` when there is none or it stands between quotes already.
fn quoted(map: &HeaderMap) -> Option<String> {
    let etag = headers::text(map, ETAG.as_str())?;
    let has_quotes =
        etag.len() > 1 && (etag.starts_with('"') || etag.starts_with("W/\"")) && etag.ends_with('"');
    (!has_quotes).then(|| ["\"", etag, "\""].concat())
}

async fn is_wanted(next: &Next, path: &ObjectPath) -> bool {
    let edge = next.edge();
    let container = edge.core.container_info(&path.container_path()).await;
    if !container.exists() {
        return false;
    }
    if container.sysmeta.contains_key(FLAG) {
        return decide(&container, None, false);
    }
    let account = edge.core.account_info(&path.account).await;
    account.exists()
        && decide(
            &container,
            Some(&account),
            edge.config.etag_quoter.enable_by_default,
        )
}

fn decide(container: &ContainerInfo, account: Option<&AccountInfo>, default: bool) -> bool {
    let own = container.sysmeta.get(FLAG);
    let word = own.or_else(|| account.and_then(|account| account.sysmeta.get(FLAG)));
    word.map_or(default, |word| is_true(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_quoted_once() {
        for (etag, expected) in [
            ("abc", Some("\"abc\"")),
            ("\"abc\"", None),
            ("W/\"abc\"", None),
            ("\"abc", Some("\"\"abc\"")),
            ("\"", Some("\"\"\"")),
        ] {
            let mut map = HeaderMap::new();
            headers::set(&mut map, "etag", etag);
            assert_eq!(quoted(&map).as_deref(), expected, "{etag}");
        }
        assert_eq!(quoted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_containers_word_is_the_strongest() {
        let flag = |word: Option<&str>| {
            word.map(|word| (FLAG.to_owned(), word.to_owned()))
                .into_iter()
                .collect()
        };
        for (container, account, default, expected) in [
            (None, None, false, false),
            (None, None, true, true),
            (None, Some("True"), false, true),
            (None, Some("False"), true, false),
            (Some("False"), Some("True"), true, false),
            (Some("True"), Some("False"), false, true),
        ] {
            let container = ContainerInfo {
                sysmeta: flag(container),
                ..ContainerInfo::default()
            };
            let account = AccountInfo {
                sysmeta: flag(account),
                ..AccountInfo::default()
            };
            assert_eq!(decide(&container, Some(&account), default), expected);
        }
    }

    #[test]
    fn words_are_kept_and_taken_back() {
        for (name, value, expected) in [
            (OF_CONTAINERS.client, "yes", "True"),
            (OF_CONTAINERS.client, "no", "False"),
            (OF_CONTAINERS.client, "junk", "False"),
            (OF_CONTAINERS.client, "", ""),
            (OF_CONTAINERS.removal, "x", ""),
        ] {
            let mut map = HeaderMap::new();
            headers::set(&mut map, name, value);
            keep(&mut map, &OF_CONTAINERS);
            assert_eq!(map[OF_CONTAINERS.kept], expected, "{name}: {value}");
        }
    }
}
