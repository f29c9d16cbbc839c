//! Asking running nodes to do something: what an operator's command line sends.

use crate::cli::{NodeOptions, PassOptions};
use crate::config::{ConfigError, NodeConfig};
use crate::security::Security;
use http::{Method, StatusCode};
use martlet_node_client::{BackendRequest, Node, NodeClient, NodeClientConfig};
use martlet_protocol::percent;
use martlet_service::collect;
use martlet_storage::{Device, DeviceIdentity};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A report of a round is a few lines for each device.
const MAX_REPORT_BYTES: usize = 16 * 1024 * 1024;
/// A round over a full device may take long.
const PASS_TIMEOUT_MS: u64 = 24 * 3_600 * 1_000;

/// Makes every folder that a configuration names a device of its cluster. One that is a device already stays as it is;
/// another's is refused. Nothing else ever does this, so a missing mount is not written to by accident.
pub fn format(options: &NodeOptions) -> Result<(), Box<dyn Error>> {
    let config = NodeConfig::load(&options.config)?;
    let storage = config.storage.as_ref().ok_or("the file has no [storage]")?;
    for device in &storage.devices {
        let identity = DeviceIdentity {
            cluster: config.cluster.name.clone(),
            device: device.name.clone(),
        };
        if !device.path.is_dir() {
            return Err(format!("{}: no such folder", device.path.display()).into());
        }
        Device::format(&device.path, &identity)?;
        println!("{} is {}", device.path.display(), device.name);
    }
    Ok(())
}

/// Asks each node for one round and prints its report. Fails when a node did not answer or could not finish.
pub async fn pass(options: &PassOptions) -> Result<(), Box<dyn Error>> {
    let configs = match (&options.config, &options.data) {
        (Some(config), _) => vec![config.clone()],
        (None, Some(data)) => nodes_below(data)?,
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    let mut failed = 0;
    for path in configs {
        let config = NodeConfig::load(&path)?;
        let Some(storage) = &config.storage else { continue };
        let client = Security::open(&config.cluster)?.client(NodeClientConfig {
            response_timeout_ms: PASS_TIMEOUT_MS,
            ..Default::default()
        });
        let outcome = ask(&client, storage.bind, options.worker.as_deref()).await;
        match outcome {
            Ok((StatusCode::OK, report)) => println!("{}: {report}", path.display()),
            Ok((status, report)) => {
                failed += 1;
                println!("{}: {status} {report}", path.display());
            }
            Err(error) => {
                failed += 1;
                println!("{}: {error}", path.display());
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} nodes could not finish their round").into()),
    }
}

pub fn nodes_below(data: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let found: Vec<PathBuf> = (1..=crate::dev::NODES)
        .map(|number| crate::dev::node_folder(data, number).join("node.toml"))
        .filter(|path| path.is_file())
        .collect();
    if found.is_empty() {
        Err(ConfigError::no_nodes(data))
    } else {
        Ok(found)
    }
}

async fn ask(
    client: &NodeClient,
    address: SocketAddr,
    worker: Option<&str>,
) -> Result<(StatusCode, String), Box<dyn Error>> {
    // The path of this request has no device: the "device" is the first half of /martlet/pass.
    let node = Node::at(&address.ip().to_string(), address.port(), "martlet");
    let request = BackendRequest {
        query: worker.map(|worker| format!("worker={}", percent::quote_segment(worker))),
        ..BackendRequest::new(Method::POST, "/pass")
    };
    let response = client.call(&node, request).await?;
    let status = response.status();
    let report = collect(response.into_body(), MAX_REPORT_BYTES)
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok((status, String::from_utf8_lossy(&report).into_owned()))
}
