//! `Range` headers: parsed, then resolved against a length (RFC 9110 section 14; Swift's limits on many ranges).

/// Ranges past this many are ignored as one request for the whole, as Swift refuses to serve them.
pub const MAX_RANGES: usize = 50;
/// Overlapping ranges a request may ask.
const MAX_OVERLAPPING: usize = 2;
/// Ranges that begin before their predecessor that a request may ask.
const MAX_NONASCENDING: usize = 8;

/// One range as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-last`, both inclusive.
    FromTo(u64, u64),
    /// `first-`.
    From(u64),
    /// `-count`: the last bytes.
    Last(u64),
}

/// A piece of a body: `start` inclusive, `end` exclusive, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// `bytes 0-9/100`.
    pub fn content_range(&self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.start, self.end.saturating_sub(1))
    }
}

/// What a range header means for a body of a known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Answer 200 with everything.
    Whole,
    /// Answer 206 with these, in the order asked; never empty.
    Ranges(Vec<ByteRange>),
    /// Answer 416.
    Unsatisfiable,
}

/// Parses a header. `None`: not valid, so the header is ignored.
pub fn parse_ranges(header: &str) -> Option<Vec<RangeSpec>> {
    let header = header.trim();
    let (unit, list) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A number past 64 bits is past any body.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let mut specs = Vec::new();
    for item in list.split(',') {
        let (first, last) = item.trim().split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        specs.push(match (first.is_empty(), last.is_empty()) {
            (true, true) => return None,
            (true, false) => RangeSpec::Last(number(last)?),
            (false, true) => RangeSpec::From(number(first)?),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                RangeSpec::FromTo(first, last)
            }
        });
    }
    Some(specs)
}

/// Resolves specs against a length. Too many, too overlapping or too disordered ranges are [`Resolved::Unsatisfiable`],
/// as in Swift (they cost a server much and a client gains nothing).
pub fn resolve(specs: &[RangeSpec], length: u64) -> Resolved {
    if specs.is_empty() {
        return Resolved::Whole;
    }
    if length == 0 {
        // Swift: a suffix of nothing is everything; anything else is past the end.
        return match specs
            .iter()
            .any(|spec| matches!(spec, RangeSpec::Last(count) if *count > 0))
        {
            true => Resolved::Whole,
            false => Resolved::Unsatisfiable,
        };
    }
    let mut ranges = Vec::with_capacity(specs.len().min(MAX_RANGES + 1));
    for spec in specs {
        let range = match *spec {
            RangeSpec::FromTo(first, last) => ByteRange {
                start: first,
                end: last.saturating_add(1).min(length),
            },
            RangeSpec::From(first) => ByteRange {
                start: first,
                end: length,
            },
            RangeSpec::Last(count) => ByteRange {
                start: length.saturating_sub(count),
                end: length,
            },
        };
        if range.start < range.end {
            ranges.push(range);
        }
        if ranges.len() > MAX_RANGES {
            return Resolved::Unsatisfiable;
        }
    }
    if ranges.is_empty() || is_abusive(&ranges) {
        return Resolved::Unsatisfiable;
    }
    Resolved::Ranges(ranges)
}

fn is_abusive(ranges: &[ByteRange]) -> bool {
    let descending = ranges
        .windows(2)
        .filter(|pair| pair[1].start < pair[0].start)
        .count();
    let mut sorted = ranges.to_vec();
    sorted.sort();
    let overlapping = sorted
        .windows(2)
        .filter(|pair| pair[1].start < pair[0].end)
        .count();
    descending >= MAX_NONASCENDING || overlapping > MAX_OVERLAPPING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, length: u64) -> Option<Vec<(u64, u64)>> {
        match resolve(&parse_ranges(header)?, length) {
            Resolved::Whole => Some(vec![(0, length)]),
            Resolved::Ranges(ranges) => Some(ranges.iter().map(|r| (r.start, r.end)).collect()),
            Resolved::Unsatisfiable => Some(vec![]),
        }
    }

    #[test]
    fn ranges_resolve() {
        for (header, length, expected) in [
            ("bytes=0-0", 10, Some(vec![(0, 1)])),
            ("bytes=2-", 10, Some(vec![(2, 10)])),
            ("bytes=-3", 10, Some(vec![(7, 10)])),
            ("bytes=-30", 10, Some(vec![(0, 10)])),
            ("bytes=5-100", 10, Some(vec![(5, 10)])),
            ("bytes=10-", 10, Some(vec![])),
            ("bytes=-0", 10, Some(vec![])),
            ("bytes=0-1,4-5", 10, Some(vec![(0, 2), (4, 6)])),
            ("bytes=0-1,40-50", 10, Some(vec![(0, 2)])),
            ("bytes=5-2", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=-", 10, None),
            ("bytes", 10, None),
            ("items=0-1", 10, None),
            ("bytes=0-0", 0, Some(vec![])),
            ("bytes=-5", 0, Some(vec![(0, 0)])),
            ("bytes=99999999999999999999999-", 10, Some(vec![])),
            ("bytes=0-9,0-9,0-9,0-9", 10, Some(vec![])),
        ] {
            assert_eq!(check(header, length), expected, "{header} of {length}");
        }
        let many = (0..60).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(check(&format!("bytes={many}"), 100), Some(vec![]));
    }
}
