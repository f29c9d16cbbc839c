//! Structured logs: one line per request and hop, written by a thread of its own so that no async thread waits for a disk.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines waiting for the writer; when full, further lines are dropped and counted.
const QUEUED_LINES: usize = 16_384;

/// How the process logs.
#[derive(Clone, Debug)]
pub struct LogOptions<'a> {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,martlet_storage=debug`.
    pub filter: &'a str,
    /// JSON lines, else plain text.
    pub json: bool,
    /// Appended to; `None` is standard error.
    pub file: Option<&'a Path>,
}

/// Starts logging for the whole process. Fails when the filter is not one or the file cannot be opened.
pub fn init(options: &LogOptions<'_>) -> io::Result<()> {
    let filter = EnvFilter::try_new(options.filter)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let sink: Box<dyn Write + Send> = match options.file {
        Some(path) => Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?),
        None => Box::new(io::stderr()),
    };
    let (sender, receiver) = sync_channel(QUEUED_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = dropped.clone();
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(sink, &receiver, &counted))?;
    let writer = Queue { sender, dropped };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false);
    let result = if options.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
    result.map_err(|error| io::Error::other(error.to_string()))
}

fn write_lines(mut sink: Box<dyn Write + Send>, lines: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        let mut batch = line;
        while batch.len() < 256 * 1024 {
            let Ok(more) = lines.try_recv() else { break };
            batch.extend_from_slice(&more);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            batch.extend_from_slice(
                format!("{lost} log lines dropped: the log could not keep up\n").as_bytes(),
            );
        }
        // A log that cannot be written must not stop the server; there is nowhere to tell it.
        let _ = sink.write_all(&batch);
    }
}

#[derive(Clone)]
struct Queue {
    sender: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(line.to_vec()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;
    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

/// What is said of one request at one hop.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// Which server: `proxy`, `object`, `container`, `account`, `replication`.
    pub server: &'static str,
    pub method: &'a str,
    /// Path as received, percent-encoded.
    pub path: &'a str,
    pub status: u16,
    pub trans_id: &'a str,
    pub duration: Duration,
}

impl RequestLine<'_> {
    /// Writes the line and counts the request.
    pub fn emit(&self) {
        self.write();
        self.count();
    }

    fn write(&self) {
        tracing::info!(
            target: "martlet::request",
            server = self.server,
            method = self.method,
            path = self.path,
            status = self.status,
            trans_id = self.trans_id,
            duration_us = self.duration.as_micros() as u64,
        );
    }

    /// Counts the request, for a server that writes a richer line of its own.
    pub fn count(&self) {
        metrics::counter!(
            "martlet_requests_total",
            "server" => self.server,
            "method" => method_label(self.method),
            "status" => status_class(self.status),
        )
        .increment(1);
        metrics::histogram!("martlet_request_duration_seconds", "server" => self.server, "method" => method_label(self.method))
            .record(self.duration.as_secs_f64());
    }
}

/// Methods as a bounded set of labels: a client must not be able to make new time series.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "GET",
        "HEAD",
        "PUT",
        "POST",
        "DELETE",
        "COPY",
        "OPTIONS",
        "REPLICATE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("OTHER")
}

fn status_class(status: u16) -> &'static str {
    match status {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
