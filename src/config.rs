//! `node.toml`: what one process is. Wrong files fail here, before a socket or a disk is touched.

mod container_sync;
mod roles;
mod security;
mod workers;

pub use container_sync::ContainerSyncSettings;
pub use roles::{
    DeviceEntry, DeviceTuning, ProxyRoleConfig, StorageConfig, max_connections, max_requests, max_wait_ms,
    open_metrics,
};
pub use security::{ClusterTls, Secret, TlsFiles};
pub use workers::WorkerSettings;

use martlet_protocol::hash::HashSalt;
use martlet_protocol::policy::{Policies, Policy};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// A whole file. Paths in it are taken from the file's own folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    pub cluster: ClusterConfig,
    #[serde(default)]
    pub log: LogConfig,
    /// Present: this process serves devices.
    pub storage: Option<StorageConfig>,
    /// Present: this process serves clients.
    pub proxy: Option<ProxyRoleConfig>,
}

/// What every node of a cluster must agree on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Stands in the marker of every device; a device of another cluster is not touched.
    pub name: String,
    /// `swift_hash_path_prefix` of `swift.conf`. Never changes once there is data.
    #[serde(default)]
    pub hash_path_prefix: String,
    /// `swift_hash_path_suffix` of `swift.conf`. Never changes once there is data.
    pub hash_path_suffix: String,
    /// Folder with `account.ring.gz`, `container.ring.gz`, `object.ring.gz`, `object-1.ring.gz` and so on.
    pub rings: PathBuf,
    /// Seconds between two looks at the ring files; changed ones take effect without a restart. SIGHUP makes a node look
    /// at once.
    #[serde(default = "ring_check_interval")]
    pub ring_check_interval: u64,
    /// What the nodes prove to each other, 32 letters or more. Without it (or `key_file`) storage listens on loopback
    /// alone.
    pub key: Option<Secret>,
    /// A file with that key; it may have several, one a line: the first is used for calls, all are accepted. Looked at as
    /// the rings are.
    pub key_file: Option<PathBuf>,
    /// Clocks further apart than this are warned of, milliseconds.
    #[serde(default = "clock_skew_limit_ms")]
    pub clock_skew_limit_ms: u64,
    /// Storage policies, as in `swift.conf`.
    pub policies: Vec<Policy>,
    /// Present: nodes speak TLS with each other.
    pub tls: Option<ClusterTls>,
}

pub fn clock_skew_limit_ms() -> u64 {
    martlet_node_client::CLOCK_SKEW_LIMIT_MS
}

/// Swift's proxies look every 15 seconds; a look costs next to nothing.
pub fn ring_check_interval() -> u64 {
    5
}

impl ClusterConfig {
    pub fn salt(&self) -> HashSalt {
        HashSalt {
            prefix: self.hash_path_prefix.clone(),
            suffix: self.hash_path_suffix.clone(),
        }
    }
}

/// Where log lines go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub filter: String,
    pub json: bool,
    /// Standard error when absent.
    pub file: Option<PathBuf>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            filter: "info".into(),
            json: false,
            file: None,
        }
    }
}

/// Why a configuration cannot be used. Says the file and, for a misspelt key, the nearest right one.
#[derive(Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub fn new(text: impl Into<String>) -> Self {
        ConfigError(text.into())
    }

    /// A data folder without the configuration of a single node.
    pub fn no_nodes(data: &Path) -> Self {
        ConfigError(format!(
            "{}: no node1/node.toml below it: not the data folder of a dev cluster",
            data.display()
        ))
    }
}

impl NodeConfig {
    /// Reads and checks a file; its paths become absolute.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |text: String| ConfigError(format!("{}: {text}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let mut config = Self::parse(&text).map_err(|error| fail(error.0))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|error| fail(error.to_string()))?;
        config.resolve(&folder);
        Ok(config)
    }

    /// Reads and checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: NodeConfig = toml::from_str(text).map_err(|error| ConfigError(explain(&error)))?;
        Policies::new(config.cluster.policies.clone()).map_err(|error| ConfigError(error.to_string()))?;
        if config.storage.is_none() && config.proxy.is_none() {
            return Err(ConfigError(
                "names no role: neither [storage] nor [proxy] is there".into(),
            ));
        }
        if let Some(authtoken) = config
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.pipeline.authtoken.as_ref())
        {
            authtoken.check().map_err(ConfigError)?;
        }
        if let Some(ceilometer) = config
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.pipeline.ceilometer.as_ref())
        {
            ceilometer.check().map_err(ConfigError)?;
        }
        if let Some(storage) = &config.storage {
            if storage.devices.is_empty() {
                return Err(ConfigError("[storage] names no devices".into()));
            }
            parse_reserve(&storage.device.fallocate_reserve)?;
            storage.container_sync.proxies()?;
        }
        crate::security::check(&config)?;
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| *path = folder.join(&*path);
        absolute(&mut self.cluster.rings);
        self.cluster.key_file.iter_mut().for_each(absolute);
        if let Some(tls) = &mut self.cluster.tls {
            [&mut tls.ca, &mut tls.certificate, &mut tls.key]
                .into_iter()
                .for_each(absolute);
        }
        if let Some(tls) = self.proxy.as_mut().and_then(|proxy| proxy.tls.as_mut()) {
            [&mut tls.certificate, &mut tls.key]
                .into_iter()
                .for_each(absolute);
        }
        self.log.file.iter_mut().for_each(absolute);
        let authtoken = self
            .proxy
            .as_mut()
            .and_then(|proxy| proxy.pipeline.authtoken.as_mut());
        if let Some(authtoken) = authtoken {
            authtoken.resolve(folder);
        }
        if let Some(storage) = &mut self.storage {
            storage.pid_file.iter_mut().for_each(absolute);
            storage.container_sync.realms_conf.iter_mut().for_each(absolute);
            storage
                .devices
                .iter_mut()
                .for_each(|device| absolute(&mut device.path));
        }
        let ceilometer = self
            .proxy
            .as_mut()
            .and_then(|proxy| proxy.pipeline.ceilometer.as_mut());
        if let Some(ceilometer) = ceilometer {
            ceilometer.resolve(folder);
        }
        if let Some(proxy) = &mut self.proxy
            && let Some(sync) = &mut proxy.pipeline.container_sync
        {
            sync.realms_conf.iter_mut().for_each(absolute);
        }
    }

    /// The policies, checked when the file was read.
    pub fn policies(&self) -> Policies {
        Policies::new(self.cluster.policies.clone()).expect("checked when the file was read")
    }
}

/// Swift's `fallocate_reserve`: bytes, or a percentage.
pub fn parse_reserve(text: &str) -> Result<martlet_storage::Reserve, ConfigError> {
    let wrong = || {
        ConfigError(format!(
            "fallocate_reserve {text:?} is neither bytes nor a percentage below 100"
        ))
    };
    match text.trim().strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
            if !(0.0..100.0).contains(&percent) {
                return Err(wrong());
            }
            Ok(martlet_storage::Reserve::Percent(percent))
        }
        None => Ok(martlet_storage::Reserve::Bytes(
            text.trim().parse().map_err(|_| wrong())?,
        )),
    }
}

/// The parser's words, with the nearest right key when a key is unknown.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    match nearest(error.message()) {
        Some(key) => format!("{text}did you mean `{key}`?"),
        None => text,
    }
}

/// Picks the nearest of the names in serde's "unknown field `a`, expected one of `b`, `c`".
fn nearest(message: &str) -> Option<String> {
    let (unknown, expected) = message
        .strip_prefix("unknown field ")?
        .split_once(", expected ")?;
    let unknown = unknown.trim_matches('`');
    let known = expected.split('`').skip(1).step_by(2);
    known
        .min_by_key(|key| edit_distance(unknown, key))
        .map(str::to_owned)
}

/// Levenshtein's distance: the least number of letters to insert, delete or change.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [cluster]
        name = "test"
        hash_path_suffix = "salt"
        rings = "rings"
        policies = [{ index = 0, name = "gold" }]
        [storage]
        bind = "127.0.0.1:6201"
        devices = [{ name = "d1", path = "disk" }]
    "#;

    #[test]
    fn keystone_stands_in_the_pipeline() {
        let file = |lines: &str| {
            let text = format!(
                "{GOOD}\n[proxy]\nbind = \"127.0.0.1:0\"\n[proxy.pipeline.authtoken]\nusername = \"swift\"\n\
                 password = \"s3cr3t\"\nproject_name = \"service\"\n{lines}"
            );
            NodeConfig::parse(&text)
        };
        let url = "auth_url = \"http://a:5000/v3\"";
        let config = file(url).unwrap();
        let authtoken = config
            .proxy
            .as_ref()
            .unwrap()
            .pipeline
            .authtoken
            .as_ref()
            .unwrap();
        assert_eq!(authtoken.auth_url[0].as_str(), "http://a:5000/v3");
        assert_eq!(authtoken.user_domain_name, "Default");
        assert!(!format!("{config:?}").contains("s3cr3t"));
        assert!(file("auth_url = [\"http://a\", \"https://b/identity\"]").is_ok());
        for (lines, word) in [
            ("", "auth_url"),
            ("auth_url = []", "no Keystone"),
            ("auth_url = \"ftp://a\"", "http://"),
            (
                &format!("{url}\ntoken_cache_tim = 1"),
                "did you mean `token_cache_time`?",
            ),
            (
                &format!("{url}\nmemcached_servers = [\"a:1\"]"),
                "memcache_secret_key",
            ),
            (
                &format!("{url}\n[proxy.pipeline.keystoneauth]\noperator_role = []"),
                "did you mean `operator_roles`?",
            ),
        ] {
            let error = file(lines).unwrap_err().to_string();
            assert!(error.contains(word), "{lines}: {error}");
        }
    }

    #[test]
    fn waits_have_swifts_names_and_units() {
        let file = |line: &str| {
            let text = format!("{GOOD}\n[proxy]\nbind = \"127.0.0.1:0\"\n[proxy.pipeline.app]\n{line}");
            NodeConfig::parse(&text).map_err(|error| error.to_string())
        };
        let lines = "conn_timeout = 0.3\nnode_timeout = 5\nrecoverable_node_timeout = 2.5\n\
                     error_suppression_interval = 60\nerror_suppression_limit = 10";
        let config = file(lines).unwrap();
        let app = &config.proxy.as_ref().unwrap().pipeline.app;
        assert_eq!(app.conn_timeout.get().as_millis(), 300);
        assert_eq!(app.node_timeout.get().as_secs(), 5);
        for (line, word) in [
            ("conn_timeot = 1", "did you mean `conn_timeout`?"),
            (
                "error_supression_limit = 1",
                "did you mean `error_suppression_limit`?",
            ),
            ("node_timeout = 0", "between 0.001 and 86400"),
            ("node_timeout = \"5\"", "seconds"),
        ] {
            let error = file(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_right_one() {
        assert!(NodeConfig::parse(GOOD).is_ok());
        for (from, to, hint) in [
            (
                "hash_path_suffix",
                "hash_path_sufix",
                "did you mean `hash_path_suffix`?",
            ),
            ("[storage]", "[storag]", "did you mean `storage`?"),
            ("bind =", "bid =", "did you mean `bind`?"),
        ] {
            let error = NodeConfig::parse(&GOOD.replace(from, to))
                .unwrap_err()
                .to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (from, to) in [
            ("devices = [{ name = \"d1\", path = \"disk\" }]", "devices = []"),
            ("name = \"gold\"", "name = \"go ld\""),
            ("127.0.0.1:6201", "nowhere"),
        ] {
            assert!(NodeConfig::parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
        let open = GOOD.replace("127.0.0.1:6201", "0.0.0.0:6201");
        let error = NodeConfig::parse(&open).unwrap_err().to_string();
        assert!(
            error.contains("key_file in [cluster]") && error.contains("bind = \"0.0.0.0:6201\""),
            "{error}"
        );
        let keyed = open.replace("[cluster]", "[cluster]\nkey_file = \"k\"");
        assert!(NodeConfig::parse(&keyed).is_ok());
        assert!(NodeConfig::parse(&keyed.replace("key_file", "key = \"x\"\nkey_file")).is_err());
        let single = GOOD.replace("[storage]", "[storage]\nobject_bind = \"10.0.0.1:6200\"");
        assert!(
            NodeConfig::parse(&single)
                .unwrap_err()
                .to_string()
                .contains("object_bind")
        );
        for wrong in ["x", "100%", "-1", "-1%", ""] {
            assert!(parse_reserve(wrong).is_err(), "{wrong}");
        }
    }
}
