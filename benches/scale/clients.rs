//! Clients that read at a steady rate, and note how long each read took.

use crate::finding::quantile;
use crate::loading::{BODY, path};
use crate::support::http::Swift;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Clients, and the time between two requests of one: 100 requests a second together.
const CLIENTS: usize = 5;
const PACE: Duration = Duration::from_millis(50);

/// Clients at work.
pub struct Readers {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<f64>>>,
}

/// What they saw.
pub struct Seen {
    /// Milliseconds, one a read.
    pub latencies_ms: Vec<f64>,
    pub failed: usize,
}

impl Readers {
    /// Reads objects of a container here and there.
    pub fn start(user: &Swift, container: &'static str, objects: usize) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicUsize::new(0));
        let clients = (0..CLIENTS).map(|client| {
            let (stop, failed, user) = (stop.clone(), failed.clone(), user.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut at = client * 7919;
                let mut clock = tokio::time::interval(PACE);
                while !stop.load(Ordering::Relaxed) {
                    clock.tick().await;
                    at = (at * 31 + 17) % objects;
                    let begun = Instant::now();
                    let answer = user.try_call("GET", &path(container, at), &[], "").await;
                    latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
                    if !answer.is_some_and(|answer| answer.status == 200 && answer.body == BODY) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                latencies
            })
        });
        let clients = clients.collect();
        Readers {
            stop,
            failed,
            clients,
        }
    }

    pub async fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut latencies_ms = Vec::new();
        for client in self.clients {
            latencies_ms.extend(client.await.expect("a client ends"));
        }
        Seen {
            latencies_ms,
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Seen {
    pub fn p99(&mut self) -> f64 {
        quantile(&mut self.latencies_ms, 0.99)
    }
}

/// The sample user of a dev cluster.
pub async fn login(address: &str) -> Swift {
    Swift::login(address, "test:tester", "testing").await
}
