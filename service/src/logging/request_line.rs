//! The line of a request, in the form that all other lines have, written without what makes those flexible.
//!
//! There is one for each request and hop: made as an event of `tracing`, the lines of a small read took a tenth of its CPU.

use super::{BUFFER, JSON};
use martlet_protocol::timestamp::Timestamp;
use std::cell::RefCell;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::Level;

const TARGET: &str = "martlet::request";
/// Room that a line takes at first, in bytes.
const USUAL_BYTES: usize = 512;

thread_local! {
    /// The second that was shown last, and how.
    static SECOND: RefCell<(u64, String)> = RefCell::default();
    /// Room for the next line.
    static ROOM: RefCell<String> = RefCell::default();
}

/// A line in the making. Fields are shown in the order in which they are added.
pub struct Fields {
    line: String,
    json: bool,
}

/// Begins the line of a request; `None` when such lines are not wanted.
pub fn begin() -> Option<Fields> {
    if !tracing::enabled!(target: TARGET, Level::INFO) {
        return None;
    }
    let mut line = ROOM.take();
    line.reserve(USUAL_BYTES);
    let json = JSON.load(Ordering::Relaxed);
    line.push_str(if json { "{\"timestamp\":\"" } else { "" });
    push_now(&mut line);
    line.push_str(match json {
        true => "\",\"level\":\"INFO\"",
        false => "  INFO martlet::request:",
    });
    Some(Fields { line, json })
}

impl Fields {
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if value.as_bytes().iter().all(is_plain) {
            self.line.push('"');
            self.line.push_str(value);
            self.line.push('"');
        } else if self.json {
            let shown = serde_json::Value::from(value);
            let _ = write!(self.line, "{shown}");
        } else {
            let _ = write!(self.line, "{value:?}");
        }
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_number(&mut self.line, value);
    }

    /// `address:port`.
    pub fn address(&mut self, name: &str, address: SocketAddr) {
        let IpAddr::V4(ip) = address.ip() else {
            return self.text(name, &address.to_string());
        };
        self.name(name);
        self.line.push('"');
        for (at, octet) in ip.octets().into_iter().enumerate() {
            self.line.push_str(if at == 0 { "" } else { "." });
            push_number(&mut self.line, u64::from(octet));
        }
        self.line.push(':');
        push_number(&mut self.line, u64::from(address.port()));
        self.line.push('"');
    }

    fn name(&mut self, name: &str) {
        if self.json {
            self.line.push_str(",\"");
            self.line.push_str(name);
            self.line.push_str("\":");
        } else {
            self.line.push(' ');
            self.line.push_str(name);
            self.line.push('=');
        }
    }

    /// Gives the line to the log.
    pub fn end(mut self) {
        if self.json {
            self.line.push_str(",\"target\":\"martlet::request\"}");
        }
        self.line.push('\n');
        match BUFFER.get() {
            Some(buffer) => buffer.push(self.line.as_bytes(), false),
            // A process that has not set up its log but listens to events: a test.
            None => tracing::info!(target: TARGET, "{}", self.line.trim_end()),
        }
        self.line.clear();
        self.line.shrink_to(4 * USUAL_BYTES);
        ROOM.set(self.line);
    }
}

/// `2026-11-25T18:59:46.748001Z`.
fn push_now(line: &mut String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, shown)| {
        if *second != now.as_secs() || shown.is_empty() {
            let iso = Timestamp::from_secs(now.as_secs()).isoformat();
            *shown = iso.split('.').next().unwrap_or(&iso).to_owned();
            *second = now.as_secs();
        }
        line.push_str(shown);
    });
    line.push('.');
    let micros = now.subsec_micros();
    for place in [100_000, 10_000, 1_000, 100, 10, 1] {
        line.push(digit(u64::from(micros / place)));
    }
    line.push('Z');
}

fn push_number(line: &mut String, number: u64) {
    let mut place: u64 = 1;
    while number / place >= 10 {
        place *= 10;
    }
    while place > 0 {
        line.push(digit(number / place));
        place /= 10;
    }
}

/// The last digit.
fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: bool) -> String {
        let mut fields = Fields {
            line: String::new(),
            json,
        };
        fields.text("path", "/v1/a%20b");
        fields.text("agent", "a \"b\"\n\u{7f}");
        fields.number("status", 200);
        fields.address("v4", SocketAddr::from(([127, 0, 0, 1], 8080)));
        fields.address("v6", SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80)));
        fields.number("bytes", 0);
        fields.number("most", u64::MAX);
        fields.line
    }

    #[test]
    fn fields_are_shown_as_in_other_lines() {
        assert_eq!(
            line(false),
            r#" path="/v1/a%20b" agent="a \"b\"\n\u{7f}" status=200 v4="127.0.0.1:8080" v6="[::1]:80" bytes=0 most=18446744073709551615"#
        );
        let json: serde_json::Value = serde_json::from_str(&format!("{{\"a\":1{}}}", line(true))).unwrap();
        assert_eq!(json["agent"], "a \"b\"\n\u{7f}");
        assert_eq!(json["most"], u64::MAX);
    }

    #[test]
    fn the_moment_is_shown_to_the_microsecond() {
        let mut now = String::new();
        push_now(&mut now);
        let shape: String = now
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    }
}
