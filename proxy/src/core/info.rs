//! What other steps ask about accounts and containers, remembered for a short while.
//!
//! Only what exists is remembered: a container made through another proxy is seen at once, and one changed there within
//! the recheck time, as in Swift. Changes through this proxy drop what it remembers.

use super::Core;
use super::{container, recent};
use http::header::HeaderMap;
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ContainerPath, ObjectPath};
use martlet_protocol::policy::PolicyIndex;
use martlet_service::headers;
use moka::future::Cache;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Whether a thing is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existence {
    Exists,
    #[default]
    Missing,
    /// Deleted by an operator and not yet reaped (accounts only); such an account answers 410.
    Deleted,
    /// Too few of its servers answered to say.
    Unknown,
}

/// An account as its servers describe it.
#[derive(Clone, Debug, Default)]
pub struct AccountInfo {
    pub existence: Existence,
    pub container_count: u64,
    pub object_count: u64,
    pub bytes_used: u64,
    /// What is used of each policy, by its name in lower case.
    pub usage: BTreeMap<String, Usage>,
    /// `X-Account-Meta-*` without the prefix, lower case.
    pub metadata: BTreeMap<String, String>,
    /// `X-Account-Sysmeta-*` without the prefix, lower case.
    pub sysmeta: BTreeMap<String, String>,
}

/// What an account uses of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    pub objects: u64,
}

/// A container as its servers describe it.
#[derive(Clone, Debug, Default)]
pub struct ContainerInfo {
    pub existence: Existence,
    pub policy: PolicyIndex,
    pub read_acl: Option<String>,
    pub write_acl: Option<String>,
    pub sync_key: Option<String>,
    pub sync_to: Option<String>,
    pub versions_location: Option<String>,
    pub object_count: u64,
    pub bytes_used: u64,
    /// `X-Container-Meta-*` without the prefix, lower case.
    pub metadata: BTreeMap<String, String>,
    /// `X-Container-Sysmeta-*` without the prefix, lower case.
    pub sysmeta: BTreeMap<String, String>,
    pub cors: Cors,
}

/// A container's rules for browsers (`X-Container-Meta-Access-Control-*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    pub allow_origin: Option<String>,
    pub expose_headers: Option<String>,
    pub max_age: Option<String>,
}

impl AccountInfo {
    pub fn exists(&self) -> bool {
        self.existence == Existence::Exists
    }

    /// Reads what a good answer of an account server carries.
    pub fn from_headers(head: &HeaderMap) -> Self {
        AccountInfo {
            existence: Existence::Exists,
            container_count: number(head, header::X_ACCOUNT_CONTAINER_COUNT),
            object_count: number(head, header::X_ACCOUNT_OBJECT_COUNT),
            bytes_used: number(head, header::X_ACCOUNT_BYTES_USED),
            usage: usage(head),
            metadata: family(head, "x-account-meta-"),
            sysmeta: family(head, "x-account-sysmeta-"),
        }
    }

    /// What is used of a policy.
    pub fn usage(&self, policy: &str) -> Usage {
        let known = self.usage.get(&policy.to_lowercase());
        known.copied().unwrap_or_default()
    }
}

impl ContainerInfo {
    pub fn exists(&self) -> bool {
        self.existence == Existence::Exists
    }

    /// Reads what a good answer of a container server carries.
    pub fn from_headers(head: &HeaderMap) -> Self {
        let text = |name: &str| {
            headers::text(head, name)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let metadata = family(head, "x-container-meta-");
        let cors = Cors {
            allow_origin: metadata.get("access-control-allow-origin").cloned(),
            expose_headers: metadata.get("access-control-expose-headers").cloned(),
            max_age: metadata.get("access-control-max-age").cloned(),
        };
        let policy = headers::text(head, header::X_BACKEND_STORAGE_POLICY_INDEX).and_then(PolicyIndex::parse);
        ContainerInfo {
            existence: Existence::Exists,
            policy: policy.unwrap_or_default(),
            read_acl: text(header::X_CONTAINER_READ),
            write_acl: text(header::X_CONTAINER_WRITE),
            sync_key: text("x-container-sync-key"),
            sync_to: text("x-container-sync-to"),
            versions_location: text("x-versions-location").or_else(|| text("x-history-location")),
            object_count: number(head, header::X_CONTAINER_OBJECT_COUNT),
            bytes_used: number(head, header::X_CONTAINER_BYTES_USED),
            sysmeta: family(head, "x-container-sysmeta-"),
            metadata,
            cors,
        }
    }
}

fn number(head: &HeaderMap, name: &str) -> u64 {
    headers::text(head, name)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn usage(head: &HeaderMap) -> BTreeMap<String, Usage> {
    let mut usage = BTreeMap::<String, Usage>::new();
    for (name, value) in family(head, "x-account-storage-policy-") {
        let number = value.trim().parse().unwrap_or(0);
        if let Some(policy) = name.strip_suffix("-bytes-used") {
            usage.entry(policy.to_owned()).or_default().bytes = number;
        } else if let Some(policy) = name.strip_suffix("-object-count") {
            usage.entry(policy.to_owned()).or_default().objects = number;
        }
    }
    usage
}

fn family(head: &HeaderMap, prefix: &str) -> BTreeMap<String, String> {
    let item = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let short = name.as_str().strip_prefix(prefix)?;
        Some((short.to_owned(), headers::value_text(value)?.to_owned()))
    };
    head.iter().filter_map(item).collect()
}

/// What this proxy remembers. At most [`CAPACITY`] of each; the least used make room.
#[derive(Debug)]
pub struct InfoCache {
    accounts: Cache<String, Arc<AccountInfo>>,
    containers: Cache<String, Arc<ContainerInfo>>,
    /// Counts changes made through this proxy. What was asked before a change and comes after it is not kept.
    changes: AtomicU64,
    /// Tells this cache from others of the process.
    id: u64,
}

const CAPACITY: u64 = 20_000;

impl InfoCache {
    pub fn new(recheck_account_ms: u64, recheck_container_ms: u64) -> Self {
        static CACHES: AtomicU64 = AtomicU64::new(0);
        let lasting = |ms| Duration::from_millis(ms).saturating_sub(recent::SPAN);
        InfoCache {
            accounts: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(lasting(recheck_account_ms))
                .build(),
            containers: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(lasting(recheck_container_ms))
                .build(),
            changes: AtomicU64::new(0),
            id: CACHES.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Asked for before a look into the caches, for [`recent::keep`] after it.
    fn state(&self) -> recent::State {
        recent::State {
            cache: self.id,
            changes: self.changes.load(Ordering::Acquire),
        }
    }

    /// What this thread was told a moment ago, or what one of the caches has under `key`, which is made only for that.
    async fn remembered<'a, T: recent::Recent + Send + Sync>(
        &self,
        cache: &Cache<String, Arc<T>>,
        account: &str,
        container: &str,
        key: impl FnOnce() -> Cow<'a, str>,
    ) -> Option<Arc<T>> {
        let state = self.state();
        if let Some(known) = recent::get(state, account, container) {
            return Some(known);
        }
        let known = cache.get(&*key()).await?;
        recent::keep(state, account, container, &known);
        Some(known)
    }
}

/// How often a look-up that crossed a change is done again before it is answered without being kept.
const ATTEMPTS: usize = 3;

impl Core {
    /// The account, from memory or its servers. Many who ask at once share one question.
    pub async fn account_info(self: &Arc<Self>, account: &AccountName) -> Arc<AccountInfo> {
        if let Some(known) = self.remembered_account(account).await {
            return known;
        }
        Box::pin(self.find_account(account)).await
    }

    /// What the account's servers say. Apart, and boxed by its caller: most questions are answered from memory, and
    /// steps that ask should not have to carry the room that this needs.
    async fn find_account(self: &Arc<Self>, account: &AccountName) -> Arc<AccountInfo> {
        let cache = &self.info.accounts;
        let mut found = Err(Arc::new(Existence::Unknown));
        for _ in 0..ATTEMPTS {
            let before = self.info.changes.load(Ordering::Acquire);
            let look = async { self.look_up_account(account).await };
            found = cache.try_get_with_by_ref(account.as_str(), look).await;
            if self.info.changes.load(Ordering::Acquire) == before {
                break;
            }
            cache.invalidate(account.as_str()).await;
        }
        found.unwrap_or_else(|existence| {
            Arc::new(AccountInfo {
                existence: *existence,
                ..AccountInfo::default()
            })
        })
    }

    /// The account as it is remembered, without asking anybody.
    pub async fn remembered_account(&self, account: &AccountName) -> Option<Arc<AccountInfo>> {
        let key = || Cow::Borrowed(account.as_str());
        self.info.remembered(&self.info.accounts, account, "", key).await
    }

    /// The container as it is remembered, without asking anybody.
    pub async fn remembered_container(&self, path: &ContainerPath) -> Option<Arc<ContainerInfo>> {
        let key = || Cow::Owned(container_key(path));
        let (account, container) = (&path.account, &path.container);
        self.info
            .remembered(&self.info.containers, account, container, key)
            .await
    }

    /// The container, from memory or its servers.
    pub async fn container_info(self: &Arc<Self>, path: &ContainerPath) -> Arc<ContainerInfo> {
        if let Some(known) = self.remembered_container(path).await {
            return known;
        }
        Box::pin(self.find_container(path, container_key(path))).await
    }

    /// The container an object is in. As [`Self::container_info`], without a path of its own for what was asked a moment
    /// ago.
    pub async fn container_of(self: &Arc<Self>, path: &ObjectPath) -> Arc<ContainerInfo> {
        let state = self.info.state();
        match recent::get(state, &path.account, &path.container) {
            Some(known) => known,
            None => Box::pin(async { self.container_info(&path.container_path()).await }).await,
        }
    }

    /// What the container's servers say; see [`Self::find_account`].
    async fn find_container(self: &Arc<Self>, path: &ContainerPath, key: String) -> Arc<ContainerInfo> {
        let cache = &self.info.containers;
        let mut found = Err(Arc::new(Existence::Unknown));
        for _ in 0..ATTEMPTS {
            let before = self.info.changes.load(Ordering::Acquire);
            let look = async { self.look_up_container(path).await };
            found = cache.try_get_with_by_ref(key.as_str(), look).await;
            if self.info.changes.load(Ordering::Acquire) == before {
                break;
            }
            cache.invalidate(key.as_str()).await;
        }
        found.unwrap_or_else(|existence| {
            Arc::new(ContainerInfo {
                existence: *existence,
                ..ContainerInfo::default()
            })
        })
    }

    /// Forgets an account that is being changed.
    pub(super) async fn forget_account(&self, account: &AccountName) {
        self.info.changes.fetch_add(1, Ordering::AcqRel);
        self.info.accounts.invalidate(account.as_str()).await;
        // Again: who looked between the two has found the old one.
        self.info.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets a container that is being changed.
    pub(super) async fn forget_container(&self, path: &ContainerPath) {
        self.info.changes.fetch_add(1, Ordering::AcqRel);
        self.info
            .containers
            .invalidate(container_key(path).as_str())
            .await;
        self.info.changes.fetch_add(1, Ordering::AcqRel);
    }

    async fn look_up_account(self: &Arc<Self>, account: &AccountName) -> Result<Arc<AccountInfo>, Existence> {
        let head = super::account::head(self, account, "-").await;
        match head.existence {
            Existence::Exists => Ok(Arc::new(AccountInfo::from_headers(&head.headers))),
            other => Err(other),
        }
    }

    async fn look_up_container(
        self: &Arc<Self>,
        path: &ContainerPath,
    ) -> Result<Arc<ContainerInfo>, Existence> {
        let head = container::head(self, path, "-").await;
        match head.existence {
            Existence::Exists => Ok(Arc::new(ContainerInfo::from_headers(&head.headers))),
            other => Err(other),
        }
    }
}

fn container_key(path: &ContainerPath) -> String {
    let mut key = String::with_capacity(path.account.len() + path.container.len() + 1);
    key.push_str(&path.account);
    key.push('/');
    key.push_str(&path.container);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let mut head = HeaderMap::new();
        for (name, value) in [
            ("x-container-object-count", "12"),
            ("x-container-bytes-used", "junk"),
            ("x-container-read", ".r:*"),
            ("x-container-write", ""),
            ("x-container-meta-access-control-allow-origin", "*"),
            ("x-container-meta-colour", "bl\u{e4}u"),
            ("x-container-sysmeta-versions-mode", "stack"),
            ("x-backend-storage-policy-index", "3"),
        ] {
            headers::set(&mut head, name, value);
        }
        let info = ContainerInfo::from_headers(&head);
        assert!(info.exists());
        assert_eq!(
            (info.object_count, info.bytes_used, info.policy),
            (12, 0, PolicyIndex(3))
        );
        assert_eq!((info.read_acl.as_deref(), info.write_acl), (Some(".r:*"), None));
        assert_eq!(info.cors.allow_origin.as_deref(), Some("*"));
        assert_eq!(info.metadata["colour"], "bl\u{e4}u");
        assert_eq!(info.sysmeta["versions-mode"], "stack");
    }
}
