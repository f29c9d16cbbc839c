//! The row a container must have of an object: composed from the record, committed with it, sent at once.

use crate::errors::Refusal;
use crate::request::text;
use crate::server::Call;
use futures_util::future::join_all;
use http::HeaderMap;
use martlet_node_client::{Node, NodeClient, send_update};
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::record::{ObjectData, ObjectRecord};
use martlet_protocol::update::{Update, UpdateOp, UpdateTarget};
use martlet_protocol::{header, percent};
use martlet_service::headers;
use martlet_storage::{Device, Owed, OwedRow, RowsHere};
use std::sync::Arc;
use std::time::Duration;

/// Overrides a Swift proxy sends beside the object (erasure coding, footers)...
const OVERRIDE_HEADER: &str = "x-backend-container-update-override-";
/// ...and those it stores in the object; these win.
const OVERRIDE_SYSMETA: &str = "x-object-sysmeta-container-update-override-";

/// Where the row of one request goes.
#[derive(Debug)]
pub(crate) struct Destination {
    account: String,
    container: String,
    policy: PolicyIndex,
    targets: Vec<UpdateTarget>,
    trans_id: Option<String>,
    /// Row headers the request sets in place of the object's own.
    overrides: Vec<(String, String)>,
}

impl Destination {
    /// From `X-Container-Host`, `-Device` and `-Partition`. `None`: another replica of the object owes the row. Lists that
    /// do not fit together are a fault of the caller, told before anything is stored: a row would be lost otherwise.
    pub fn parse(call: &Call<'_>) -> Result<Option<Self>, Refusal> {
        let map = call.headers;
        let list = |name| Ok::<_, Refusal>(text(map, name)?.unwrap_or("").split(',').map(str::trim));
        let partition = text(map, header::X_CONTAINER_PARTITION)?.unwrap_or("").trim();
        let hosts: Vec<&str> = list(header::X_CONTAINER_HOST)?
            .filter(|host| !host.is_empty())
            .collect();
        let devices: Vec<&str> = list(header::X_CONTAINER_DEVICE)?
            .filter(|device| !device.is_empty())
            .collect();
        if hosts.len() != devices.len() {
            return Err(Refusal::bad_request(
                "Different numbers of container hosts and devices",
            ));
        }
        if hosts.is_empty() || partition.is_empty() {
            return Ok(None);
        }
        let Ok(partition) = partition.parse() else {
            return Err(Refusal::bad_request("Invalid X-Container-Partition"));
        };
        let target = |(host, device): (&str, &str)| -> Result<UpdateTarget, Refusal> {
            let (ip, port) = socket(host).ok_or_else(|| Refusal::bad_request("Invalid X-Container-Host"))?;
            let device = device.to_owned();
            Ok(UpdateTarget {
                ip,
                port,
                device,
                partition,
            })
        };
        let targets = hosts
            .into_iter()
            .zip(devices)
            .map(target)
            .collect::<Result<_, _>>()?;
        let (account, container) = container_path(call)?;
        Ok(Some(Destination {
            account,
            container,
            policy: call.address.policy,
            targets,
            trans_id: text(map, header::X_TRANS_ID)?.map(str::to_owned),
            overrides: overrides(map),
        }))
    }

    /// The row of what is stored now: all of it, so that rows may come in any order and the container still learns what
    /// is newest.
    fn update(&self, record: &ObjectRecord) -> Update {
        let mut row = vec![
            (
                header::X_BACKEND_MARTLET_SERVER.to_owned(),
                "container".to_owned(),
            ),
            (
                header::X_BACKEND_STORAGE_POLICY_INDEX.to_owned(),
                self.policy.to_string(),
            ),
            (header::X_TIMESTAMP.to_owned(), record.timestamp.internal()),
        ];
        if let Some(trans_id) = &self.trans_id {
            row.push((header::X_TRANS_ID.to_owned(), trans_id.clone()));
        }
        let op = match &record.data {
            Some(data) => {
                describe(record, data, &mut row);
                apply_overrides(&mut row, self.overrides.iter(), OVERRIDE_HEADER);
                apply_overrides(&mut row, data.metadata.iter(), OVERRIDE_SYSMETA);
                UpdateOp::Put
            }
            None => UpdateOp::Delete,
        };
        Update {
            account: self.account.clone(),
            container: self.container.clone(),
            object: Some(record.object.clone()),
            op,
            targets: self.targets.clone(),
            headers: row,
            coalesce: false,
        }
    }
}

/// `ip:port`; an IPv6 address with or without brackets.
fn socket(host: &str) -> Option<(String, u16)> {
    let (ip, port) = host.rsplit_once(':')?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    (!ip.is_empty()).then_some((ip.to_owned(), port.parse().ok()?))
}

/// The container whose row this is: the object's own, unless the proxy names another (a shard).
fn container_path(call: &Call<'_>) -> Result<(String, String), Refusal> {
    let unquoted = match text(call.headers, "x-backend-quoted-container-path")? {
        Some(quoted) => percent::unquote(quoted).ok(),
        None => text(call.headers, header::X_BACKEND_CONTAINER_PATH)?.map(str::to_owned),
    };
    let named = unquoted.as_deref().and_then(|path| {
        let (account, container) = path.split_once('/')?;
        let is_whole = !account.is_empty() && !container.is_empty() && !container.contains('/');
        is_whole.then(|| (account.to_owned(), container.to_owned()))
    });
    Ok(named.unwrap_or_else(|| {
        (
            call.address.account.as_ref().into(),
            call.address.container.as_ref().into(),
        )
    }))
}

fn overrides(map: &HeaderMap) -> Vec<(String, String)> {
    let named = map
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(OVERRIDE_HEADER));
    named
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), headers::value_text(value)?.to_owned())))
        .collect()
}

/// Size, type and ETag of live data, each with its own moment where a POST made it differ.
fn describe(record: &ObjectRecord, data: &ObjectData, row: &mut Vec<(String, String)>) {
    let mut content_type = record.content_type().to_owned();
    if record.content_type_timestamp() != record.timestamp {
        row.push((
            header::X_CONTENT_TYPE_TIMESTAMP.to_owned(),
            record.content_type_timestamp().internal(),
        ));
        // A large object's real size rides in its content type, and a POST's type does not have it.
        if let Some(bytes) = swift_bytes(&data.content_type) {
            content_type.push_str(&format!(";swift_bytes={bytes}"));
        }
    }
    if record.meta_timestamp() != record.timestamp {
        row.push((
            header::X_META_TIMESTAMP.to_owned(),
            record.meta_timestamp().internal(),
        ));
    }
    if let Some(version) = data.current_version() {
        row.push((header::X_BACKEND_MARTLET_VERSION_ID.to_owned(), version.text()));
    }
    row.push((header::X_SIZE.to_owned(), data.length.to_string()));
    row.push((header::X_CONTENT_TYPE.to_owned(), content_type));
    row.push((header::X_ETAG.to_owned(), data.etag.clone()));
}

fn swift_bytes(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    parameters
        .filter_map(|item| item.trim().strip_prefix("swift_bytes="))
        .last()
}

/// `…override-etag: v` becomes `x-etag: v`.
fn apply_overrides<'m>(
    row: &mut Vec<(String, String)>,
    items: impl Iterator<Item = &'m (String, String)>,
    prefix: &str,
) {
    for (name, value) in items {
        if let Some(what) = name.strip_prefix(prefix).filter(|what| !what.is_empty()) {
            let name = format!("x-{what}");
            row.retain(|(known, _)| *known != name);
            row.push((name, value.clone()));
        }
    }
}

/// Composes rows, and sends them to container servers.
#[derive(Clone)]
pub(crate) struct Updates {
    client: NodeClient,
    timeout: Duration,
    here: Option<Arc<dyn RowsHere>>,
}

impl Updates {
    /// `here` composes rows for containers on the object's own device; without it all rows are sent.
    pub fn new(client: NodeClient, timeout: Duration, here: Option<Arc<dyn RowsHere>>) -> Self {
        Updates {
            client,
            timeout,
            here,
        }
    }

    /// What storage calls with each record as it commits it on the device of this name.
    pub fn compose(
        &self,
        device: &str,
        destination: Option<Destination>,
    ) -> impl FnMut(&ObjectRecord) -> Option<OwedRow> + Send + 'static {
        let here = self.here.clone();
        let is_here = |target: &&UpdateTarget| {
            target.device == device
                && self
                    .client
                    .is_local(&Node::at(&target.ip, target.port, &target.device))
        };
        let target = destination
            .iter()
            .flat_map(|destination| &destination.targets)
            .find(is_here)
            .cloned();
        move |record: &ObjectRecord| {
            let update = destination.as_ref()?.update(record);
            let here = here.as_ref().zip(target.as_ref());
            let here = here.and_then(|(here, target)| here.row_here(&update, target));
            Some(OwedRow { update, here })
        }
    }

    /// Sends committed rows to all their targets at once and takes what was acknowledged out of the outbox. What is not
    /// acknowledged within the time stays there for the updater.
    pub async fn deliver(&self, device: &Device, owed: impl IntoIterator<Item = Owed>) {
        let mut owed = owed.into_iter();
        // Most writes owe one row, or none.
        let (Some(first), second) = (owed.next(), owed.next()) else {
            return;
        };
        match second {
            None => self.deliver_one(device, first).await,
            Some(second) => {
                let all = [first, second].into_iter().chain(owed);
                join_all(all.map(|owed| self.deliver_one(device, owed))).await;
            }
        }
    }

    async fn deliver_one(&self, device: &Device, Owed { id, update }: Owed) {
        let sends = update.targets.iter().map(|target| self.send(&update, target));
        let acknowledged = join_all(sends).await;
        if acknowledged.iter().all(|acknowledged| *acknowledged) {
            metrics::counter!("martlet_object_server_container_updates_total", "outcome" => "sent")
                .increment(1);
            device.outbox_ack(id);
            return;
        }
        metrics::counter!("martlet_object_server_container_updates_total", "outcome" => "kept").increment(1);
        if acknowledged.contains(&true) {
            let pairs = update.targets.iter().zip(&acknowledged);
            let waiting = pairs
                .filter(|(_, acknowledged)| !**acknowledged)
                .map(|(target, _)| target.clone());
            let targets = waiting.collect();
            let rest = Update { targets, ..update };
            if let Err(error) = device.outbox_replace(id, rest).await {
                // The whole entry stays: a target that has the row hears of it again, which does no harm.
                tracing::debug!(%error, "outbox entry not narrowed to the targets that still wait");
            }
        }
    }

    /// `true`: the row is with the target.
    async fn send(&self, update: &Update, target: &UpdateTarget) -> bool {
        let call = send_update(&self.client, update, target, "object-server");
        let outcome = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) if response.status().is_success() => return true,
            Ok(Ok(response)) => format!("answered {}", response.status().as_u16()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "did not answer in time".to_owned(),
        };
        tracing::debug!(
            ip = target.ip,
            port = target.port,
            device = target.device,
            outcome,
            "container update not delivered; it stays in the outbox"
        );
        false
    }
}
