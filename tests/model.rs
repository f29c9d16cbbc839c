//! A reference model: random requests of several clients against a simple map, while nodes are killed, paused and wiped in
//! a run chosen by a seed. No answer may contradict the model at any time; after healing every copy equals it. Runs of odd
//! seeds keep versions: what was acknowledged as one is read by its id, whatever became of the object.
//!
//! `make soak` runs seed after seed; `MARTLET_MODEL_SEED=N cargo test --release --test model` repeats one. Seeds that failed
//! once are kept in `tests/model-seeds.txt` and run each time.

mod support;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::copies::Placement;
use support::http::{Answer, Swift};
use support::{Cluster, NODES, wait_for};
use tokio::sync::watch;

const CLIENTS: usize = 4;
/// Keys of one client. Each key has one client, so that its history is a line.
const KEYS: usize = 10;
/// Faults of one run, one after another: an acknowledged write survives any one of them.
const FAULTS: usize = 6;
/// Requests that must have been answered while a fault lasts, and after it.
const REQUESTS_BETWEEN: usize = 40;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    body: Vec<u8>,
    /// The value of its one item of metadata.
    mark: String,
}

/// What a key may hold: the last acknowledged state, or that of a request since whose outcome is not known.
#[derive(Clone, Debug, Default)]
struct Key {
    acknowledged: Option<Object>,
    attempts: Vec<Option<Object>>,
}

impl Key {
    fn allows(&self, found: &Option<Object>) -> bool {
        self.acknowledged == *found || self.attempts.contains(found)
    }

    fn is_certain(&self) -> bool {
        self.attempts.is_empty()
    }

    fn settle(&mut self, state: Option<Object>) {
        *self = Key {
            acknowledged: state,
            attempts: Vec::new(),
        };
    }
}

/// A version that was acknowledged and not deleted since.
#[derive(Clone, Debug)]
struct Version {
    body: Vec<u8>,
    /// `None`: a POST may have changed it.
    mark: Option<String>,
}

/// The versions of a key by their ids.
#[derive(Clone, Debug, Default)]
struct Versions {
    kept: BTreeMap<String, Version>,
    /// The one that the key's acknowledged state is.
    current: Option<String>,
}

impl Versions {
    fn made(&mut self, answer: &Answer, state: &Object) {
        let id = answer.header("x-object-version-id").to_owned();
        let version = Version {
            body: state.body.clone(),
            mark: Some(state.mark.clone()),
        };
        self.kept.insert(id.clone(), version);
        self.current = Some(id);
    }
}

struct Client {
    user: Swift,
    number: usize,
    seed: u64,
    random: StdRng,
    keys: Vec<Key>,
    versions: Vec<Versions>,
    keeps_versions: bool,
    answered: Arc<watch::Sender<usize>>,
    requests: u64,
}

impl Client {
    fn name(&self, key: usize) -> String {
        format!("c{}-{key:02}", self.number)
    }

    fn path(&self, key: usize) -> String {
        format!("/model/{}", self.name(key))
    }

    async fn step(&mut self) {
        let key = self.random.random_range(0..KEYS);
        self.requests += 1;
        if self.keeps_versions && self.random.random_bool(0.25) {
            return match self.random.random_range(0..4) {
                0 => self.delete_version(key).await,
                1 => self.restore(key).await,
                _ => self.read_version(key).await,
            };
        }
        match self.random.random_range(0..100) {
            0..35 => self.put(key).await,
            35..50 => self.delete(key).await,
            50..60 => self.post(key).await,
            60..70 => self.copy(key).await,
            70..85 => self.read(key).await,
            85..93 => self.read_range(key).await,
            _ => self.list().await,
        }
    }

    /// Sends a write; its answer when it was one of these.
    async fn write(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        done: &[u16],
    ) -> Option<Answer> {
        let answer = self.user.try_call(method, path, headers, body).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let is_done = done.contains(&status);
        assert!(
            is_done || status == 0 || status == 503 || status == 499,
            "seed {}: {method} {path} answered {status}",
            self.seed
        );
        if is_done {
            self.answered.send_modify(|count| *count += 1);
        }
        answer.filter(|_| is_done)
    }

    async fn put(&mut self, key: usize) {
        // Bodies on both sides of the inline limit.
        let length = match self.random.random_bool(0.15) {
            true => 150_000,
            false => self.random.random_range(0..3_000),
        };
        let mut body = vec![0; length];
        self.random.fill_bytes(&mut body);
        let state = Object {
            body: body.clone(),
            mark: format!("put {}", self.requests),
        };
        self.keys[key].attempts.push(Some(state.clone()));
        let headers = [("x-object-meta-mark", state.mark.as_str())];
        let path = self.path(key);
        if let Some(answer) = self.write("PUT", &path, &headers, body, &[201]).await {
            self.stored(key, &answer, state);
        }
    }

    fn stored(&mut self, key: usize, answer: &Answer, state: Object) {
        if self.keeps_versions {
            self.versions[key].made(answer, &state);
        }
        self.keys[key].settle(Some(state));
    }

    async fn delete(&mut self, key: usize) {
        self.keys[key].attempts.push(None);
        let path = self.path(key);
        let answer = self.write("DELETE", &path, &[], Vec::new(), &[204, 404]);
        if answer.await.is_some() {
            self.keys[key].settle(None);
            self.versions[key].current = None;
        }
    }

    async fn post(&mut self, key: usize) {
        if !self.keys[key].is_certain() {
            return;
        }
        let Some(mut state) = self.keys[key].acknowledged.clone() else {
            return;
        };
        state.mark = format!("post {}", self.requests);
        self.keys[key].attempts.push(Some(state.clone()));
        let headers = [("x-object-meta-mark", state.mark.as_str())];
        let path = self.path(key);
        let answer = self.write("POST", &path, &headers, Vec::new(), &[202]).await;
        let versions = &mut self.versions[key];
        let current = versions.current.as_ref().and_then(|id| versions.kept.get_mut(id));
        if let Some(version) = current {
            version.mark = answer.is_some().then(|| state.mark.clone());
        }
        if answer.is_some() {
            self.keys[key].settle(Some(state));
        }
    }

    fn some_version(&mut self, key: usize) -> Option<(String, Version)> {
        let kept = &self.versions[key].kept;
        if kept.is_empty() {
            return None;
        }
        let at = self.random.random_range(0..kept.len());
        let (id, version) = kept.iter().nth(at)?;
        Some((id.clone(), version.clone()))
    }

    fn version_path(&self, key: usize, id: &str) -> String {
        format!("{}?version-id={id}", self.path(key))
    }

    async fn delete_version(&mut self, key: usize) {
        let Some((id, _)) = self.some_version(key).filter(|_| self.keys[key].is_certain()) else {
            return;
        };
        let is_current = self.versions[key].current.as_ref() == Some(&id);
        // Whether it is still there is not known until this is answered.
        self.versions[key].kept.remove(&id);
        if is_current {
            self.keys[key].attempts.push(None);
        }
        let path = self.version_path(key, &id);
        let answer = self.write("DELETE", &path, &[], Vec::new(), &[204]).await;
        if is_current && answer.is_some() {
            self.keys[key].settle(None);
            self.versions[key].current = None;
        }
    }

    /// Makes a version current again.
    async fn restore(&mut self, key: usize) {
        let Some((id, version)) = self.some_version(key).filter(|_| self.keys[key].is_certain()) else {
            return;
        };
        let Some(mark) = version.mark else {
            return;
        };
        let state = Object {
            body: version.body,
            mark,
        };
        self.keys[key].attempts.push(Some(state.clone()));
        let path = self.version_path(key, &id);
        if self.write("PUT", &path, &[], Vec::new(), &[201]).await.is_some() {
            self.keys[key].settle(Some(state));
            self.versions[key].current = Some(id);
        }
    }

    async fn read_version(&mut self, key: usize) {
        let Some((id, version)) = self.some_version(key) else {
            return;
        };
        let path = self.version_path(key, &id);
        let Some(answer) = self.ask(&path, &[]).await else {
            return;
        };
        self.answered.send_modify(|count| *count += 1);
        self.check_version(&path, &version, &answer);
    }

    fn check_version(&self, path: &str, version: &Version, answer: &Answer) {
        let mark = answer.header("x-object-meta-mark");
        assert!(
            answer.status == 200
                && answer.body == version.body
                && version.mark.as_ref().is_none_or(|known| known == mark),
            "seed {}: {path} answered {} with {} bytes and {mark:?}, acknowledged {} and {:?} ({})",
            self.seed,
            answer.status,
            answer.body.len(),
            version.body.len(),
            version.mark,
            answer.header("x-trans-id"),
        );
    }

    async fn copy(&mut self, to: usize) {
        let from = self.random.random_range(0..KEYS);
        if from == to || !self.keys[from].is_certain() {
            return;
        }
        let Some(state) = self.keys[from].acknowledged.clone() else {
            return;
        };
        self.keys[to].attempts.push(Some(state.clone()));
        let destination = format!("model/{}", self.name(to));
        let headers = [("destination", destination.as_str())];
        let path = self.path(from);
        if let Some(answer) = self.write("COPY", &path, &headers, Vec::new(), &[201]).await {
            self.stored(to, &answer, state);
        }
    }

    /// An answer that says something: a read that fails for want of devices says nothing.
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
        let answer = self.user.try_call("GET", path, headers, "").await?;
        (answer.status != 503).then_some(answer)
    }

    async fn read(&self, key: usize) {
        let Some(answer) = self.ask(&self.path(key), &[]).await else {
            return;
        };
        self.answered.send_modify(|count| *count += 1);
        self.check(key, &answer);
    }

    fn check(&self, key: usize, answer: &Answer) {
        let found = match answer.status {
            200 => Some(Object {
                body: answer.body.to_vec(),
                mark: answer.header("x-object-meta-mark").to_owned(),
            }),
            404 => None,
            status => panic!("seed {}: GET {} answered {status}", self.seed, self.path(key)),
        };
        let shown = |state: &Option<Object>| {
            state
                .as_ref()
                .map(|object| (object.body.len(), object.mark.clone()))
        };
        assert!(
            self.keys[key].allows(&found),
            "seed {}: {} is {:?}, acknowledged {:?}, unknown {:?} ({})",
            self.seed,
            self.path(key),
            shown(&found),
            shown(&self.keys[key].acknowledged),
            self.keys[key].attempts.iter().map(shown).collect::<Vec<_>>(),
            answer.header("x-trans-id"),
        );
    }

    async fn read_range(&mut self, key: usize) {
        if !self.keys[key].is_certain() {
            return;
        }
        let Some(state) = self.keys[key]
            .acknowledged
            .clone()
            .filter(|state| !state.body.is_empty())
        else {
            return;
        };
        let first = self.random.random_range(0..state.body.len());
        let last = self.random.random_range(first..state.body.len());
        let range = format!("bytes={first}-{last}");
        let Some(answer) = self.ask(&self.path(key), &[("range", &range)]).await else {
            return;
        };
        assert_eq!(
            answer.status,
            206,
            "seed {}: {} {range}",
            self.seed,
            self.path(key)
        );
        assert!(
            answer.body[..] == state.body[first..=last],
            "seed {}: wrong bytes of {} {range}",
            self.seed,
            self.path(key)
        );
        self.answered.send_modify(|count| *count += 1);
    }

    /// While nodes are away a listing may lag, but it is in order, within its bounds, and invents nothing.
    async fn list(&mut self) {
        let limit = self.random.random_range(1..=KEYS);
        let prefix = format!("c{}-", self.number);
        let marker = self.random.random_range(0..KEYS);
        let marker = self.name(marker);
        let path = format!("/model?prefix={prefix}&marker={marker}&limit={limit}");
        let Some(answer) = self.ask(&path, &[]).await else {
            return;
        };
        let text = answer.text();
        let names: Vec<&str> = text.lines().collect();
        let known: BTreeSet<String> = (0..KEYS).map(|key| self.name(key)).collect();
        assert!(
            names.len() <= limit
                && names.is_sorted()
                && names
                    .iter()
                    .all(|name| *name > marker.as_str() && known.contains(*name)),
            "seed {}: {path} lists {names:?}",
            self.seed
        );
        self.answered.send_modify(|count| *count += 1);
    }
}

/// What is done to a node.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Pause,
    /// It comes back with an empty disk.
    Wipe,
}

async fn progress(answered: &watch::Sender<usize>) {
    let goal = *answered.borrow() + REQUESTS_BETWEEN;
    let mut seen = answered.subscribe();
    tokio::time::timeout(support::PATIENCE, seen.wait_for(|count| *count >= goal))
        .await
        .expect("requests go on being answered")
        .expect("the sender is ours");
}

/// Rounds until every device has everything. Rows may still be owed while clients write.
fn heal(cluster: &Cluster) {
    wait_for("the cluster to heal", || {
        let reports = cluster.reports();
        reports.len() == NODES
            && reports
                .iter()
                .all(|report| report["replication"]["complete"] == true)
    });
}

/// Rounds until nothing is owed or left to do anywhere.
fn settle(cluster: &Cluster) {
    wait_for("the cluster to settle", || {
        let reports = cluster.reports();
        reports.len() == NODES && reports.iter().all(|report| report["complete"] == true)
    });
}

async fn run(seed: u64) {
    let cluster = Cluster::start_processes();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    let keeps_versions = seed % 2 == 1;
    let versions = [("x-versions-enabled", if keeps_versions { "true" } else { "" })];
    assert_eq!(user.call("PUT", "/model", &versions, "").await.status, 201);
    heal(&cluster);
    let answered = Arc::new(watch::Sender::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client {
                user: user.clone(),
                number,
                seed,
                random: StdRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
                keys: vec![Key::default(); KEYS],
                versions: vec![Versions::default(); KEYS],
                keeps_versions,
                answered: answered.clone(),
                requests: 0,
            };
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    client.step().await;
                }
                client
            })
        })
        .collect();

    let mut random = StdRng::seed_from_u64(seed);
    let mut back = Vec::new();
    for _ in 0..FAULTS {
        let number = random.random_range(1..=NODES);
        let fault = [Fault::Kill, Fault::Pause, Fault::Wipe][random.random_range(0..3)];
        progress(&answered).await;
        // One fault at a time: what the last one cost is made good before.
        heal(&cluster);
        match fault {
            Fault::Kill | Fault::Wipe => {
                cluster.kill_node(number);
                progress(&answered).await;
                if matches!(fault, Fault::Wipe) {
                    cluster.replace_disk(number);
                }
                back.push(cluster.restart_node(number));
            }
            Fault::Pause => {
                cluster.pause_node(number);
                progress(&answered).await;
                cluster.resume_node(number);
            }
        }
    }
    progress(&answered).await;
    stop.store(true, Ordering::SeqCst);
    let mut done = Vec::new();
    for client in clients {
        done.push(
            client
                .await
                .unwrap_or_else(|error| panic!("seed {seed}: {error}")),
        );
    }
    settle(&cluster);
    assert_all_equals_the_model(&cluster, &user, seed, &done).await;
}

async fn assert_all_equals_the_model(cluster: &Cluster, user: &Swift, seed: u64, clients: &[Client]) {
    let placement = Placement::of(cluster);
    let listing = user.call("GET", "/model", &[], "").await.text();
    let listed: BTreeSet<&str> = listing.lines().collect();
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    for client in clients {
        for key in 0..KEYS {
            let name = client.name(key);
            let answer = user.call("GET", &client.path(key), &[], "").await;
            client.check(key, &answer);
            let copies = placement.copies("AUTH_test", "model", &name).await;
            assert!(
                copies.windows(2).all(|pair| pair[0] == pair[1]),
                "seed {seed}: copies of {name} differ: {:?}",
                copies
                    .iter()
                    .map(|copy| (copy.status, &copy.timestamp, copy.body.len()))
                    .collect::<Vec<_>>()
            );
            assert_eq!(
                copies[0].body,
                if answer.status == 200 {
                    answer.body.clone()
                } else {
                    bytes::Bytes::new()
                }
            );
            found.insert(name, answer.status == 200);
            for (id, version) in &client.versions[key].kept {
                let path = client.version_path(key, id);
                let answer = user.call("GET", &path, &[], "").await;
                client.check_version(&path, version, &answer);
            }
        }
    }
    for (name, is_there) in found {
        assert_eq!(
            listed.contains(name.as_str()),
            is_there,
            "seed {seed}: {name} in {listing}"
        );
    }
}

fn kept_seeds() -> Vec<u64> {
    let text = include_str!("model-seeds.txt").lines();
    let numbers = text.filter_map(|line| line.split('#').next()?.trim().parse().ok());
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_contradicts_the_model() {
    if let Some(seed) = std::env::var("MARTLET_MODEL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return run(seed).await;
    }
    let soak = std::env::var("MARTLET_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(soak.unwrap_or(0));
    for seed in kept_seeds() {
        run(seed).await;
    }
    loop {
        let seed: u64 = rand::rng().random::<u32>().into();
        for seed in [seed, seed ^ 1] {
            println!("seed {seed}");
            run(seed).await;
        }
        if Instant::now() >= until {
            return;
        }
    }
}

/// The alarm is tested too: an answer that contradicts the model is found.
#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "acknowledged None")]
async fn a_write_behind_the_models_back_is_found() {
    let cluster = Cluster::start();
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/model", &[], "").await.status, 201);
    let client = Client {
        user,
        number: 0,
        seed: 0,
        random: StdRng::seed_from_u64(0),
        keys: vec![Key::default(); KEYS],
        versions: vec![Versions::default(); KEYS],
        keeps_versions: false,
        answered: Arc::new(watch::Sender::new(0)),
        requests: 0,
    };
    client.read(0).await;
    let planted = client.user.call("PUT", &client.path(0), &[], "planted").await;
    assert_eq!(planted.status, 201);
    client.read(0).await;
}
