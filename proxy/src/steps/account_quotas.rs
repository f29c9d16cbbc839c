//! Holds accounts to the bytes and objects that the reseller allows them, in all and for each policy.
//!
//! See "Account Quotas" in Swift's middleware documentation. Quotas are kept as system metadata, by the policy's index;
//! only resellers set them, everybody who may look at the account sees them.

use super::answer;
use super::container_quotas::announced_length;
use super::dispatch::Judge;
use crate::Edge;
use crate::context::{self, PreAuthorized, target};
use crate::core::AccountInfo;
use crate::pipeline::Next;
use http::header::HeaderMap;
use http::{Method, StatusCode};
use martlet_protocol::name::{ObjectPath, Target};
use martlet_protocol::policy::{Policies, Policy};
use martlet_service::{Request, Response, headers};
use serde_json::{Map, Value, json};

/// What is counted, as headers name it.
const KINDS: [&str; 2] = ["quota-bytes", "quota-count"];

/// Adds what `/info` says of this step.
pub fn describe(sections: &mut Map<String, Value>) {
    sections.insert("account_quotas".into(), json!({}));
}

/// Only what may add to an account, and what shows or sets its quotas.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    *request.method() == Method::PUT || matches!(target(request).as_deref(), Some(Target::Account(_)))
}

pub async fn run(request: Request, next: Next) -> Response {
    let target = target(&request);
    match target.as_deref() {
        Some(Target::Account(_)) => Box::pin(about_account(request, next)).await,
        Some(Target::Object(path)) if *request.method() == Method::PUT && !is_reseller(&request) => {
            let length = announced_length(&request);
            match exceeded(&next, path, length).await {
                None => next.run(request).await,
                Some(words) => {
                    let verdict = Judge::of(&request, &next, path).verdict().await;
                    let exceeded = || answer::words(StatusCode::PAYLOAD_TOO_LARGE, words);
                    verdict.map_or_else(|refusal| *refusal, |()| exceeded())
                }
            }
        }
        _ => next.run(request).await,
    }
}

fn is_reseller(request: &Request) -> bool {
    request.extensions().get::<PreAuthorized>().is_some()
        || context::identity(request).is_some_and(|identity| identity.is_reseller_admin)
}

async fn about_account(mut request: Request, next: Next) -> Response {
    let policies = next.edge().policies.clone();
    if matches!(*request.method(), Method::PUT | Method::POST) {
        let is_reseller = is_reseller(&request);
        if let Err(status) = keep(request.headers_mut(), &policies, is_reseller) {
            return answer::status(status);
        }
    }
    let mut response = next.run(request).await;
    show(response.headers_mut(), &policies);
    response
}

/// Where a quota is kept; `None` is the account's as a whole.
fn stored_name(kind: &str, policy: Option<&Policy>) -> String {
    match policy {
        None => format!("x-account-sysmeta-{kind}"),
        Some(policy) => format!("x-account-sysmeta-{kind}-policy-{}", policy.index.0),
    }
}

/// How clients name it, without the `x-` or `x-remove-`.
fn public_name(kind: &str, policy: Option<&Policy>) -> String {
    match policy {
        None => format!("account-{kind}"),
        Some(policy) => format!("account-{kind}-policy-{}", policy.name.to_lowercase()),
    }
}

fn all_quotas(policies: &Policies) -> impl Iterator<Item = (&'static str, Option<&Policy>)> {
    KINDS.into_iter().flat_map(|kind| {
        std::iter::once((kind, None)).chain(policies.iter().map(move |policy| (kind, Some(policy))))
    })
}

/// Turns the quotas that a request sets into what is kept.
fn keep(map: &mut HeaderMap, policies: &Policies, is_reseller: bool) -> Result<(), StatusCode> {
    // The first form of the byte quota was plain metadata.
    for (old, new) in [
        ("x-account-meta-quota-bytes", "x-account-quota-bytes"),
        (
            "x-remove-account-meta-quota-bytes",
            "x-remove-account-quota-bytes",
        ),
    ] {
        if let Some(value) = map.get(old).cloned()
            && map.get(new).is_none_or(|value| value.is_empty())
        {
            map.insert(new, value);
        }
    }
    let mut kept = Vec::new();
    for (kind, policy) in all_quotas(policies) {
        let name = public_name(kind, policy);
        let removes = map
            .get(format!("x-remove-{name}"))
            .is_some_and(|value| !value.is_empty());
        let value = match removes {
            // A removal wins over a value.
            true => Some(Vec::new()),
            false => map
                .get(format!("x-{name}"))
                .map(|value| value.as_bytes().to_vec()),
        };
        if let Some(value) = value {
            kept.push((stored_name(kind, policy), value));
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    if !is_reseller {
        return Err(StatusCode::FORBIDDEN);
    }
    for (name, value) in kept {
        if !value.iter().all(u8::is_ascii_digit) {
            return Err(StatusCode::BAD_REQUEST);
        }
        headers::set(map, &name, &String::from_utf8_lossy(&value));
    }
    Ok(())
}

/// Shows the quotas that are kept.
fn show(map: &mut HeaderMap, policies: &Policies) {
    for (kind, policy) in all_quotas(policies) {
        let stored = headers::text(map, &stored_name(kind, policy)).map(str::to_owned);
        if let Some(value) = stored.filter(|value| !value.is_empty()) {
            headers::set(map, &format!("x-{}", public_name(kind, policy)), &value);
        }
    }
}

/// Which quota an upload of so many bytes would exceed, in words.
async fn exceeded(next: &Next, path: &ObjectPath, length: u64) -> Option<&'static str> {
    let core = &next.edge().core;
    let account = core.account_info(&path.account).await;
    if !account.exists() {
        return None;
    }
    if exceeds_whole(&account, length) {
        return Some("Upload exceeds quota.");
    }
    let has_policy_quota = account.sysmeta.keys().any(|name| name.contains("-policy-"));
    if !has_policy_quota {
        return None;
    }
    let container = core.container_info(&path.container_path()).await;
    let policy = next.edge().policies.by_index(container.policy)?;
    (container.exists() && exceeds_policy(&account, policy, length)).then_some("Upload exceeds policy quota.")
}

/// A quota that is no number limits nothing.
fn limit(text: Option<&String>) -> Option<u64> {
    let text = text?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn exceeds_whole(account: &AccountInfo, length: u64) -> bool {
    let bytes = account
        .sysmeta
        .get("quota-bytes")
        .or_else(|| account.metadata.get("quota-bytes"));
    limit(bytes).is_some_and(|most| account.bytes_used.saturating_add(length) > most)
        || limit(account.sysmeta.get("quota-count"))
            .is_some_and(|most| account.object_count.saturating_add(1) > most)
}

fn exceeds_policy(account: &AccountInfo, policy: &Policy, length: u64) -> bool {
    let used = account.usage(&policy.name);
    let quota = |kind: &str| limit(account.sysmeta.get(&format!("{kind}-policy-{}", policy.index.0)));
    quota("quota-bytes").is_some_and(|most| used.bytes.saturating_add(length) > most)
        || quota("quota-count").is_some_and(|most| used.objects.saturating_add(1) > most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_protocol::policy::PolicyIndex;
    use martlet_service::headers::of as map;

    fn policies() -> Policies {
        let policy = |index, name: &str| Policy {
            index: PolicyIndex(index),
            name: name.into(),
            aliases: Vec::new(),
            is_default: index == 0,
            is_deprecated: false,
        };
        Policies::new(vec![policy(0, "Gold"), policy(1, "silver")]).unwrap()
    }

    #[test]
    fn only_resellers_set_quotas() {
        for (name, value) in [
            ("x-account-meta-quota-bytes", "0"),
            ("x-account-quota-bytes", "0"),
            ("x-account-quota-bytes", ""),
            ("x-account-quota-count", "0"),
            ("x-account-quota-bytes-policy-gold", "0"),
            ("x-account-quota-count-policy-SILVER", "0"),
            ("x-remove-account-meta-quota-bytes", "t"),
            ("x-remove-account-quota-bytes", "t"),
            ("x-remove-account-quota-count-policy-silver", "t"),
        ] {
            let mut headers = map(&[(name, value)]);
            assert_eq!(
                keep(&mut headers, &policies(), false),
                Err(StatusCode::FORBIDDEN),
                "{name}"
            );
            assert_eq!(
                keep(&mut map(&[(name, value)]), &policies(), true),
                Ok(()),
                "{name}"
            );
        }
        let mut other = map(&[("x-account-meta-colour", "red")]);
        assert_eq!(keep(&mut other, &policies(), false), Ok(()));
        assert_eq!(other.len(), 1);
    }

    #[test]
    fn quotas_are_kept_by_index_and_shown_by_name() {
        let mut headers = map(&[
            ("x-account-quota-bytes", "100"),
            ("x-remove-account-quota-bytes", "t"),
            ("x-account-quota-count", "7"),
            ("x-account-quota-bytes-policy-silver", "50"),
        ]);
        keep(&mut headers, &policies(), true).unwrap();
        assert_eq!(headers["x-account-sysmeta-quota-bytes"], "");
        assert_eq!(headers["x-account-sysmeta-quota-count"], "7");
        assert_eq!(headers["x-account-sysmeta-quota-bytes-policy-1"], "50");
        let mut shown = map(&[
            ("x-account-sysmeta-quota-bytes", ""),
            ("x-account-sysmeta-quota-count", "7"),
            ("x-account-sysmeta-quota-count-policy-0", "3"),
        ]);
        show(&mut shown, &policies());
        assert_eq!(shown["x-account-quota-count"], "7");
        assert_eq!(shown["x-account-quota-count-policy-gold"], "3");
        assert!(!shown.contains_key("x-account-quota-bytes"));
        for bad in ["abc", "-1", "1.5", "1 "] {
            let mut headers = map(&[("x-account-quota-bytes", bad)]);
            assert_eq!(
                keep(&mut headers, &policies(), true),
                Err(StatusCode::BAD_REQUEST),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_over_a_quota() {
        let account = |name: &str, quota: &str| {
            let mut head = map(&[
                ("x-account-object-count", "10"),
                ("x-account-bytes-used", "1000"),
                ("x-account-storage-policy-silver-object-count", "4"),
                ("x-account-storage-policy-silver-bytes-used", "400"),
            ]);
            headers::set(&mut head, &format!("x-account-{name}"), quota);
            AccountInfo::from_headers(&head)
        };
        for (name, quota, length, expected) in [
            ("sysmeta-quota-bytes", "1500", 500, (false, false)),
            ("sysmeta-quota-bytes", "1500", 501, (true, false)),
            ("sysmeta-quota-bytes", "junk", 501, (false, false)),
            ("meta-quota-bytes", "1000", 1, (true, false)),
            ("sysmeta-quota-count", "11", 1, (false, false)),
            ("sysmeta-quota-count", "10", 1, (true, false)),
            ("sysmeta-quota-bytes-policy-1", "500", 100, (false, false)),
            ("sysmeta-quota-bytes-policy-1", "500", 101, (false, true)),
            ("sysmeta-quota-count-policy-1", "4", 0, (false, true)),
            ("sysmeta-quota-count-policy-0", "0", 0, (false, false)),
        ] {
            let account = account(name, quota);
            let policies = policies();
            let silver = policies.by_name("silver").unwrap();
            let found = (
                exceeds_whole(&account, length),
                exceeds_policy(&account, silver, length),
            );
            assert_eq!(found, expected, "{name}: {quota}, {length} more");
        }
    }
}
