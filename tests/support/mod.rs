//! A whole cluster for a test: the real binary, real processes, real disks, a port of its own.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub mod archive;
pub mod certificates;
pub mod clients;
pub mod copies;
pub mod files;
pub mod http;
pub mod network;
pub mod signing;
pub mod story;
pub mod uploads;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything in a test may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Storage nodes of a dev cluster.
pub const NODES: usize = 4;

/// A running `martlet dev`. Ends with the value; its data too, unless it was given a folder.
pub struct Cluster {
    child: Option<Child>,
    address: String,
    data: PathBuf,
    _folder: Option<tempfile::TempDir>,
    processes: bool,
}

impl Cluster {
    /// Everything in one process.
    pub fn start() -> Cluster {
        Self::start_with(&[])
    }

    /// Each storage node in a process of its own.
    pub fn start_processes() -> Cluster {
        Self::start_with(&["--processes"])
    }

    /// With further arguments of `martlet dev`.
    pub fn start_with(arguments: &[&str]) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("martlet-test-")
            .tempdir()
            .expect("a temporary folder");
        let data = folder.path().join("data");
        let mut cluster = Cluster {
            child: None,
            address: String::new(),
            data,
            _folder: Some(folder),
            processes: arguments.contains(&"--processes"),
        };
        cluster.launch(arguments);
        cluster
    }

    /// Starts `martlet dev` on this cluster's data.
    fn launch(&mut self, arguments: &[&str]) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["dev", "--port", "0", "--data"])
            .arg(&self.data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(" is up at ") {
            line.clear();
            if lines.read_line(&mut line).expect("the cluster prints") == 0 {
                let mut errors = String::new();
                let _ = child.stderr.take().expect("piped").read_to_string(&mut errors);
                panic!("the cluster did not come up: {errors}");
            }
        }
        let url = line.split(" is up at ").nth(1).expect("checked above");
        let url = url.split(": ").next().expect("a split has a first part");
        self.address = url
            .trim_start_matches("http://")
            .trim_start_matches("https://")
            .to_owned();
        // The rest is drained so that the cluster never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut errors = child.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        self.child = Some(child);
    }

    /// `127.0.0.1:PORT` of the proxy.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The cluster's data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of a node, counted from 1.
    pub fn node_folder(&self, number: usize) -> PathBuf {
        self.data.join(format!("node{number}"))
    }

    /// The process id of the proxy (and, without `--processes`, of everything).
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the cluster runs").id()
    }

    /// All its processes.
    pub fn pids(&self) -> Vec<u32> {
        let nodes = (1..=NODES).filter_map(|number| self.node_pid(number));
        let mut pids: Vec<u32> = [self.pid()]
            .into_iter()
            .chain(nodes.map(|pid| pid as u32))
            .collect();
        pids.dedup();
        pids
    }

    /// The process id a node wrote down.
    pub fn node_pid(&self, number: usize) -> Option<i32> {
        let text = std::fs::read_to_string(self.node_folder(number).join("node.pid")).ok()?;
        text.trim().parse().ok()
    }

    /// Kills a storage process the hard way, and waits until it is gone.
    pub fn kill_node(&self, number: usize) {
        assert!(
            self.processes,
            "only nodes with a process of their own can be killed"
        );
        let pid = self.node_pid(number).expect("the node wrote its pid");
        send_signal(pid, rustix::process::Signal::KILL);
        wait_for("the killed node to be gone", || !is_running(pid));
    }

    /// Starts a node in the place of one that was killed, and waits until it answers.
    pub fn restart_node(&self, number: usize) -> NodeProcess {
        let config = self.node_folder(number).join("node.toml");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(config.with_file_name("node.log"));
        let log = log.expect("the node's log opens");
        let child = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["node", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the node starts");
        let node = NodeProcess { child };
        let address = self.node_address(number);
        wait_for("the node to answer", || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        wait_for("the node to write its pid", || {
            self.node_pid(number) == Some(node.child.id() as i32)
        });
        node
    }

    /// Where a node listens.
    pub fn node_address(&self, number: usize) -> String {
        let text =
            std::fs::read_to_string(self.node_folder(number).join("node.toml")).expect("node.toml is there");
        let config: toml::Table = text.parse().expect("node.toml is TOML");
        let address = config["storage"]["bind"].as_str().expect("an address").to_owned();
        // From now on this test is one of the cluster when it calls there.
        if let Ok(key) = std::fs::read_to_string(self.data.join("cluster.key")) {
            http::know_key(&address, &key);
        }
        address
    }

    /// Starts another proxy of this cluster, its pipeline as TOML says it; the sample user `test:tester` is added. Its
    /// address.
    pub fn start_proxy(&self, pipeline: &str) -> (NodeProcess, String) {
        self.start_proxy_as("", pipeline)
    }

    /// The same with settings of the role itself.
    pub fn start_proxy_as(&self, role: &str, pipeline: &str) -> (NodeProcess, String) {
        let settings: toml::Table = role.parse().expect("the role is TOML");
        let text =
            std::fs::read_to_string(self.node_folder(1).join("node.toml")).expect("node.toml is there");
        let mut config: toml::Table = text.parse().expect("node.toml is TOML");
        config.remove("storage");
        let address = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("its address").to_string()
        };
        let mut proxy: toml::Table = pipeline.parse().expect("the pipeline is TOML");
        let users = "'test:tester' = { key = 'testing', groups = ['.admin'] }";
        let tempauth =
            toml::Table::from_iter([("users".to_owned(), users.parse::<toml::Table>().unwrap().into())]);
        proxy.insert("tempauth".into(), tempauth.into());
        let own = [
            ("bind".to_owned(), address.clone().into()),
            ("pipeline".to_owned(), proxy.into()),
        ];
        let role = toml::Table::from_iter(own.into_iter().chain(settings));
        config.insert("proxy".into(), role.into());
        // Beside the first node's file, since paths in it are taken from its own folder.
        let number = address.rsplit(':').next().expect("a port");
        let path = self.node_folder(1).join(format!("proxy-{number}.toml"));
        std::fs::write(&path, toml::to_string(&config).expect("TOML")).expect("it can be written");
        let log = std::fs::File::create(path.with_extension("log")).expect("the log opens");
        let child = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["node", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the proxy starts");
        let mut proxy = NodeProcess { child };
        wait_for("the proxy to answer", || {
            let ended = proxy.child.try_wait().expect("it can be waited for");
            assert!(
                ended.is_none(),
                "{}",
                std::fs::read_to_string(path.with_extension("log")).unwrap()
            );
            std::net::TcpStream::connect(&address).is_ok()
        });
        (proxy, address)
    }

    /// One full round of replication on every node; the report of each.
    pub fn pass(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["pass", "--data"])
            .arg(&self.data)
            .output()
            .expect("the binary starts");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{report}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        report
    }

    /// One full round of everything; the reports of the nodes that could make one.
    pub fn reports(&self) -> Vec<serde_json::Value> {
        reports_in(&self.martlet(&["pass"]).1)
    }

    /// One full round of one worker on every node; its reports.
    pub fn pass_of(&self, worker: &str) -> Vec<serde_json::Value> {
        let (ended_well, text) = self.martlet(&["pass", "--worker", worker]);
        assert!(ended_well, "{text}");
        reports_in(&text)
    }

    /// Runs a command of an operator on this cluster; whether it ended well, and what it printed.
    pub fn martlet(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .output()
            .expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text + &errors)
    }

    /// Stops a process where it stands, and lets it go on.
    pub fn pause_node(&self, number: usize) {
        let pid = self.node_pid(number).expect("the node wrote its pid");
        send_signal(pid, rustix::process::Signal::STOP);
    }

    pub fn resume_node(&self, number: usize) {
        let pid = self.node_pid(number).expect("the node wrote its pid");
        send_signal(pid, rustix::process::Signal::CONT);
    }

    /// Puts an empty, formatted disk in the place of a killed node's.
    pub fn replace_disk(&self, number: usize) {
        let folder = self.node_folder(number);
        std::fs::remove_dir_all(folder.join("disk")).expect("the disk is there");
        std::fs::create_dir(folder.join("disk")).expect("a new disk");
        let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["format", "--config"])
            .arg(folder.join("node.toml"))
            .output()
            .expect("the binary starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Changes a worker's setting of every node, from the next start on.
    pub fn set_worker(&self, key: &str, value: toml::Value) {
        self.set_storage("workers", key, value);
    }

    /// Changes a setting in a section of every node's `[storage]`, from the next start on.
    pub fn set_storage(&self, section: &str, key: &str, value: toml::Value) {
        for number in 1..=NODES {
            let path = self.node_folder(number).join("node.toml");
            let text = std::fs::read_to_string(&path).expect("node.toml is there");
            let mut config: toml::Table = text.parse().expect("node.toml is TOML");
            let storage = config["storage"].as_table_mut().expect("a table");
            let section = storage
                .entry(section.to_owned())
                .or_insert_with(|| toml::Table::new().into());
            section
                .as_table_mut()
                .expect("a table")
                .insert(key.to_owned(), value.clone());
            std::fs::write(&path, config.to_string()).expect("node.toml is written");
        }
    }

    /// Asks for the end and waits for it. Returns how long it took.
    pub fn stop(&mut self) -> Duration {
        let Some(mut child) = self.child.take() else {
            return Duration::ZERO;
        };
        let begun = Instant::now();
        send_signal(child.id() as i32, rustix::process::Signal::TERM);
        wait_for("the cluster to end", || {
            child.try_wait().expect("it can be waited for").is_some()
        });
        begun.elapsed()
    }

    /// Kills everything at once, the hard way.
    pub fn kill_everything(&mut self) {
        let mut pids: Vec<i32> = (1..=NODES).filter_map(|number| self.node_pid(number)).collect();
        pids.retain(|pid| is_running(*pid));
        let mut child = self.child.take().expect("the cluster runs");
        pids.push(child.id() as i32);
        for pid in &pids {
            send_signal(*pid, rustix::process::Signal::KILL);
        }
        child.wait().expect("it can be waited for");
        wait_for("all processes to be gone", || {
            !pids.iter().any(|pid| is_running(*pid))
        });
    }

    /// Starts the cluster again on the same data.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the cluster still runs");
        let arguments: &[&str] = if self.processes { &["--processes"] } else { &[] };
        self.launch(arguments);
    }

    /// What the proxy and the nodes logged.
    pub fn logs(&self) -> String {
        let files = (1..=NODES).map(|number| self.node_folder(number).join("node.log"));
        let texts = files
            .chain([self.data.join("martlet.log")])
            .map(std::fs::read_to_string);
        texts.map(Result::unwrap_or_default).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A storage process that a test started itself; killed with the value when it still runs.
pub struct NodeProcess {
    child: Child,
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Ended already, most likely: by the cluster, or by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON that `martlet pass` prints behind the name of each node.
fn reports_in(text: &str) -> Vec<serde_json::Value> {
    let report = |line: &str| serde_json::from_str(line.split_once(": ")?.1).ok();
    text.lines().filter_map(report).collect()
}

/// Waits for a condition; panics when it does not come true in time.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// As [`wait_for`], where looking takes requests.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        while !condition().await {
            tick.tick().await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "waited in vain for {what}");
}

/// Does something and watches the memory of processes meanwhile: what came of it, and the most that was resident in each.
pub async fn watching_memory<T>(pids: &[u32], work: impl Future<Output = T>) -> (T, Vec<u64>) {
    let mut most = vec![0; pids.len()];
    let mut look = || {
        for (most, pid) in most.iter_mut().zip(pids) {
            *most = resident_bytes(*pid).max(*most);
        }
    };
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => look(),
        }
    };
    look();
    (done, most)
}

pub fn send_signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    // A process that has just ended is as good as signalled.
    let _ = rustix::process::kill_process(pid, signal);
}

/// Whether a process is there and not only waiting to be reaped.
pub fn is_running(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z'),
        Err(_) => false,
    }
}

/// Resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or("0 kB");
    let kib: u64 = line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    kib * 1024
}
