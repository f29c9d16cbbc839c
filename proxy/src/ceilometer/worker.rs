//! Takes notifications from the queue to the broker, and tries again for as long as it is away.

use super::Dropped;
use super::broker::Session;
use super::config::Settings;
use super::event::{self, Usage};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Messages that are on their way to the broker at once.
const BATCH: usize = 64;
/// Between two attempts to reach a broker: the first, how much longer each further one is, and the longest, as
/// oslo.messaging's.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGER: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For each attempt when the proxy ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Runs until `closing` says true or all senders are gone, and then as long as the broker takes what still waits.
pub async fn run(settings: Settings, mut queue: mpsc::Receiver<Usage>, mut closing: watch::Receiver<bool>) {
    let mut line = Line::new(settings);
    let mut batch = Vec::with_capacity(BATCH);
    while next(&mut queue, &mut closing, &mut batch).await {
        let settings = &line.settings;
        let messages = batch.drain(..);
        let mut messages: Vec<Vec<u8>> = messages
            .filter_map(|usage| event::message(&usage, &settings.prefix, settings.driver))
            .collect();
        if !line.deliver(&mut messages, &mut closing).await {
            queue.close();
            let mut lost = messages.len();
            while queue.try_recv().is_ok() {
                lost += 1;
            }
            Dropped::AtTheEnd.count(lost);
            tracing::warn!(
                lost,
                "the message broker is away, and notifications for Ceilometer are lost"
            );
            break;
        }
    }
    if let Some(session) = line.session.take() {
        session.close().await;
    }
}

/// Waits for notifications; `false` when there will be none any more.
async fn next(
    queue: &mut mpsc::Receiver<Usage>,
    closing: &mut watch::Receiver<bool>,
    batch: &mut Vec<Usage>,
) -> bool {
    if !queue.is_closed() {
        tokio::select! {
            count = queue.recv_many(batch, BATCH) => return count > 0,
            _ = closing.wait_for(|closing| *closing) => queue.close(),
        }
    }
    queue.recv_many(batch, BATCH).await > 0
}

/// Does its work, for which little time is left from the moment on that the end has come.
async fn until_the_end<T>(
    closing: &mut watch::Receiver<bool>,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    let done = tokio::time::timeout(LAST_PATIENCE, work).await;
    done.unwrap_or_else(|_| Err("it does not answer, and this proxy ends".into()))
}

/// The way to the broker, which may be cut.
struct Line {
    settings: Settings,
    session: Option<Session>,
    /// The broker of the list that is tried next.
    at: usize,
    pause: Duration,
    is_cut: bool,
}

impl Line {
    fn new(settings: Settings) -> Self {
        // Proxies spread over the brokers of a cluster.
        let at = rand::random_range(0..settings.brokers.len().max(1));
        Line {
            settings,
            session: None,
            at,
            pause: FIRST_PAUSE,
            is_cut: false,
        }
    }

    /// Tries until the broker has all; `false` when it does not and there is no time left.
    async fn deliver(&mut self, messages: &mut Vec<Vec<u8>>, closing: &mut watch::Receiver<bool>) -> bool {
        while !messages.is_empty() {
            let before = messages.len();
            let attempt = until_the_end(closing, self.attempt(messages)).await;
            let sent = before - messages.len();
            match attempt {
                Ok(refused) => {
                    self.is_well();
                    metrics::counter!("martlet_ceilometer_sent_total").increment((sent - refused) as u64);
                    if refused > 0 {
                        Dropped::Refused.count(refused);
                        tracing::warn!(refused, "the message broker refuses notifications for Ceilometer");
                    }
                }
                Err(problem) => {
                    metrics::counter!("martlet_ceilometer_sent_total").increment(sent as u64);
                    self.session = None;
                    self.say(&problem);
                    if *closing.borrow() {
                        return false;
                    }
                    self.at = (self.at + 1) % self.settings.brokers.len().max(1);
                    tokio::select! {
                        () = tokio::time::sleep(self.pause) => {}
                        _ = closing.wait_for(|closing| *closing) => {}
                    }
                    self.pause = (self.pause + LONGER).min(LONGEST_PAUSE);
                }
            }
        }
        true
    }

    async fn attempt(&mut self, messages: &mut Vec<Vec<u8>>) -> Result<usize, String> {
        if let Some(session) = self.session.as_mut().filter(|session| session.is_open()) {
            return session.publish(messages).await;
        }
        let broker = self.settings.brokers.get(self.at).ok_or("no broker is named")?;
        let session = Session::open(&self.settings, broker).await?;
        self.session.insert(session).publish(messages).await
    }

    /// Once for each time that the broker is away.
    fn say(&mut self, problem: &str) {
        let broker = self.settings.brokers.get(self.at).map(ToString::to_string);
        let broker = broker.unwrap_or_default();
        match self.is_cut {
            false => tracing::warn!(
                broker,
                problem,
                "notifications for Ceilometer wait: the message broker is away"
            ),
            true => tracing::debug!(broker, problem, "the message broker is still away"),
        }
        self.is_cut = true;
    }

    fn is_well(&mut self) {
        if self.is_cut {
            tracing::info!("the message broker takes notifications for Ceilometer again");
        }
        self.is_cut = false;
        self.pause = FIRST_PAUSE;
    }
}
