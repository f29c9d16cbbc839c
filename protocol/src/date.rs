//! HTTP dates and the civil calendar.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of an HTTP date in any of the three forms of RFC 9110, or `None`.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(text.trim()).ok()?;
    Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// `Thu, 01 Jan 1970 00:00:01 GMT`. Seconds past the year 9999 are cut to its end.
pub fn format_http_date(secs: u64) -> String {
    const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
    let moment: SystemTime = UNIX_EPOCH + Duration::from_secs(secs.min(LAST_SECOND_OF_9999));
    httpdate::fmt_http_date(moment)
}

/// Year, month, day, hour, minute, second (UTC) of seconds since 1970.
///
/// The day count is turned into a date by the era method: 400-year eras of 146,097 days, years that begin in March.
pub fn civil(secs: u64) -> (u64, u64, u64, u64, u64, u64) {
    let days = secs / 86_400;
    let rest = secs % 86_400;
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, rest / 3_600, rest % 3_600 / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_agrees_with_the_http_date_of_the_same_second() {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        for secs in (0..4_000_000_000u64).step_by(7_654_321) {
            let (year, month, day, hour, minute, second) = civil(secs);
            let text = format!(
                "{day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT",
                months[month as usize - 1]
            );
            assert!(format_http_date(secs).ends_with(&text), "{secs}: {text}");
            assert_eq!(parse_http_date(&format_http_date(secs)), Some(secs));
        }
    }
}
