//! HTTP dates and the civil calendar.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of an HTTP date in any of the three forms of RFC 9110, or `None`. A zone that is an offset, as mail
/// has it and as some clients send it, is understood too.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some((moment, zone)) = text.rsplit_once(' ')
        && let Some(offset) = offset_secs(zone)
    {
        let local = i64::try_from(parse_gmt(&format!("{moment} GMT"))?).ok()?;
        return u64::try_from(local.checked_sub(offset)?).ok();
    }
    parse_gmt(text)
}

fn parse_gmt(text: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(text).ok()?;
    Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Seconds east of Greenwich of `+0130`, or of `UTC`.
fn offset_secs(zone: &str) -> Option<i64> {
    if zone == "UTC" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone
        .get(1..)
        .filter(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let number: i64 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3_600 + number % 100 * 60))
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
    fn zones_may_be_offsets() {
        let at = parse_http_date("Tue, 27 Mar 2007 19:36:42 GMT");
        assert_eq!(at, Some(1_175_024_202));
        for same in [
            "Tue, 27 Mar 2007 19:36:42 +0000",
            "Tue, 27 Mar 2007 19:36:42 -0000",
            "Tue, 27 Mar 2007 19:36:42 UTC",
            "Tue, 27 Mar 2007 21:06:42 +0130",
            "Tue, 27 Mar 2007 11:36:42 -0800",
        ] {
            assert_eq!(parse_http_date(same), at, "{same}");
        }
        for bad in [
            "Tue, 27 Mar 2007 19:36:42 +00",
            "Tue, 27 Mar 2007 19:36:42 +ü00",
            "Thu, 01 Jan 1970 00:00:00 +0100",
            "junk +0000",
            "+0000",
        ] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

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
