//! Four hosts, each with an address, a storage node and a proxy of its own: cut in two, written on both sides, joined.

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::network::{Network, address};
use support::wait_for;

const HOSTS: usize = 4;
const CONTAINERS: usize = 2;
const OBJECTS: usize = 3;

/// A host of the cluster, as an operator set it up.
struct Host {
    number: usize,
    config: PathBuf,
    /// Ends with its standard input, that is, with the test.
    node: Child,
    token: String,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// Status and body.
type Said = (u16, String);

impl Host {
    fn start(network: &Network, folder: &Path, number: usize) -> Host {
        let at = folder.join(format!("host{number}"));
        std::fs::create_dir_all(at.join("disk")).unwrap();
        let ip = address(number);
        let config = at.join("node.toml");
        let text = format!(
            "[cluster]\nname = 'hosts'\nhash_path_suffix = 'salt'\nrings = '../rings'\nkey_file = '../cluster.key'\n\
             policies = [{{ index = 0, name = 'gold', default = true }}]\n\
             [log]\nfile = 'node.log'\n\
             [storage]\nbind = '{ip}:6200'\nreplication_bind = '{ip}:6300'\n\
             devices = [{{ name = 'd{number}', path = 'disk' }}]\n\
             [storage.workers]\nreplicate_interval_ms = 1000\n\
             [proxy]\nbind = '{ip}:8080'\n\
             [proxy.pipeline.tempauth.users]\n'test:tester' = {{ key = 'testing', groups = ['.admin'] }}\n"
        );
        std::fs::write(&config, text).unwrap();
        run(Command::new(env!("CARGO_BIN_EXE_martlet"))
            .args(["format", "--config"])
            .arg(&config));
        let node = network
            .within(Some(number), env!("CARGO_BIN_EXE_martlet"))
            .args(["node", "--exit-with-stdin", "--config"])
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Host {
            number,
            config,
            node,
            token: String::new(),
        }
    }

    fn curl(&self, network: &Network, url: &str, arguments: &[&str]) -> Said {
        let output = network
            .within(Some(self.number), "curl")
            .args(["-s", "-m", "50", "-w", "\n%{http_code}"])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    fn login(&mut self, network: &Network) {
        let url = format!("http://{}:8080/auth/v1.0", address(self.number));
        let user = [
            "-H",
            "x-auth-user: test:tester",
            "-H",
            "x-auth-key: testing",
            "-i",
        ];
        let mut token = None;
        wait_for("the proxy to log somebody in", || {
            let said = self.curl(network, &url, &user).1.to_lowercase();
            let found = said.lines().find_map(|line| line.strip_prefix("x-auth-token: "));
            token = found.map(|found| format!("x-auth-token: {}", found.trim()));
            token.is_some()
        });
        // Tokens are told apart by case.
        let said = self.curl(network, &url, &user).1;
        let found = said
            .lines()
            .find_map(|line| {
                Some(line.split_once(": ")?).filter(|(name, _)| name.eq_ignore_ascii_case("x-auth-token"))
            })
            .expect("there was one");
        self.token = format!("x-auth-token: {}", found.1.trim());
    }

    /// A request of the user to this host's own proxy.
    fn ask(&self, network: &Network, method: &str, path: &str, body: Option<&str>) -> Said {
        let url = format!("http://{}:8080/v1/AUTH_test{path}", address(self.number));
        let mut arguments = vec!["-X", method, "-H", &self.token];
        if let Some(body) = body {
            arguments.extend([
                "--data-binary",
                body,
                "-H",
                "content-type: text/plain",
                "-H",
                "expect:",
            ]);
        }
        self.curl(network, &url, &arguments)
    }

    /// An operator's command on this host.
    fn martlet(&self, network: &Network, arguments: &[&str]) -> (bool, String) {
        let output = network
            .within(Some(self.number), env!("CARGO_BIN_EXE_martlet"))
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            said + &String::from_utf8_lossy(&output.stderr),
        )
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Rings of three replicas that name each host's two addresses.
fn write_rings(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let ring = |words: &str| {
        run(Command::new(env!("CARGO_BIN_EXE_martlet"))
            .arg("ring")
            .args(words.split(' '))
            .current_dir(folder))
    };
    for name in ["account", "container", "object"] {
        ring(&format!("{name}.builder create 8 3 0"));
        for number in 1..=HOSTS {
            let ip = address(number);
            ring(&format!(
                "{name}.builder add r1z{number}-{ip}:6200R{ip}:6300/d{number} 100"
            ));
        }
        ring(&format!("{name}.builder rebalance --seed 7"));
    }
}

/// What every object must be at the end: the newest write that was acknowledged, `None` for a deletion.
type Known = BTreeMap<String, Option<String>>;

/// Writes through one host; how many writes were acknowledged. What was not may or may not have been done, so that name
/// is not used again and nothing is expected of it.
fn write(network: &Network, host: &Host, word: &str, names: &[&str], known: &mut Known) -> usize {
    let mut acknowledged = 0;
    for container in 0..CONTAINERS {
        for name in names {
            for number in 0..OBJECTS {
                let path = format!("/c{container}/{name}{number}");
                // Some of what was there before goes.
                let is_deletion = *name == "before" && number == 0;
                let body = format!("{word} {path}");
                let said = match is_deletion {
                    true => host.ask(network, "DELETE", &path, None),
                    false => host.ask(network, "PUT", &path, Some(&body)),
                };
                match said.0 {
                    201 | 204 => {
                        acknowledged += 1;
                        known.insert(path, (!is_deletion).then_some(body));
                    }
                    // Too few of the container's devices are on this side; or the deletion was done on the other side.
                    503 | 404 | 0 => drop(known.remove(&path)),
                    status => panic!("{path}: {status} {}", said.1),
                }
            }
        }
    }
    acknowledged
}

/// All primaries hold the same newest change, and no handoff holds anything.
fn assert_copies_agree(network: &Network, host: &Host, path: &str, body: &Option<String>) {
    let (ended_well, said) = host.martlet(network, &["where", "--json", &format!("/v1/AUTH_test{path}")]);
    assert!(ended_well, "{said}");
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let copies = told["copies"].as_array().expect("a list");
    let primaries: Vec<&Value> = copies
        .iter()
        .filter(|copy| copy["role"].as_str().unwrap().starts_with("primary"))
        .collect();
    assert_eq!(primaries.len(), 3, "{said}");
    let expected = if body.is_some() { "data" } else { "tombstone" };
    for copy in &primaries {
        assert_eq!(copy["state"], expected, "{path}: {said}");
        assert_eq!(copy["timestamp"], primaries[0]["timestamp"], "{path}: {said}");
    }
}

#[test]
fn a_cluster_that_was_cut_in_two_keeps_what_it_acknowledged() {
    let Some(network) = Network::new(HOSTS) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_rings(&folder.path().join("rings"));
    std::fs::write(folder.path().join("cluster.key"), "k".repeat(64)).unwrap();
    let mut hosts: Vec<Host> = (1..=HOSTS)
        .map(|number| Host::start(&network, folder.path(), number))
        .collect();
    hosts.iter_mut().for_each(|host| host.login(&network));
    let hosts = hosts;
    let (left, right) = (&hosts[0], &hosts[2]);

    let mut known = Known::new();
    for container in 0..CONTAINERS {
        let path = format!("/c{container}");
        assert_eq!(left.ask(&network, "PUT", &path, None).0, 201);
        assert_eq!(right.ask(&network, "HEAD", &path, None).0, 204);
    }
    for container in 0..CONTAINERS {
        for number in 0..OBJECTS {
            let path = format!("/c{container}/before{number}");
            assert_eq!(left.ask(&network, "PUT", &path, Some("first")).0, 201, "{path}");
            known.insert(path, Some("first".into()));
        }
    }
    // Without the key nobody gets in from another host, at either address.
    for port in ["6200", "6300"] {
        let url = format!("http://{}:{port}/d1/0/AUTH_test/c0/before0", address(1));
        assert_eq!(right.curl(&network, &url, &[]).0, 401);
    }
    // Each listener does its own work.
    let said = left.martlet(&network, &["status"]);
    assert!(said.0, "{}", said.1);

    network.part(&[3, 4]);
    let url = format!("http://{}:8080/healthcheck", address(1));
    assert_eq!(
        right.curl(&network, &url, &["-m", "1"]).0,
        0,
        "the network is cut"
    );
    let on_left = write(&network, left, "left", &["before", "left", "both"], &mut known);
    let on_right = write(&network, right, "right", &["right", "both"], &mut known);
    let (most_left, most_right) = (CONTAINERS * OBJECTS * 3, CONTAINERS * OBJECTS * 2);
    println!("acknowledged: {on_left} of {most_left} on one side, {on_right} of {most_right} on the other");
    assert!(on_left > 0 && on_right > 0, "no side could write anything");

    network.join();
    for _ in 0..2 {
        for host in &hosts {
            let mut said = (false, String::new());
            wait_for("a complete round", || {
                said = host.martlet(&network, &["pass"]);
                said.0 && said.1.contains("\"complete\":true")
            });
        }
    }
    for (path, body) in &known {
        assert_copies_agree(&network, left, path, body);
    }
    for host in &hosts {
        for (path, body) in &known {
            let said = host.ask(&network, "GET", path, None);
            match body {
                Some(body) => assert_eq!(said, (200, body.clone()), "{path} at host {}", host.number),
                None => assert_eq!(said.0, 404, "{path} at host {}", host.number),
            }
        }
        for container in 0..CONTAINERS {
            let listing = host.ask(&network, "GET", &format!("/c{container}"), None).1;
            let listed: Vec<&str> = listing.lines().collect();
            let in_container = format!("/c{container}/");
            for (path, body) in &known {
                if let Some(name) = path.strip_prefix(&in_container) {
                    assert_eq!(
                        listed.contains(&name),
                        body.is_some(),
                        "{path} at host {}",
                        host.number
                    );
                }
            }
        }
    }
}
