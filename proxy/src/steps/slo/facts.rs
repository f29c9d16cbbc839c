//! What the headers of an answer say of a manifest, and what is still to be read to answer with. Pure.

use super::{SLO_ETAG, SLO_SIZE, is_slo};
use http::StatusCode;
use http::header::{ETAG, HeaderMap, LAST_MODIFIED};
use martlet_protocol::conditions::{Conditions, Verdict};
use martlet_protocol::date::parse_http_date;
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::headers;

/// A manifest by its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The ETag of the manifest's own bytes.
    pub manifest_etag: String,
    /// The large object's ETag; manifests of old releases do not say it.
    pub etag: Option<String>,
    /// The large object's length; likewise.
    pub size: Option<u64>,
    pub timestamp: Timestamp,
    last_modified: Timestamp,
}

impl Facts {
    /// `None`: the answer is not about a manifest.
    pub fn of(map: &HeaderMap) -> Option<Facts> {
        if !is_slo(map) {
            return None;
        }
        let text = |name: &str| headers::text(map, name).filter(|text| !text.is_empty());
        let size = text(SLO_SIZE).and_then(|size| size.parse().ok());
        let etag = text(SLO_ETAG).map(str::to_owned);
        let is_whole = etag.is_some() && size.is_some();
        Some(Facts {
            manifest_etag: text(ETAG.as_str()).unwrap_or("").trim_matches('"').to_owned(),
            etag: etag.filter(|_| is_whole),
            size: size.filter(|_| is_whole),
            timestamp: timestamp(map),
            last_modified: text(LAST_MODIFIED.as_str())
                .and_then(parse_http_date)
                .map_or(Timestamp::ZERO, Timestamp::from_secs),
        })
    }

    /// From a release that kept neither ETag nor length.
    pub fn is_legacy(&self) -> bool {
        self.etag.is_none()
    }

    /// Judges conditions that the storage nodes did not judge, or judged by another version. `etag_is_at` is the list of
    /// the steps above, whose idea of the ETag goes first.
    pub fn judge(&self, conditions: &Conditions, etag_is_at: &str, map: &HeaderMap, etag: &str) -> Verdict {
        if conditions.is_empty() {
            return Verdict::Proceed;
        }
        let names = etag_is_at
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let other = names
            .filter_map(|name| headers::text(map, &name.to_ascii_lowercase()))
            .next();
        conditions.evaluate_all(other.unwrap_or(etag), self.last_modified)
    }
}

/// When what an answer is about was written; zero if it does not say.
pub fn timestamp(map: &HeaderMap) -> Timestamp {
    headers::text(map, header::X_TIMESTAMP)
        .and_then(|text| Timestamp::parse(text).ok())
        .unwrap_or(Timestamp::ZERO)
}

/// Where the segments come from, if they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// The headers say all that is asked.
    NotNeeded,
    /// The body of the answer at hand.
    AtHand,
    /// It must be asked for again, whole and without conditions.
    AskAgain,
    /// The answer goes to the client as it is.
    Refusal,
}

/// Storage nodes judge conditions of manifests that say their ETag, and send manifests whole whatever range is asked;
/// nodes of old releases do not.
pub fn manifest(is_head: bool, status: StatusCode, is_legacy: bool, asks_for_part: bool) -> Manifest {
    match status {
        StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED if is_legacy => Manifest::AskAgain,
        StatusCode::OK if is_head && (is_legacy || asks_for_part) => Manifest::AskAgain,
        StatusCode::OK if is_head => Manifest::NotNeeded,
        StatusCode::OK => Manifest::AtHand,
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Manifest::AskAgain,
        _ => Manifest::Refusal,
    }
}

/// The number of a segment, from 1 on, as `part-number` gives it. The error is a sentence for a 400.
pub fn part_number(given: Option<&str>, has_range: bool) -> Result<Option<u64>, &'static str> {
    let Some(given) = given else {
        return Ok(None);
    };
    // A number past 64 bits is past any manifest.
    let digits = given.strip_prefix('+').unwrap_or(given);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| digits.parse::<u64>().unwrap_or(u64::MAX));
    match number {
        None | Some(0) => Err("Part number must be an integer greater than 0"),
        Some(_) if has_range => Err("Range requests are not supported with part number queries"),
        Some(number) => Ok(Some(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    #[test]
    fn manifests_are_known_by_their_mark() {
        let whole = [(SLO_ETAG, "e"), (SLO_SIZE, "5")];
        assert_eq!(Facts::of(&map(&whole)), None);
        assert_eq!(Facts::of(&map(&[("x-static-large-object", "false")])), None);
        let facts = |more: &[(&str, &str)]| {
            let mut map = map(more);
            headers::set(&mut map, "x-static-large-object", "True");
            headers::set(&mut map, "etag", "\"m\"");
            let facts = Facts::of(&map).unwrap();
            assert_eq!(facts.manifest_etag, "m");
            (facts.etag.clone(), facts.size, facts.is_legacy())
        };
        assert_eq!(facts(&whole), (Some("e".into()), Some(5), false));
        // Half of it is none of it.
        for half in [
            &[(SLO_ETAG, "e")][..],
            &[(SLO_SIZE, "5")],
            &[(SLO_ETAG, ""), (SLO_SIZE, "")],
            &[(SLO_ETAG, "e"), (SLO_SIZE, "five")],
            &[],
        ] {
            assert_eq!(facts(half), (None, None, true), "{half:?}");
        }
    }

    #[test]
    fn what_is_read_for_which_answer() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for (is_head, code, is_legacy, part, expected) in [
            (true, 200, false, false, Manifest::NotNeeded),
            (true, 200, true, false, Manifest::AskAgain),
            (true, 200, false, true, Manifest::AskAgain),
            (false, 200, false, false, Manifest::AtHand),
            (false, 200, true, true, Manifest::AtHand),
            (false, 206, false, false, Manifest::AskAgain),
            (false, 416, false, false, Manifest::AskAgain),
            (false, 304, false, false, Manifest::Refusal),
            (true, 412, false, true, Manifest::Refusal),
            (false, 304, true, false, Manifest::AskAgain),
            (true, 412, true, false, Manifest::AskAgain),
            (false, 404, true, false, Manifest::Refusal),
        ] {
            assert_eq!(
                manifest(is_head, status(code), is_legacy, part),
                expected,
                "{is_head} {code} {is_legacy} {part}"
            );
        }
    }

    #[test]
    fn part_numbers() {
        const BAD: Result<Option<u64>, &str> = Err("Part number must be an integer greater than 0");
        assert_eq!(part_number(None, true), Ok(None));
        assert_eq!(part_number(Some("1"), false), Ok(Some(1)));
        assert_eq!(
            part_number(Some("99999999999999999999"), false),
            Ok(Some(u64::MAX))
        );
        for bad in ["0", "-1", "foo", "", "1.5", "00"] {
            assert_eq!(part_number(Some(bad), false), BAD, "{bad}");
            assert_eq!(part_number(Some(bad), true), BAD, "{bad}");
        }
        assert_eq!(
            part_number(Some("2"), true),
            Err("Range requests are not supported with part number queries")
        );
    }

    #[test]
    fn conditions_go_by_the_etag_that_was_named_first() {
        let map = map(&[
            ("x-static-large-object", "True"),
            ("x-object-sysmeta-other-etag", "other"),
        ]);
        let facts = Facts::of(&map).unwrap();
        let judge = |if_match: &str, list: &str| {
            let conditions = Conditions::parse(|name| (name == "if-match").then_some(if_match));
            facts.judge(&conditions, list, &map, "own")
        };
        assert_eq!(judge("own", ""), Verdict::Proceed);
        assert_eq!(judge("own", "X-Object-Sysmeta-Missing"), Verdict::Proceed);
        assert_eq!(
            judge("own", "X-Object-Sysmeta-Other-Etag"),
            Verdict::PreconditionFailed
        );
        assert_eq!(judge("other", "x, X-Object-Sysmeta-Other-Etag"), Verdict::Proceed);
        assert_eq!(
            facts.judge(&Conditions::default(), "", &map, "own"),
            Verdict::Proceed
        );
    }
}
