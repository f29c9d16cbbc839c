//! Usage notifications for Ceilometer over AMQP, as Swift's proxies send them with ceilometermiddleware.
//!
//! The step `ceilometer` says what a request used; `event` puts that into CADF's form, `worker` takes it from a bounded
//! queue to the message broker, with which `broker` speaks. `url` reads oslo.messaging's addresses of brokers.
//!
//! Nothing waits for the broker: while it is away the queue fills, and what does not fit is dropped and counted.
//!
//! AMQP is spoken by `amqprs`: tokio only, TLS through our own rustls configuration, five small crates. `lapin`, which is
//! used more, brings 37 with TLS (PKCS#12 with its old ciphers among them), 16 without, and no TLS with `ring` but
//! those.

mod broker;
mod config;
pub mod event;
mod url;
mod worker;

pub use config::{CeilometerConfig, Driver};
pub use url::TransportUrl;

use config::Settings;
use event::Usage;
use martlet_service::Tasks;
use std::sync::Mutex;
use std::sync::PoisonError;
use tokio::sync::{mpsc, watch};

/// One for a process, when notifications are on.
pub struct Notifier {
    config: CeilometerConfig,
    queue: mpsc::Sender<Usage>,
    /// Becomes true when nothing more will come.
    closing: watch::Sender<bool>,
    /// What the worker begins with, until it begins.
    rest: Mutex<Option<(Settings, mpsc::Receiver<Usage>)>>,
}

impl Notifier {
    /// # Errors
    /// A sentence for the operator when the settings cannot work.
    pub fn new(config: &CeilometerConfig) -> Result<Self, String> {
        let settings = Settings::new(config)?;
        let (queue, waiting) = mpsc::channel(config.send_queue_size);
        Ok(Notifier {
            config: config.clone(),
            queue,
            closing: watch::Sender::new(false),
            rest: Mutex::new(Some((settings, waiting))),
        })
    }

    /// Begins to send, once. Within a runtime.
    pub fn start(&self, tasks: &Tasks) {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((settings, waiting)) = rest {
            let worker = worker::run(settings, waiting, self.closing.subscribe());
            tasks.spawn("ceilometer notifications", worker);
        }
    }

    /// Nothing more will come: what waits is sent if the broker takes it at once, and the worker ends.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    pub fn config(&self) -> &CeilometerConfig {
        &self.config
    }

    /// Puts a notification into the queue. One that finds it full is dropped.
    pub fn send(&self, usage: Usage) {
        if self.queue.try_send(usage).is_err() {
            let reason = match self.queue.is_closed() {
                true => Dropped::AtTheEnd,
                false => Dropped::QueueFull,
            };
            reason.count(1);
        }
    }
}

/// Why notifications were lost.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    QueueFull,
    Refused,
    AtTheEnd,
}

impl Dropped {
    fn count(self, notifications: usize) {
        let reason = match self {
            Dropped::QueueFull => "queue full",
            Dropped::Refused => "refused",
            Dropped::AtTheEnd => "shutdown",
        };
        metrics::counter!("martlet_ceilometer_dropped_total", "reason" => reason)
            .increment(notifications as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn notifier(url: &str, send_queue_size: usize) -> Notifier {
        let config = serde_json::json!({"url": url, "send_queue_size": send_queue_size});
        Notifier::new(&serde_json::from_value(config).unwrap()).unwrap()
    }

    fn usage() -> Usage {
        Usage {
            path: "v1/AUTH_test".into(),
            ..Usage::default()
        }
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_does_not_wait() {
        let notifier = notifier("rabbit://127.0.0.1:1/", 3);
        for _ in 0..10 {
            notifier.send(usage());
        }
        assert_eq!(notifier.queue.capacity(), 0);
    }

    /// Nobody is at the other end, or somebody who never answers.
    #[tokio::test]
    async fn without_a_broker_the_worker_ends_all_the_same() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        for port in [1, silent.local_addr().unwrap().port()] {
            let notifier = notifier(&format!("rabbit://127.0.0.1:{port}/"), 1_000);
            let tasks = Tasks::new();
            notifier.start(&tasks);
            for _ in 0..500 {
                notifier.send(usage());
            }
            notifier.close();
            tasks.join_all(Duration::from_secs(60)).await;
            assert!(notifier.queue.is_closed());
        }
    }
}
