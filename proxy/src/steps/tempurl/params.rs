//! What a temporary URL says of itself: its signature, its end, and the limits that were signed with it.

use martlet_protocol::query::Query;
use std::net::IpAddr;

/// The parameters of a temporary URL, as the client wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pub signature: String,
    pub expires: String,
    /// Signed for every object whose name begins so; `Some("")` is the whole container.
    pub prefix: Option<String>,
    pub ip_range: Option<String>,
    pub filename: Option<String>,
    pub is_inline: bool,
}

impl Params {
    /// `None`: this is no temporary URL.
    pub fn read(query: &Query) -> Option<Params> {
        if !query.has("temp_url_sig") && !query.has("temp_url_expires") {
            return None;
        }
        let text = |name: &str| query.get(name).map(str::to_owned);
        let filled = |name: &str| text(name).filter(|value| !value.is_empty());
        Some(Params {
            signature: text("temp_url_sig").unwrap_or_default(),
            expires: text("temp_url_expires").unwrap_or_default(),
            prefix: text("temp_url_prefix"),
            ip_range: filled("temp_url_ip_range"),
            filename: filled("filename"),
            is_inline: query.has("inline"),
        })
    }
}

/// The moment a URL ends, in seconds since 1970, from digits or from `2017-12-05T21:16:03Z`.
pub fn parse_expires(text: &str) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let is_moment = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    is_moment.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let is_number = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u64>().ok()).flatten()
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let of_years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let of_months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    of_years + of_months + day - 1
}

/// Whether an address lies in `1.2.3.4`, `1.2.3.0/24`, `1.2.3.0/255.255.255.0` or their like for IPv6. A range whose
/// address has bits past its prefix is no range: the one who signed it meant something else.
pub fn is_in_range(address: IpAddr, range: &str) -> bool {
    let (base, prefix) = match range.split_once('/') {
        Some((base, prefix)) => (base, Some(prefix)),
        None => (range, None),
    };
    let Ok(base) = base.parse::<IpAddr>() else {
        return false;
    };
    let (width, base_bits) = bits(base);
    let Some(length) = prefix.map_or(Some(width), |prefix| prefix_length(prefix, width)) else {
        return false;
    };
    // IPv4 clients of a socket that speaks both arrive in IPv6's clothes.
    let (address_width, address_bits) = bits(if base.is_ipv4() {
        address.to_canonical()
    } else {
        address
    });
    let host_bits = width - length;
    let host_mask = if host_bits == 128 {
        u128::MAX
    } else {
        (1 << host_bits) - 1
    };
    address_width == width && base_bits & host_mask == 0 && address_bits & !host_mask == base_bits
}

fn bits(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, u128::from(u32::from(address))),
        IpAddr::V6(address) => (128, u128::from(address)),
    }
}

fn prefix_length(text: &str, width: u32) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|length| *length <= width);
    }
    let IpAddr::V4(mask) = text.parse::<IpAddr>().ok()? else {
        return None;
    };
    let mask = u32::from(mask);
    (width == 32 && mask.leading_ones() + mask.trailing_zeros() == 32).then(|| mask.leading_ones())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_temporary_by_its_signature_or_its_end() {
        let read = |query: &str| Params::read(&Query::parse(query).unwrap());
        assert_eq!(read("filename=a&inline&temp_url_prefix="), None);
        assert_eq!(read(""), None);
        let params = read(
            "temp_url_sig=s&temp_url_expires=1&temp_url_prefix=&temp_url_ip_range=&filename=&inline&temp_url_sig=t",
        );
        let expected = Params {
            signature: "s".into(),
            expires: "1".into(),
            prefix: Some(String::new()),
            is_inline: true,
            ..Params::default()
        };
        assert_eq!(params, Some(expected));
        assert!(read("temp_url_sig=").is_some());
        assert!(read("temp_url_expires=5").is_some());
    }

    #[test]
    fn ends_are_seconds_or_dates() {
        for (text, expected) in [
            ("1512508563", Some(1_512_508_563)),
            (" 7 ", Some(7)),
            ("2017-12-05T21:16:03Z", Some(1_512_508_563)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("2100-02-29T00:00:00Z", None),
            ("2017-13-05T21:16:03Z", None),
            ("2017-12-00T21:16:03Z", None),
            ("2017-12-05T24:16:03Z", None),
            ("2017-12-05T21:16:03", None),
            ("2017-12-05T21:16Z", None),
            ("2017-12-05-1T21:16:03Z", None),
            ("17-12-05T21:16:03Z", None),
            ("99999999999999999999", None),
            ("-5", None),
            ("1e9", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(parse_expires(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for secs in (0..20_000_000_000u64).step_by(86_399 * 37) {
            let (year, month, day, hour, minute, second) = martlet_protocol::date::civil(secs);
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            assert_eq!(parse_expires(&text), Some(secs), "{text}");
        }
    }

    #[test]
    fn ranges_hold_addresses() {
        for (address, range, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.0/24", true),
            ("127.0.0.1", "127.0.0.0/255.255.255.0", true),
            ("127.0.1.1", "127.0.0.0/24", false),
            ("127.0.0.1", "0.0.0.0/0", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1/24", false),
            ("127.0.0.1", "127.0.0.0/33", false),
            ("127.0.0.1", "127.0.0.0/255.0.255.0", false),
            ("127.0.0.1", "::/0", false),
            ("127.0.0.1", "127.0.0", false),
            ("127.0.0.1", "", false),
            ("127.0.0.1", "/8", false),
            ("127.0.0.1", "localhost", false),
            ("2001:db8::1", "2001:db8::", false),
            ("2001:db8::1", "2001:db8::/127", true),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "::/0", true),
            ("2001:db8::1", "2001:db8::/129", false),
            ("2001:db8::1", "0.0.0.0/0", false),
        ] {
            assert_eq!(
                is_in_range(address.parse().unwrap(), range),
                expected,
                "{address} in {range}"
            );
        }
    }
}
