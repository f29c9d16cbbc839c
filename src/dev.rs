//! The all-in-one cluster: four devices, three replicas, Swift and S3 on one port. What a laptop runs, and every test.

mod layout;

pub use layout::{NODES, node_folder};

use crate::cli::DevOptions;
use crate::config::NodeConfig;
use crate::node::{StorageNode, end_asked_for};
use crate::proxy_role;
use crate::rings::RingWatch;
use crate::security::Security;
use layout::Layout;
use martlet_node_client::{NodeClient, NodeClientConfig};
use martlet_replicator::Rings;
use martlet_service::logging::LogOptions;
use martlet_service::{Clock, Shutdown, metrics};
use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// How long a node may take to answer after its start, and to end when asked.
const NODE_PATIENCE: Duration = Duration::from_secs(20);

/// Starts the cluster, says how to use it, runs until SIGTERM or Ctrl-C.
pub async fn run(options: DevOptions) -> Result<(), Box<dyn Error>> {
    let temporary = match &options.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("martlet-").tempdir()?),
    };
    let data = match (&options.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => unreachable!("one of the two is there"),
    };
    std::fs::create_dir_all(&data)?;
    let data = data.canonicalize()?;
    let log_file = data.join("martlet.log");
    martlet_service::logging::init(&LogOptions {
        filter: &options.log,
        json: false,
        file: Some(&log_file),
    })?;
    metrics::install();

    let listener = TcpListener::bind((options.bind, options.port)).await?;
    let address = listener.local_addr()?;
    let layout = Layout::prepare(&data, address, &options)?;

    let security = Security::open(&layout.proxy.cluster)?;
    let client = security.client(NodeClientConfig::default());
    let clock = Clock::system();
    let watch = RingWatch::open(&layout.proxy.cluster)?;
    let rings = watch.rings();
    let mut nodes = Nodes::start(&layout, &options, &security, &rings, &client, &clock).await?;
    let (trigger, shutdown) = Shutdown::new();
    let mut watched = security.watched();
    // A closed terminal hangs this process up, which is to end it as ever.
    let watching = tokio::spawn(watch.run(false, shutdown.clone()));
    let role = layout
        .proxy
        .proxy
        .as_ref()
        .expect("the layout gives the first configuration a proxy");
    let serve_options = proxy_role::listener(role, &mut watched)?;
    let interval = Duration::from_secs(layout.proxy.cluster.ring_check_interval.max(1));
    let watching_files = tokio::spawn(watched.run(interval, false, shutdown.clone()));
    let front = proxy_role::build(&layout.proxy, role, rings, &client, &clock)?;
    let serving = tokio::spawn(front.serve(listener, serve_options, shutdown));
    print_welcome(address, &data, &options);

    end_asked_for(false).await?;
    eprintln!("martlet: ending");
    trigger.trigger();
    serving.await?;
    nodes.stop(&data).await;
    watching.await??;
    watching_files.await??;
    Ok(())
}

/// The four storage nodes, in this process or each in its own.
enum Nodes {
    Here(Vec<StorageNode>),
    Processes(Vec<Child>),
}

impl Nodes {
    async fn start(
        layout: &Layout,
        options: &DevOptions,
        security: &Security,
        rings: &Rings,
        client: &NodeClient,
        clock: &Clock,
    ) -> Result<Nodes, Box<dyn Error>> {
        if options.processes {
            let mut children = Vec::new();
            for path in &layout.nodes {
                children.push(spawn_node(path, options.threads())?);
            }
            for (path, child) in layout.nodes.iter().zip(&mut children) {
                wait_until_up(path, child).await?;
            }
            return Ok(Nodes::Processes(children));
        }
        let mut nodes = Vec::new();
        for path in &layout.nodes {
            let config = NodeConfig::load(path)?;
            let storage = config
                .storage
                .as_ref()
                .expect("the layout gives every node its devices");
            nodes.push(StorageNode::start(&config, storage, security, rings, client, clock).await?);
        }
        Ok(Nodes::Here(nodes))
    }

    /// Ends the nodes. Processes that took the place of a killed one are ended too: they are found by their pid files.
    async fn stop(&mut self, data: &Path) {
        match self {
            Nodes::Here(nodes) => {
                let stopping = nodes.drain(..).map(|node| tokio::spawn(node.stop()));
                for stopped in stopping.collect::<Vec<_>>() {
                    if let Err(error) = stopped.await {
                        tracing::error!(%error, "a node did not stop well");
                    }
                }
            }
            Nodes::Processes(children) => {
                for number in 1..=NODES {
                    terminate(&node_folder(data, number));
                }
                for child in children {
                    // Its end closes the pipe as well, for a node whose pid file was lost.
                    drop(child.stdin.take());
                    if tokio::time::timeout(NODE_PATIENCE, child.wait()).await.is_err() {
                        tracing::warn!("a node did not end in time and is killed");
                        let _ = child.kill().await;
                    }
                }
            }
        }
    }
}

/// Sends SIGTERM to the process that a node's pid file names, if that process really is this node.
fn terminate(folder: &Path) {
    let Ok(text) = std::fs::read_to_string(folder.join("node.pid")) else {
        return;
    };
    let Some(pid) = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw) else {
        return;
    };
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let config = folder.join("node.toml");
    let is_ours = command
        .split(|byte| *byte == 0)
        .any(|argument| argument == config.as_os_str().as_encoded_bytes());
    if is_ours && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
        tracing::debug!(%error, "node had ended already");
    }
}

fn spawn_node(config: &Path, threads: Option<NonZeroUsize>) -> Result<Child, Box<dyn Error>> {
    let log = config.with_file_name("node.log");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let child = Command::new(std::env::current_exe()?)
        .args(["node", "--exit-with-stdin", "--config"])
        .arg(config)
        .args(threads.map(|threads| format!("--threads={threads}")))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal is for this process, which then ends the nodes in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Whether a pid file names this process. A node writes it after it has begun to listen.
fn names_process(pid_file: &Path, pid: Option<u32>) -> bool {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    pid.is_some() && text.trim().parse().ok() == pid
}

async fn wait_until_up(config: &Path, child: &mut Child) -> Result<(), Box<dyn Error>> {
    let storage = NodeConfig::load(config)?
        .storage
        .expect("the layout gives every node its devices");
    let deadline = tokio::time::Instant::now() + NODE_PATIENCE;
    loop {
        let wrote_pid = storage
            .pid_file
            .as_ref()
            .is_none_or(|path| names_process(path, child.id()));
        if wrote_pid && tokio::net::TcpStream::connect(storage.bind).await.is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let log = config.with_file_name("node.log");
            return Err(format!("a node ended at once ({status}); see {}", log.display()).into());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("node {} does not answer at {}", config.display(), storage.bind).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn print_welcome(address: SocketAddr, data: &Path, options: &DevOptions) {
    let kept = if options.data.is_some() {
        "kept"
    } else {
        "removed at the end; --data DIR keeps it"
    };
    let nodes = if options.processes {
        "four storage processes"
    } else {
        "everything in this process"
    };
    let data: PathBuf = data.to_owned();
    let scheme = match options.tls_cert {
        Some(_) => "https",
        None => "http",
    };
    println!(
        "\
Martlet is up at {scheme}://{address}: four devices, three replicas, {nodes}.
Data and logs: {} ({kept}). Ctrl-C ends it.

Swift:  export ST_AUTH={scheme}://{address}/auth/v1.0 ST_USER=test:tester ST_KEY=testing
        swift upload photos FILE && swift list photos
S3:     export AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=us-east-1
        aws --endpoint-url {scheme}://{address} s3 ls s3://photos",
        data.display()
    );
    if let Some(url) = options.keystone.urls.first() {
        println!(
            "Keystone at {}: the object-store endpoint to register is {scheme}://{address}/v1/AUTH_%(project_id)s",
            url.as_str()
        );
    }
}
