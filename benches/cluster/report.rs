//! Gathers what was measured and prints it as a table.

use crate::load::Measured;
use std::fmt::Write;
use std::time::Duration;

const COLUMNS: [&str; 10] = [
    "step",
    "storage",
    "req/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "max ms",
    "cpu us/req",
    "cpu ratio",
    "errors",
];

/// Rows in the order they were first measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    sockets: bool,
    total: Measured,
}

impl Report {
    /// Rounds of the same step and side add up.
    pub fn add(&mut self, name: &str, sockets: bool, measured: Measured) {
        let place = self
            .rows
            .iter()
            .position(|row| row.name == name && row.sockets == sockets);
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row {
                name: name.to_owned(),
                sockets,
                total: Measured::default(),
            });
            self.rows.len() - 1
        });
        let total = &mut self.rows[place].total;
        total.latencies.extend(measured.latencies);
        total.elapsed += measured.elapsed;
        total.cpu_seconds += measured.cpu_seconds;
        total.errors += measured.errors;
    }

    pub fn errors(&self) -> usize {
        self.rows.iter().map(|row| row.total.errors).sum()
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        for cells in std::iter::once(COLUMNS.map(str::to_owned)).chain(self.cells()) {
            let _ = write!(out, "{:<22} {:<12}", cells[0], cells[1]);
            for cell in &cells[2..] {
                let _ = write!(out, " {cell:>10}");
            }
            out.push('\n');
        }
        out
    }

    /// How much longer the segmented object takes than the plain one of the same bytes.
    pub fn segmented(&self) -> String {
        let seconds = |name: &str, sockets: bool| {
            let row = self
                .rows
                .iter()
                .find(|row| row.name == name && row.sockets == sockets)?;
            Some(row.total.elapsed.as_secs_f64() / row.total.latencies.len() as f64)
        };
        let mut out = String::new();
        for (sockets, storage) in [(false, "one process"), (true, "sockets")] {
            let times = (
                seconds("swift GET as segments", sockets),
                seconds("swift GET as one", sockets),
            );
            if let (Some(segmented), Some(plain)) = times {
                let _ = writeln!(
                    out,
                    "segmented over plain, {storage}: {}",
                    number(segmented / plain)
                );
            }
        }
        out
    }

    pub fn tsv(&self) -> String {
        let lines = std::iter::once(COLUMNS.map(str::to_owned)).chain(self.cells());
        lines.map(|cells| cells.join("\t") + "\n").collect()
    }

    /// The ratio is the CPU of a request in one process over the same through sockets, of the same run.
    fn cells(&self) -> impl Iterator<Item = [String; 10]> + '_ {
        self.rows.iter().map(|row| {
            let mut sorted = row.total.latencies.clone();
            sorted.sort_unstable();
            let other = self
                .rows
                .iter()
                .find(|other| other.name == row.name && other.sockets && !row.sockets);
            let ratio = other.map_or(f64::NAN, |other| cpu_us(&row.total) / cpu_us(&other.total));
            [
                row.name.clone(),
                if row.sockets { "sockets" } else { "one process" }.to_owned(),
                number(sorted.len() as f64 / row.total.elapsed.as_secs_f64()),
                number(percentile_ms(&sorted, 0.50)),
                number(percentile_ms(&sorted, 0.90)),
                number(percentile_ms(&sorted, 0.99)),
                number(percentile_ms(&sorted, 1.0)),
                number(cpu_us(&row.total)),
                number(ratio),
                row.total.errors.to_string(),
            ]
        })
    }
}

fn cpu_us(measured: &Measured) -> f64 {
    measured.cpu_seconds * 1e6 / measured.latencies.len() as f64
}

/// The smallest latency that `part` of all requests did not exceed.
fn percentile_ms(sorted: &[Duration], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}
