//! Whom a process believes: the cluster key, TLS of its listeners and of its calls; and the watch over their files.

use crate::config::{ClusterConfig, ConfigError, NodeConfig, TlsFiles};
use crate::looks::Looks;
use crate::router::Router;
use martlet_node_client::{NodeClient, NodeClientConfig};
use martlet_service::{
    Admission, ClusterKeys, FileStamp, Request, ServeOptions, Shutdown, Skews, TlsClient, TlsServer,
};
use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the nodes of a cluster prove and believe. Clones share it.
#[derive(Clone)]
pub struct Security {
    keys: Option<ClusterKeys>,
    server: Option<TlsServer>,
    client: Option<TlsClient>,
    skews: Skews,
    watched: Watched,
}

/// One set of files, and how it is taken over when it has changed.
#[derive(Clone)]
struct WatchedFiles {
    what: &'static str,
    files: Vec<PathBuf>,
    take: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The files that are looked at again and again.
#[derive(Clone, Default)]
pub struct Watched(Vec<WatchedFiles>);

impl Security {
    /// Reads the files that a configuration names.
    pub fn open(cluster: &ClusterConfig) -> Result<Security, Box<dyn Error>> {
        let mut watched = Watched::default();
        let keys = match (&cluster.key, &cluster.key_file) {
            (Some(key), _) => Some(ClusterKeys::parse(key.reveal())?),
            (None, Some(path)) => Some(key_file(path, &mut watched)?),
            (None, None) => None,
        };
        let (mut server, mut client) = (None, None);
        if let Some(tls) = &cluster.tls {
            let believes = TlsClient::load(&tls.ca, tls.server_name.as_deref())?;
            let again = believes.clone();
            watched.add("authorities", believes.files(), move || {
                again.reload().map_err(|error| error.to_string())
            });
            client = Some(believes);
            let files = TlsFiles {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            };
            server = Some(watched.certificate(&files)?);
        }
        Ok(Security {
            keys,
            server,
            client,
            skews: Skews::new(cluster.clock_skew_limit_ms),
            watched,
        })
    }

    /// Calls nodes as one of this cluster.
    pub fn client(&self, config: NodeClientConfig) -> NodeClient {
        NodeClient::new(NodeClientConfig {
            keys: self.keys.clone(),
            tls: self.client.clone(),
            skews: self.skews.clone(),
            ..config
        })
    }

    /// A listener that only this cluster's nodes may use.
    pub fn internal(&self, name: &'static str, open_metrics: bool) -> ServeOptions {
        let is_open: fn(&Request) -> bool = match open_metrics {
            true => Router::is_open_with_metrics,
            false => Router::is_open,
        };
        let admission = self.keys.clone();
        ServeOptions {
            tls: self.server.clone(),
            admission: admission.map(|keys| Admission::new(keys, self.skews.clone(), is_open)),
            ..ServeOptions::internal(name)
        }
    }

    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }
}

fn key_file(path: &Path, watched: &mut Watched) -> Result<ClusterKeys, Box<dyn Error>> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let keys = ClusterKeys::parse(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
        tracing::warn!(file = %path.display(), "everybody on this machine may read the cluster key");
    }
    let (again, path) = (keys.clone(), path.to_owned());
    watched.add("cluster key", vec![path.clone()], move || {
        again.replace(&read(&path)?).map_err(|error| error.to_string())
    });
    Ok(keys)
}

/// What tells one state of files from another without reading them: modification time, size and inode of each.
type Stamps = Vec<Option<FileStamp>>;

impl WatchedFiles {
    fn stamps(&self) -> Stamps {
        self.files.iter().map(|path| FileStamp::of(path).ok()).collect()
    }
}

impl Watched {
    fn add(
        &mut self,
        what: &'static str,
        files: Vec<PathBuf>,
        take: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.0.push(WatchedFiles {
            what,
            files,
            take: Arc::new(take),
        });
    }

    /// Reads a listener's certificate and watches it.
    pub fn certificate(&mut self, files: &TlsFiles) -> Result<TlsServer, Box<dyn Error>> {
        let server = TlsServer::load(&files.certificate, &files.key)?;
        let again = server.clone();
        self.add("certificate", server.files(), move || {
            again.reload().map_err(|error| error.to_string())
        });
        Ok(server)
    }

    /// Looks at the files every `interval` until the end, and takes over what has changed. With `on_hangup`, SIGHUP makes
    /// it look at once and read them whatever their stamps say. Files that cannot be used change nothing; the log says so
    /// once, and what is in force stays until they change again.
    pub async fn run(self, interval: Duration, on_hangup: bool, shutdown: Shutdown) -> std::io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut looks = Looks::new(interval, on_hangup, shutdown)?;
        let mut seen: Vec<Stamps> = self.0.iter().map(WatchedFiles::stamps).collect();
        while let Some(is_asked) = looks.next().await {
            let watched = self.clone();
            let looking = tokio::task::spawn_blocking(move || watched.looked(seen, is_asked));
            seen = match looking.await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::error!(%error, "the watch over keys and certificates has failed");
                    return Ok(());
                }
            };
        }
        Ok(())
    }

    fn looked(&self, seen: Vec<Stamps>, is_asked: bool) -> Vec<Stamps> {
        let look = |(files, seen): (&WatchedFiles, Stamps)| {
            let stamps = files.stamps();
            if stamps == seen && !is_asked {
                return seen;
            }
            match (files.take)() {
                Ok(()) => tracing::info!(what = files.what, "changed files are in force"),
                Err(error) => {
                    metrics::counter!("martlet_files_refused_total").increment(1);
                    tracing::error!(
                        what = files.what,
                        error,
                        "changed files cannot be used; what is in force stays"
                    );
                }
            }
            stamps
        };
        self.0.iter().zip(seen).map(look).collect()
    }
}

/// Refuses listeners that strangers reach where nobody has to prove anything.
pub fn check(config: &NodeConfig) -> Result<(), ConfigError> {
    let cluster = &config.cluster;
    if cluster.key.is_some() && cluster.key_file.is_some() {
        return Err(ConfigError::new(
            "[cluster] has both key and key_file: one of them is enough",
        ));
    }
    if cluster.key.is_some() || cluster.key_file.is_some() {
        return Ok(());
    }
    let Some(storage) = &config.storage else {
        return Ok(());
    };
    let reached = storage
        .binds()
        .find(|(_, address)| !address.ip().to_canonical().is_loopback());
    match reached {
        Some((name, address)) => Err(ConfigError::new(format!(
            "[storage] {name} = \"{address}\" can be reached from other machines, and nothing would keep strangers from \
             reading and writing there: set key_file in [cluster] (a file with the same {} letters or more on every node)",
            martlet_service::MIN_KEY_LETTERS
        ))),
        None => Ok(()),
    }
}

/// Letters of a new cluster key: 256 bits in hexadecimal.
const NEW_KEY_BYTES: usize = 32;

/// Makes a key file that only its owner may read, unless there is one.
pub fn make_key_file(path: &Path) -> std::io::Result<()> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0; NEW_KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole or not at all: another process may look at the same moment.
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}
