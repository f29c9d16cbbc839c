//! Times as S3's documents write them.

use crate::signature::canonical::seconds;
use martlet_protocol::date::civil;

/// `2026-11-23T23:41:07.000Z`.
pub fn iso(secs: u64) -> String {
    let (year, month, day, hour, minute, second) = civil(secs);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// Swift's `2026-11-23T23:41:06.123450` in S3's form, rounded up so that it equals the object's `Last-Modified`.
pub fn of_row(text: &str) -> String {
    parse_row(text).map_or_else(|| iso(0), iso)
}

fn parse_row(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let secs = seconds(
        number(0..4)?,
        number(5..7)?,
        number(8..10)?,
        number(11..13)?,
        number(14..16)?,
        number(17..19)?,
    )?;
    let fraction = text.get(20..).unwrap_or_default();
    Some(secs + u64::from(fraction.bytes().any(|byte| matches!(byte, b'1'..=b'9'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_up() {
        assert_eq!(of_row("2026-11-23T23:41:06.123450"), "2026-11-23T23:41:07.000Z");
        assert_eq!(of_row("2026-11-23T23:59:59.000000"), "2026-11-23T23:59:59.000Z");
        assert_eq!(of_row("2026-12-31T23:59:59.000010"), "2027-01-01T00:00:00.000Z");
        assert_eq!(of_row("nonsense"), "1970-01-01T00:00:00.000Z");
        assert_eq!(of_row(""), "1970-01-01T00:00:00.000Z");
    }
}
