//! The form of a line in Swift's log: text with `{field}` and `{field.part}` in it. Pure.
//!
//! See "Proxy Logs" in Swift's documentation for the fields. A form is read with the configuration, so that a field that
//! is none is refused there and not at the first request.

use super::hidden::Anonymizer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use time::OffsetDateTime;

/// Swift's own form.
const STANDARD: &str = "{client_ip} {remote_addr} {end_time.datetime} {method} {path} {protocol} {status_int} \
                        {referer} {user_agent} {auth_token} {bytes_recvd} {bytes_sent} {client_etag} \
                        {transaction_id} {headers} {request_time} {source} {log_info} {start_time} {end_time} \
                        {policy_index} {access_user_id}";

/// What stays as it is; all else is quoted, so that a space always parts two fields.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'{')
    .remove(b'}');

/// A form of lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Time {
        is_end: bool,
        part: String,
    },
    /// By its place in [`HIDEABLE`].
    Hideable {
        at: usize,
        is_hidden: bool,
    },
    /// By its place in [`OPEN`].
    Open(usize),
}

/// Fields that may be asked for as `{field.anonymized}`.
pub const HIDEABLE: [&str; 12] = [
    "client_ip",
    "remote_addr",
    "domain",
    "path",
    "referer",
    "user_agent",
    "headers",
    "client_etag",
    "account",
    "container",
    "object",
    "access_user_id",
];

/// All other fields but the two times.
pub const OPEN: [&str; 14] = [
    "method",
    "protocol",
    "status_int",
    "auth_token",
    "bytes_recvd",
    "bytes_sent",
    "transaction_id",
    "request_time",
    "source",
    "log_info",
    "policy_index",
    "ttfb",
    "pid",
    "wire_status_int",
];

/// What is known of one request, by the places of the names. Empty values are written as a dash.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub hideable: [String; HIDEABLE.len()],
    pub open: [String; OPEN.len()],
    /// Nanoseconds since 1970.
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Facts {
    /// Says a field. A name that is none says nothing.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        if let Some(at) = HIDEABLE.iter().position(|known| *known == name) {
            self.hideable[at] = value.into();
        } else if let Some(at) = OPEN.iter().position(|known| *known == name) {
            self.open[at] = value.into();
        }
    }
}

impl Default for Template {
    fn default() -> Self {
        let pieces = parse(STANDARD).unwrap_or_default();
        Template {
            text: STANDARD.into(),
            pieces,
        }
    }
}

impl TryFrom<String> for Template {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let pieces = parse(&text).map_err(|problem| format!("log_msg_template: {problem}"))?;
        Ok(Template { text, pieces })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.text
    }
}

fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let mark = &rest[at..at + 1];
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix(mark) {
            // Doubled, it stands for itself.
            plain.push_str(mark);
            rest = after;
            continue;
        }
        if mark == "}" {
            return Err("a } without its {".into());
        }
        let (field, after) = after.split_once('}').ok_or("a { without its }")?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(field_piece(field)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn field_piece(field: &str) -> Result<Piece, String> {
    let (name, part) = field.split_once('.').unwrap_or((field, ""));
    if let "start_time" | "end_time" = name {
        let is_end = name == "end_time";
        let piece = Piece::Time {
            is_end,
            part: part.to_owned(),
        };
        return match time_text(0, part) {
            Some(_) => Ok(piece),
            None => Err(format!("{field}: no such part of a time")),
        };
    }
    if let Some(at) = HIDEABLE.iter().position(|known| *known == name) {
        return match part {
            "" => Ok(Piece::Hideable { at, is_hidden: false }),
            "anonymized" => Ok(Piece::Hideable { at, is_hidden: true }),
            _ => Err(format!("{field}: no such part")),
        };
    }
    match OPEN.iter().position(|known| *known == field) {
        Some(at) => Ok(Piece::Open(at)),
        None => Err(format!("{field}: no such field")),
    }
}

impl Template {
    /// The line of one request.
    pub fn line(&self, facts: &Facts, anonymizer: &Anonymizer) -> String {
        let mut line = String::with_capacity(256);
        for piece in &self.pieces {
            let value = match piece {
                Piece::Text(text) => {
                    line.push_str(text);
                    continue;
                }
                Piece::Time { is_end, part } => {
                    let moment = if *is_end { facts.end_ns } else { facts.start_ns };
                    time_text(moment, part).unwrap_or_default()
                }
                Piece::Hideable { at, is_hidden: true } => anonymizer.hide(&facts.hideable[*at]),
                Piece::Hideable { at, .. } => facts.hideable[*at].clone(),
                Piece::Open(at) => facts.open[*at].clone(),
            };
            match value.is_empty() {
                true => line.push('-'),
                false => line.extend(utf8_percent_encode(&value, PLAIN)),
            }
        }
        line
    }
}

/// A part of a moment; empty: seconds with nine digits behind the point. `None`: there is no such part.
fn time_text(moment_ns: u64, part: &str) -> Option<String> {
    const DAYS: [&str; 7] = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (secs, nanos) = (moment_ns / 1_000_000_000, moment_ns % 1_000_000_000);
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(secs).ok()?).ok()?;
    let (year, month, day) = (at.year(), at.month() as usize, at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let weekday = usize::from(at.weekday().number_days_from_sunday());
    let (day_name, month_name) = (DAYS[weekday], MONTHS[month - 1]);
    let hour_of_twelve = (hour + 11) % 12 + 1;
    let yearday = usize::from(at.ordinal()) - 1;
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let ascii = format!("{} {} {day:2} {clock} {year}", &day_name[..3], &month_name[..3]);
    let mut text = String::new();
    let written = match part {
        "" => write!(text, "{secs}.{nanos:09}"),
        "datetime" => write!(
            text,
            "{day:02}/{}/{year}/{hour:02}/{minute:02}/{second:02}",
            &month_name[..3]
        ),
        "iso8601" => write!(text, "{year}-{month:02}-{day:02}T{clock}"),
        "asctime" | "c" => write!(text, "{ascii}"),
        "s" => write!(text, "{secs}"),
        "ms" => write!(text, "{:03}", nanos / 1_000_000),
        "us" => write!(text, "{:06}", nanos / 1_000),
        "ns" => write!(text, "{nanos:09}"),
        "a" => write!(text, "{}", &day_name[..3]),
        "A" => write!(text, "{day_name}"),
        "b" => write!(text, "{}", &month_name[..3]),
        "B" => write!(text, "{month_name}"),
        "d" => write!(text, "{day:02}"),
        "H" => write!(text, "{hour:02}"),
        "I" => write!(text, "{hour_of_twelve:02}"),
        "j" => write!(text, "{:03}", yearday + 1),
        "m" => write!(text, "{month:02}"),
        "M" => write!(text, "{minute:02}"),
        "p" => write!(text, "{}", if hour < 12 { "AM" } else { "PM" }),
        "S" => write!(text, "{second:02}"),
        "U" => write!(text, "{:02}", (yearday + 7 - weekday) / 7),
        "w" => write!(text, "{weekday}"),
        "W" => write!(text, "{:02}", (yearday + 7 - (weekday + 6) % 7) / 7),
        "x" => write!(text, "{month:02}/{day:02}/{:02}", year % 100),
        "X" => write!(text, "{clock}"),
        "y" => write!(text, "{:02}", year % 100),
        "Y" => write!(text, "{year}"),
        "Z" => write!(text, "UTC"),
        _ => return None,
    };
    written.ok().map(|()| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(template: &str, facts: &Facts) -> String {
        let template = Template::try_from(template.to_owned()).unwrap();
        template.line(facts, &Anonymizer::default())
    }

    fn sample() -> Facts {
        let mut facts = Facts {
            // Sunday, 5 March 2023, 04:07:09.012345678
            start_ns: 1_677_989_229_012_345_678,
            end_ns: 1_677_989_230_512_345_678,
            ..Facts::default()
        };
        for (name, value) in [
            ("client_ip", "1.2.3.4"),
            ("remote_addr", "10.0.0.1"),
            ("path", "/v1/AUTH_a/c/o%20p?format=json"),
            ("user_agent", "swift client/1.0 {x}"),
            ("method", "GET"),
            ("protocol", "HTTP/1.1"),
            ("status_int", "200"),
            ("auth_token", "AUTH_tk012345678..."),
            ("bytes_sent", "17"),
            ("transaction_id", "tx1"),
            ("request_time", "1.5000"),
            ("policy_index", "0"),
        ] {
            facts.set(name, value);
        }
        facts
    }

    #[test]
    fn swifts_own_line() {
        let expected = "1.2.3.4 10.0.0.1 05/Mar/2023/04/07/10 GET /v1/AUTH_a/c/o%2520p%3Fformat%3Djson HTTP/1.1 200 - \
                        swift%20client/1.0%20{x} AUTH_tk012345678... - 17 - tx1 - 1.5000 - - 1677989229.012345678 \
                        1677989230.512345678 0 -";
        assert_eq!(
            Template::default().line(&sample(), &Anonymizer::default()),
            expected
        );
        assert_eq!(line(STANDARD, &sample()), expected);
        assert_eq!(String::from(Template::default()), STANDARD);
    }

    #[test]
    fn fields_in_any_order_with_text_between() {
        assert_eq!(
            line("{status_int}|{method}: {{{referer}}}", &sample()),
            "200|GET: {-}"
        );
        assert_eq!(line("", &sample()), "");
        assert_eq!(line("{path.anonymized}", &Facts::default()), "-");
    }

    #[test]
    fn parts_of_times() {
        for (part, expected) in [
            ("datetime", "05/Mar/2023/04/07/09"),
            ("iso8601", "2023-03-05T04:07:09"),
            ("asctime", "Sun%20Mar%20%205%2004:07:09%202023"),
            ("s", "1677989229"),
            ("ms", "012"),
            ("us", "012345"),
            ("ns", "012345678"),
            ("a", "Sun"),
            ("A", "Sunday"),
            ("b", "Mar"),
            ("B", "March"),
            ("d", "05"),
            ("H", "04"),
            ("I", "04"),
            ("j", "064"),
            ("m", "03"),
            ("M", "07"),
            ("p", "AM"),
            ("S", "09"),
            ("U", "10"),
            ("w", "0"),
            ("W", "09"),
            ("x", "03/05/23"),
            ("X", "04:07:09"),
            ("y", "23"),
            ("Y", "2023"),
            ("Z", "UTC"),
        ] {
            assert_eq!(
                line(&format!("{{start_time.{part}}}"), &sample()),
                expected,
                "{part}"
            );
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (text, problem) in [
            ("{method", "a { without its }"),
            ("method}", "a } without its {"),
            ("{nonsense}", "nonsense: no such field"),
            ("{}", ": no such field"),
            ("{method.anonymized}", "method.anonymized: no such field"),
            ("{path.hidden}", "path.hidden: no such part"),
            ("{end_time.q}", "end_time.q: no such part of a time"),
        ] {
            let refused = Template::try_from(text.to_owned()).unwrap_err();
            assert_eq!(refused, format!("log_msg_template: {problem}"));
        }
    }
}
