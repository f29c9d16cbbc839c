//! Processes are killed under load: no acknowledged write is lost, no deleted object returns, reads never fail, and one
//! round of replication makes all copies equal.

mod support;

use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::copies::Placement;
use support::http::Swift;
use support::{Cluster, NODES};
use tokio::sync::watch;

/// Keys of one writer. Each key has one writer, so that its history is a line.
const KEYS: usize = 12;
const WRITERS: usize = 6;
/// How often a process is killed and put back while writers write.
const KILLS: usize = 8;
/// Writes that must have been acknowledged between a kill and the restart, and again before the next kill.
const WRITES_BETWEEN: usize = 60;

/// What a key may hold: the last acknowledged state, or that of an attempt since whose outcome is not known.
#[derive(Clone, Debug, Default)]
struct Key {
    acknowledged: Option<Vec<u8>>,
    attempts: Vec<Option<Vec<u8>>>,
}

impl Key {
    fn allows(&self, found: &Option<Vec<u8>>) -> bool {
        self.acknowledged == *found || self.attempts.contains(found)
    }
}

/// One writer's keys and what it knows of them.
struct Writer {
    user: Swift,
    number: usize,
    keys: Vec<Key>,
    acknowledged: Arc<watch::Sender<usize>>,
}

impl Writer {
    fn path(&self, key: usize) -> String {
        format!("/load/{}", name(self.number, key))
    }

    /// Writes, overwrites or deletes a random key, then reads a random one.
    async fn step(&mut self) {
        let (key, delete, length) = {
            let mut random = rand::rng();
            // Bodies on both sides of the inline limit.
            let length = if random.random_bool(0.2) {
                150_000
            } else {
                random.random_range(1..5_000)
            };
            (random.random_range(0..KEYS), random.random_bool(0.25), length)
        };
        let wanted = (!delete).then(|| {
            let mut body = vec![0; length];
            rand::RngCore::fill_bytes(&mut rand::rng(), &mut body);
            body
        });
        self.keys[key].attempts.push(wanted.clone());
        let answer = match &wanted {
            Some(body) => {
                self.user
                    .try_call("PUT", &self.path(key), &[], body.clone())
                    .await
            }
            None => self.user.try_call("DELETE", &self.path(key), &[], "").await,
        };
        let status = answer.map_or(0, |answer| answer.status);
        let done = if wanted.is_some() {
            status == 201
        } else {
            status == 204 || status == 404
        };
        if done {
            self.keys[key] = Key {
                acknowledged: wanted,
                attempts: Vec::new(),
            };
            self.acknowledged.send_modify(|count| *count += 1);
        }
        let read = rand::rng().random_range(0..KEYS);
        self.check(read).await;
    }

    async fn check(&self, key: usize) {
        let answer = self.user.call("GET", &self.path(key), &[], "").await;
        let found = match answer.status {
            200 => Some(answer.body.to_vec()),
            404 => None,
            status => panic!(
                "a read of {} failed with {status}: {}",
                self.path(key),
                answer.text()
            ),
        };
        let shown = |body: &Option<Vec<u8>>| body.as_ref().map(|body| (body.len(), body[0]));
        assert!(
            self.keys[key].allows(&found),
            "{}: read {:?}, acknowledged {:?}, unknown {:?} ({})",
            self.path(key),
            shown(&found),
            shown(&self.keys[key].acknowledged),
            self.keys[key].attempts.iter().map(shown).collect::<Vec<_>>(),
            answer.header("x-trans-id"),
        );
    }
}

fn name(writer: usize, key: usize) -> String {
    format!("w{writer}-{key}")
}

async fn writers(cluster: &Cluster, acknowledged: &Arc<watch::Sender<usize>>) -> Vec<Writer> {
    let user = Swift::login(cluster.address(), "test:tester", "testing").await;
    assert_eq!(user.call("PUT", "/load", &[], "").await.status / 100, 2);
    let writer = |number| Writer {
        user: user.clone(),
        number,
        keys: vec![Key::default(); KEYS],
        acknowledged: acknowledged.clone(),
    };
    (0..WRITERS).map(writer).collect()
}

/// Waits until so many more writes were acknowledged.
async fn progress(acknowledged: &watch::Sender<usize>, writes: usize) {
    let goal = *acknowledged.borrow() + writes;
    let mut seen = acknowledged.subscribe();
    tokio::time::timeout(support::PATIENCE, seen.wait_for(|count| *count >= goal))
        .await
        .expect("writes go on being acknowledged")
        .expect("the sender is ours");
}

/// Every primary holds the same of every key, and it is what the writers know.
async fn assert_copies_agree(cluster: &Cluster, writers: &[Writer]) {
    let placement = Placement::of(cluster);
    for writer in writers {
        for (at, key) in writer.keys.iter().enumerate() {
            let copies = placement
                .copies("AUTH_test", "load", &name(writer.number, at))
                .await;
            assert!(
                copies.windows(2).all(|pair| pair[0] == pair[1]),
                "copies of {} differ: {:?}",
                name(writer.number, at),
                copies
                    .iter()
                    .map(|copy| (copy.status, &copy.timestamp, copy.body.len()))
                    .collect::<Vec<_>>(),
            );
            let found = (copies[0].status == 200).then(|| copies[0].body.to_vec());
            assert!(
                key.allows(&found),
                "{}: all copies agree on something else",
                name(writer.number, at)
            );
        }
    }
}

/// The listing shows what is there and nothing else.
async fn assert_listing_agrees(user: &Swift, writers: &[Writer]) {
    let listing = user.call("GET", "/load", &[], "").await.text();
    let listed: std::collections::BTreeSet<&str> = listing.lines().collect();
    for writer in writers {
        for (at, key) in writer
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.attempts.is_empty())
        {
            let name = name(writer.number, at);
            assert_eq!(
                listed.contains(name.as_str()),
                key.acknowledged.is_some(),
                "{name} in the listing"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_processes_are_killed_again_and_again() {
    let cluster = Cluster::start_processes();
    let acknowledged = Arc::new(watch::Sender::new(0));
    let writers = writers(&cluster, &acknowledged).await;
    let user = writers[0].user.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let running: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    writer.step().await;
                }
                writer
            })
        })
        .collect();

    let mut replacements = Vec::new();
    for kill in 0..KILLS {
        let number = kill % NODES + 1;
        progress(&acknowledged, WRITES_BETWEEN).await;
        cluster.kill_node(number);
        progress(&acknowledged, WRITES_BETWEEN).await;
        replacements.push(cluster.restart_node(number));
    }
    progress(&acknowledged, WRITES_BETWEEN).await;
    stop.store(true, Ordering::SeqCst);
    let mut writers = Vec::new();
    for task in running {
        writers.push(task.await.expect("no writer saw a wrong answer"));
    }

    cluster.pass();
    assert_copies_agree(&cluster, &writers).await;
    assert_listing_agrees(&user, &writers).await;
    for writer in &writers {
        for key in 0..KEYS {
            writer.check(key).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_at_once() {
    let mut cluster = Cluster::start_processes();
    let acknowledged = Arc::new(watch::Sender::new(0));
    let mut writers = writers(&cluster, &acknowledged).await;
    for round in 0..3 {
        let running: Vec<_> = writers
            .into_iter()
            .map(|mut writer| {
                tokio::spawn(async move {
                    // Ends at the first write that fails: the cluster has been killed.
                    loop {
                        let key = rand::rng().random_range(0..KEYS);
                        let body = format!("{round}-{}", rand::rng().random::<u64>()).into_bytes();
                        let delete = rand::rng().random_bool(0.25);
                        let wanted = (!delete).then_some(body);
                        writer.keys[key].attempts.push(wanted.clone());
                        let (method, body) = if delete {
                            ("DELETE", vec![])
                        } else {
                            ("PUT", wanted.clone().unwrap())
                        };
                        let answer = writer.user.try_call(method, &writer.path(key), &[], body).await;
                        match answer.map(|answer| answer.status) {
                            Some(201 | 204 | 404) => {
                                writer.keys[key] = Key {
                                    acknowledged: wanted,
                                    attempts: Vec::new(),
                                };
                                writer.acknowledged.send_modify(|count| *count += 1);
                            }
                            _ => return writer,
                        }
                    }
                })
            })
            .collect();
        progress(&acknowledged, 300).await;
        cluster.kill_everything();
        writers = Vec::new();
        for task in running {
            writers.push(task.await.expect("no writer failed"));
        }
        cluster.start_again();
        let user = Swift::login(cluster.address(), "test:tester", "testing").await;
        for writer in &mut writers {
            writer.user = user.clone();
        }
        for writer in &writers {
            for key in 0..KEYS {
                writer.check(key).await;
            }
        }
    }
    cluster.pass();
    assert_copies_agree(&cluster, &writers).await;
    assert_listing_agrees(&writers[0].user, &writers).await;
}
