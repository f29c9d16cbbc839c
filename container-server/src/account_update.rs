//! The row an account is owed about a container: composed for the outbox, sent at once where the caller named servers.
//!
//! A row is the whole state of the container (timestamps and counts) with the moment of the report, so a newer one makes
//! every older one needless: the outbox keeps one per container.

use crate::errors::Refusal;
use crate::front::trans_id;
use crate::request::Fields;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use martlet_node_client::{NodeClient, send_update};
use martlet_protocol::header;
use martlet_protocol::record::ContainerRecord;
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_service::{Clock, headers};
use martlet_storage::{Device, OutboxId};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Tells where an account's replicas are. Root answers from the account ring; an empty list owes nobody anything.
pub type AccountTargets = Arc<dyn Fn(&str) -> Vec<UpdateTarget> + Send + Sync>;

/// Composes and sends account rows. Clones share everything.
#[derive(Clone)]
pub struct AccountUpdates {
    client: NodeClient,
    targets: AccountTargets,
    clock: Clock,
    timeout: Duration,
}

/// What a request says about the rows that follow from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Account servers to be told before the request is answered.
    pub named: Vec<UpdateTarget>,
    /// Even a deleted account takes the row: the reaper deletes containers this way.
    pub overrides_deleted: bool,
    pub trans_id: String,
}

impl Caller {
    /// Reads `X-Account-*`; 400 when they are malformed.
    pub fn read(request: &HeaderMap) -> Result<Arc<Self>, Refusal> {
        Ok(Arc::new(Caller {
            named: named_targets(request)?,
            overrides_deleted: headers::is_true(request, header::X_ACCOUNT_OVERRIDE_DELETED),
            trans_id: trans_id(request).to_owned(),
        }))
    }

    /// Of a request that names nobody: a row of an object.
    pub fn of_row(row: &(impl Fields + ?Sized)) -> Self {
        Caller {
            named: Vec::new(),
            overrides_deleted: false,
            trans_id: row.utf8(header::X_TRANS_ID).unwrap_or("-").to_owned(),
        }
    }
}

/// The row that a commit composed, once it has.
#[derive(Default)]
pub struct Composed(Arc<OnceLock<Update>>);

/// How the servers a caller named took a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody took it, could not be reached, or nobody was named: the outbox has the rest.
    Settled,
    /// Every one named answered that there is no such account.
    NoAccount,
}

impl AccountUpdates {
    pub fn new(client: NodeClient, targets: AccountTargets, clock: Clock, timeout: Duration) -> Self {
        AccountUpdates {
            client,
            targets,
            clock,
            timeout,
        }
    }

    /// The row for the outbox: to all of the account's replicas, and to those the caller named. `None` when there is
    /// nobody to tell. Called while the change commits, so that reports of one container carry rising timestamps.
    pub fn compose(&self, record: &ContainerRecord, caller: &Caller) -> Option<Update> {
        let mut targets = (self.targets)(&record.account);
        for target in &caller.named {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        if targets.is_empty() {
            return None;
        }
        let item = |name: &str, value: String| (name.to_owned(), value);
        let mut headers = vec![
            item(header::X_TIMESTAMP, self.clock.now().internal()),
            item(header::X_PUT_TIMESTAMP, record.put_timestamp.internal()),
            item(header::X_DELETE_TIMESTAMP, record.delete_timestamp.internal()),
            item(header::X_OBJECT_COUNT, record.object_count().to_string()),
            item(header::X_BYTES_USED, record.bytes_used().to_string()),
            item(header::X_BACKEND_STORAGE_POLICY_INDEX, record.policy.to_string()),
            item(header::X_BACKEND_MARTLET_SERVER, "account".into()),
            item(header::X_TRANS_ID, caller.trans_id.clone()),
        ];
        if caller.overrides_deleted {
            headers.push(item(header::X_ACCOUNT_OVERRIDE_DELETED, "yes".into()));
        }
        Some(Update {
            account: record.account.clone(),
            container: record.container.clone(),
            object: None,
            op: UpdateOp::Put,
            targets,
            headers,
            coalesce: true,
        })
    }

    /// What composes a row inside storage's commit and shows it here afterwards, to be sent as it was committed: a row
    /// composed anew would carry old counts with a newer timestamp.
    pub fn composer(
        &self,
        caller: &Arc<Caller>,
    ) -> (
        impl FnOnce(&ContainerRecord) -> Option<Update> + Send + 'static,
        Composed,
    ) {
        let composed = Composed::default();
        let (updates, caller, slot) = (self.clone(), caller.clone(), composed.0.clone());
        let compose = move |record: &ContainerRecord| {
            let update = updates.compose(record, &caller)?;
            Some(slot.get_or_init(|| update).clone())
        };
        (compose, composed)
    }

    /// Sends a committed row to the servers the caller named, all at once, and takes those that acknowledged out of the
    /// outbox entry. Waits no longer than the configured time.
    pub async fn send(
        &self,
        device: &Device,
        entry: Option<OutboxId>,
        composed: Composed,
        caller: &Caller,
    ) -> Told {
        let (Some(entry), Some(update)) = (entry, composed.0.get()) else {
            return Told::Settled;
        };
        if caller.named.is_empty() {
            return Told::Settled;
        }
        let answers = join_all(
            caller
                .named
                .iter()
                .map(|target| self.send_one(target, update, caller)),
        )
        .await;
        let mut owed = update.clone();
        for (target, answer) in caller.named.iter().zip(&answers) {
            if answer.is_some_and(|status| status.is_success()) {
                owed.targets.retain(|owed| owed != target);
            }
        }
        if owed.targets.is_empty() {
            device.outbox_ack(entry);
        } else if owed.targets.len() < update.targets.len()
            && let Err(error) = device.outbox_replace(entry, owed).await
        {
            // The updater then tells those again who know already, which does no harm.
            tracing::warn!(%error, trans_id = caller.trans_id, "an outbox entry was not narrowed");
        }
        let is_missing = |answer: &Option<StatusCode>| *answer == Some(StatusCode::NOT_FOUND);
        if answers.iter().all(is_missing) {
            Told::NoAccount
        } else {
            Told::Settled
        }
    }

    /// The answer of one account server, or `None` when there was none in time. Failures are logged here and retried by
    /// the updater.
    async fn send_one(&self, target: &UpdateTarget, update: &Update, caller: &Caller) -> Option<StatusCode> {
        let call = send_update(&self.client, update, target, "martlet-container-server");
        let (status, reason) = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) if response.status().is_success() => return Some(response.status()),
            Ok(Ok(response)) => (Some(response.status()), response.status().to_string()),
            Ok(Err(error)) => (None, error.to_string()),
            Err(_) => (None, "no answer in time".to_owned()),
        };
        metrics::counter!("martlet_container_server_account_updates_failed_total").increment(1);
        tracing::warn!(
            node = format!("{}:{}", target.ip, target.port),
            device = target.device,
            partition = target.partition,
            trans_id = caller.trans_id,
            reason,
            "account update failed; the updater will retry it"
        );
        status
    }
}

/// The account servers a request names in `X-Account-Host`, `-Device` and `-Partition`; none when it has no partition.
/// They decide where this node connects to, so anything that is not plainly an address is 400.
fn named_targets(request: &HeaderMap) -> Result<Vec<UpdateTarget>, Refusal> {
    let text = |name: &str| match request.get(name) {
        None => Ok(""),
        Some(value) => value.to_str().map(str::trim).map_err(|_| invalid(name)),
    };
    let (hosts, devices) = (text(header::X_ACCOUNT_HOST)?, text(header::X_ACCOUNT_DEVICE)?);
    let partition = text(header::X_ACCOUNT_PARTITION)?;
    let list = |text: &'_ str| {
        text.split(',')
            .map(|item| item.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let (hosts, devices) = (list(hosts), list(devices));
    if hosts.len() != devices.len() {
        return Err(Refusal::BadRequest(
            "X-Account-Host and X-Account-Device differ in length".into(),
        ));
    }
    if partition.is_empty() {
        return Ok(Vec::new());
    }
    let partition = partition
        .parse::<u32>()
        .map_err(|_| invalid(header::X_ACCOUNT_PARTITION))?;
    let target = |(host, device): (String, String)| {
        let (ip, port) = parse_host(&host).ok_or_else(|| invalid(header::X_ACCOUNT_HOST))?;
        let is_name = !matches!(device.as_str(), "" | "." | "..") && !device.contains(['/', '?', '#', '%']);
        if !is_name {
            return Err(invalid(header::X_ACCOUNT_DEVICE));
        }
        Ok(UpdateTarget {
            ip,
            port,
            device,
            partition,
        })
    };
    hosts.into_iter().zip(devices).map(target).collect()
}

fn invalid(name: &str) -> Refusal {
    Refusal::BadRequest(format!("Invalid {name} header"))
}

/// `ip:port`, `host:port` or `[ipv6]:port`.
fn parse_host(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match bare {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None if host.contains(':') => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        }
    };
    is_address.then(|| (bare.unwrap_or(host).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn named(pairs: &[(&'static str, &str)]) -> Result<Vec<UpdateTarget>, Refusal> {
        let pairs = pairs.iter();
        named_targets(
            &pairs
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect(),
        )
    }

    #[test]
    fn named_servers_are_read_strictly() {
        let full = |hosts, partition, devices| {
            named(&[
                ("x-account-host", hosts),
                ("x-account-partition", partition),
                ("x-account-device", devices),
            ])
        };
        let target = |ip: &str, port, device: &str| UpdateTarget {
            ip: ip.into(),
            port,
            device: device.into(),
            partition: 7,
        };
        assert_eq!(named(&[]), Ok(vec![]));
        assert_eq!(full("1.2.3.4:6202", "", "sda"), Ok(vec![]));
        assert_eq!(
            full("1.2.3.4:6202, [::1]:1,::2:3", "7", "sda, sdb,sdc"),
            Ok(vec![
                target("1.2.3.4", 6202, "sda"),
                target("::1", 1, "sdb"),
                target("::2", 3, "sdc")
            ])
        );
        assert_eq!(
            full("node-1.example:6202", "7", "sda"),
            Ok(vec![target("node-1.example", 6202, "sda")])
        );
        for (hosts, partition, devices) in [
            ("1.2.3.4:1,1.2.3.5:1", "7", "sda"),
            ("1.2.3.4:1", "x", "sda"),
            ("1.2.3.4:1", "-7", "sda"),
            ("1.2.3.4", "7", "sda"),
            ("1.2.3.4:0", "7", "sda"),
            ("1.2.3.4:65536", "7", "sda"),
            ("1.2.3.4:+1", "7", "sda"),
            (":1", "7", "sda"),
            ("ho st:1", "7", "sda"),
            ("user@host:1", "7", "sda"),
            ("host/path:1", "7", "sda"),
            ("[1.2.3.4]:1", "7", "sda"),
            ("1.2.3.4:1", "7", ""),
            ("1.2.3.4:1", "7", ".."),
            ("1.2.3.4:1", "7", "a/b"),
            ("1.2.3.4:1,", "7", "sda,"),
        ] {
            assert!(
                full(hosts, partition, devices).is_err(),
                "{hosts} {partition} {devices}"
            );
        }
    }
}
