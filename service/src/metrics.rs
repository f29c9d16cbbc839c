//! Metrics for Prometheus.

use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

/// How often observations are summed up. Until then each is kept one by one, so without this memory would grow for as
/// long as nobody asks for `/metrics`.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Makes the process count; more than once does no harm.
pub fn install() {
    HANDLE.get_or_init(|| {
        let seconds = [
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ];
        let builder = PrometheusBuilder::new()
            .set_buckets(&seconds)
            .expect("the list of buckets is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics will be empty");
        }
        let own = handle.clone();
        let keeper = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                own.run_upkeep();
            }
        });
        if let Err(error) = keeper {
            tracing::error!(%error, "no thread to keep metrics small");
        }
        handle
    });
}

/// Where requests of one kind are counted.
#[derive(Clone)]
pub(crate) struct RequestMetrics {
    pub(crate) count: Counter,
    pub(crate) seconds: Histogram,
}

impl RequestMetrics {
    /// Looking a metric up by its labels costs more than counting: each thread keeps what it found. The labels are
    /// words of ours, so that the map stays small.
    pub(crate) fn of(server: &'static str, method: &'static str, status: &'static str) -> Self {
        type Found = HashMap<(&'static str, &'static str, &'static str), RequestMetrics>;
        thread_local! {
            static FOUND: RefCell<Found> = RefCell::default();
        }
        FOUND.with_borrow_mut(|found| {
            let entry = found.entry((server, method, status));
            entry
                .or_insert_with(|| RequestMetrics {
                    count: metrics::counter!("martlet_requests_total", "server" => server, "method" => method, "status" => status),
                    seconds: metrics::histogram!("martlet_request_duration_seconds", "server" => server, "method" => method),
                })
                .clone()
        })
    }
}

/// The text that `/metrics` answers; empty before [`install`].
pub fn render() -> String {
    HANDLE
        .get()
        .map(|handle| {
            handle.run_upkeep();
            handle.render()
        })
        .unwrap_or_default()
}
