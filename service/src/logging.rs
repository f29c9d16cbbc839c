//! Structured logs: one line per request and hop, written by a thread of its own so that no async thread waits for a disk.

mod buffer;
mod request_line;

use crate::metrics::RequestMetrics;
use buffer::Buffer;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use request_line::Fields;

/// How long the end of the process waits for its last lines.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

static BUFFER: OnceLock<Buffer> = OnceLock::new();
/// Whether lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

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
    let buffer = Buffer::default();
    let own = buffer.clone();
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || own.write_to(sink))?;
    let writer = Lines(BUFFER.get_or_init(|| buffer).clone());
    JSON.store(options.json, Ordering::Relaxed);
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

/// Writes what waits; called when the process ends.
pub fn flush() {
    if let Some(buffer) = BUFFER.get() {
        buffer.flush(FLUSH_PATIENCE);
    }
}

#[derive(Clone)]
struct Lines(Buffer);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            buffer: &self.0,
            urgent: false,
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line {
            buffer: &self.0,
            urgent: *meta.level() <= Level::WARN,
        }
    }
}

/// Takes one line, in one piece.
struct Line<'a> {
    buffer: &'a Buffer,
    urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.buffer.push(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        if let Some(fields) = self.begin() {
            fields.end();
        }
    }

    /// Begins a line with what is said of every request, for a server that says more; `None` when none is wanted.
    pub fn begin(&self) -> Option<Fields> {
        let mut fields = request_line::begin()?;
        fields.text("server", self.server);
        fields.text("method", self.method);
        fields.text("path", self.path);
        fields.number("status", u64::from(self.status));
        fields.text("trans_id", self.trans_id);
        fields.number("duration_us", self.duration.as_micros() as u64);
        Some(fields)
    }

    /// Counts the request, for a server that writes a richer line of its own.
    pub fn count(&self) {
        let own = RequestMetrics::of(self.server, method_label(self.method), status_class(self.status));
        own.count.increment(1);
        own.seconds.record(self.duration.as_secs_f64());
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
