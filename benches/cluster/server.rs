//! A cluster of the real binary, and the CPU time its processes have spent.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Linux counts process time for user space in hundredths of a second on every architecture it is built for here.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running `martlet dev`; it and its data end with the value.
pub struct Cluster {
    child: Child,
    address: String,
    sockets: bool,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub fn start(sockets: bool) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("martlet-bench-")
            .tempdir()
            .expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.args(["dev", "--port", "0", "--data"]).arg(folder.path());
        if sockets {
            command.arg("--processes");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(" is up at ") {
            line.clear();
            let count = lines.read_line(&mut line).expect("the cluster prints");
            assert!(count > 0, "the cluster did not come up");
        }
        let url = line
            .split(" is up at ")
            .nth(1)
            .and_then(|rest| rest.split(": ").next())
            .expect("an address");
        let address = url.trim_start_matches("http://").to_owned();
        // The rest is drained so that the cluster never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Cluster {
            child,
            address,
            sockets,
            folder,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn over_sockets(&self) -> bool {
        self.sockets
    }

    /// User and system time of the proxy and of every node, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let mut pids = vec![self.child.id()];
        for number in 1..=4 {
            let file = self.folder.path().join(format!("node{number}/node.pid"));
            let pid: Option<u32> = std::fs::read_to_string(file)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            pids.extend(pid);
        }
        pids.sort_unstable();
        // Without processes of their own, nodes may have written the pid of the one process they share.
        pids.dedup();
        pids.into_iter().map(process_seconds).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            // A cluster that has ended already needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`; they are counted after the name, which may itself hold spaces.
fn process_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or("");
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
