//! Hosts of a network of their own: a network namespace each, with one address, behind two switches that can be joined and
//! parted. Nothing is named outside and nothing stays: namespaces end with the processes that hold them.
//!
//! Root makes them as it is; anybody else within a user namespace, where the system allows that.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that does nothing but hold namespaces; it ends when its standard input does, with the test at the latest.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Holder {
    fn start(mut command: Command) -> Option<Holder> {
        let child = command
            .arg("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut holder = Holder(child);
        let is_cat = |pid: u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "cat")
        };
        let mut has_ended = false;
        super::wait_for("namespaces to be there", || {
            has_ended = holder.0.try_wait().is_ok_and(|status| status.is_some());
            has_ended || is_cat(holder.0.id())
        });
        (!has_ended).then_some(holder)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

/// Hosts `10.77.0.1`, `10.77.0.2` and so on.
pub struct Network {
    switches: Holder,
    hosts: Vec<Holder>,
    is_root: bool,
}

impl Network {
    /// All hosts joined. `None`, said loudly: this machine does not let us.
    pub fn new(hosts: usize) -> Option<Network> {
        let is_root = rustix::process::geteuid().is_root();
        let mut unshare = Command::new("unshare");
        match is_root {
            true => unshare.arg("-n"),
            false => {
                eprintln!("NOT ROOT: the hosts of this test live in a user namespace");
                unshare.args(["-U", "-r", "-n"])
            }
        };
        let Some(switches) = Holder::start(unshare) else {
            eprintln!(
                "\n*** NOT RUN: no network namespaces here. Run this test as root, or allow user namespaces. ***\n"
            );
            return None;
        };
        let mut network = Network {
            switches,
            hosts: Vec::new(),
            is_root,
        };
        for switch in ["left", "right"] {
            network.ip(None, &format!("link add {switch} type bridge"));
            network.ip(None, &format!("link set {switch} up"));
        }
        for number in 1..=hosts {
            let mut within = network.within(None, "unshare");
            within.arg("-n");
            let host = Holder::start(within).expect("where there is one namespace there are more");
            let pid = host.pid();
            network.hosts.push(host);
            network.ip(
                None,
                &format!("link add port{number} type veth peer name eth0 netns {pid}"),
            );
            network.ip(None, &format!("link set port{number} master left up"));
            network.ip(Some(number), "link set lo up");
            network.ip(
                Some(number),
                &format!("address add {}/24 dev eth0", address(number)),
            );
            network.ip(Some(number), "link set eth0 up");
        }
        Some(network)
    }

    /// A command on a host (from 1), or where the switches are.
    pub fn within(&self, host: Option<usize>, program: impl AsRef<Path>) -> Command {
        let holder = match host {
            Some(number) => &self.hosts[number - 1],
            None => &self.switches,
        };
        let mut command = Command::new("nsenter");
        command.args(["-t", &holder.pid(), "-n"]);
        if !self.is_root {
            command.args(["-U", "--preserve-credentials"]);
        }
        command.arg(program.as_ref());
        command
    }

    fn ip(&self, host: Option<usize>, words: &str) {
        let output = self
            .within(host, "ip")
            .args(words.split(' '))
            .output()
            .expect("nsenter starts");
        assert!(
            output.status.success(),
            "ip {words}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// These hosts reach each other and nobody else.
    pub fn part(&self, hosts: &[usize]) {
        for number in hosts {
            self.ip(None, &format!("link set port{number} master right"));
        }
    }

    /// Everybody reaches everybody.
    pub fn join(&self) {
        for number in 1..=self.hosts.len() {
            self.ip(None, &format!("link set port{number} master left"));
        }
    }
}

pub fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}
