//! Chooses among content types by an `Accept` header, in Swift's way. Pure.

/// The header was not a list of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAccept;

/// The offer the client likes best: highest quality first, exact types before ranges, then the order of `offers`.
/// `None`: it takes none of them. No header takes the first.
pub fn best_match<'a>(accept: Option<&str>, offers: &[&'a str]) -> Result<Option<&'a str>, InvalidAccept> {
    let accept = accept.unwrap_or("");
    if accept.is_empty() {
        return Ok(offers.first().copied());
    }
    let mut ranges = accept.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_by(|a, b| {
        b.quality
            .total_cmp(&a.quality)
            .then(b.is_exact().cmp(&a.is_exact()))
    });
    Ok(ranges
        .iter()
        .find_map(|range| offers.iter().find(|offer| range.matches(offer)).copied()))
}

struct Range<'a> {
    kind: &'a str,
    sub_kind: &'a str,
    quality: f64,
}

impl Range<'_> {
    fn is_exact(&self) -> bool {
        self.kind != "*" && self.sub_kind != "*"
    }

    fn matches(&self, offer: &str) -> bool {
        let Some((kind, sub_kind)) = offer.split_once('/') else {
            return false;
        };
        (self.kind == "*" || self.kind == kind) && (self.sub_kind == "*" || self.sub_kind == sub_kind)
    }
}

fn parse(item: &str) -> Result<Range<'_>, InvalidAccept> {
    let mut parts = item.split(';');
    let (kind, sub_kind) = parts
        .next()
        .and_then(|range| range.trim().split_once('/'))
        .ok_or(InvalidAccept)?;
    if !is_token(kind) || !is_token(sub_kind) {
        return Err(InvalidAccept);
    }
    let mut quality = None;
    for parameter in parts {
        let (name, value) = parameter.split_once('=').ok_or(InvalidAccept)?;
        let (name, value) = (name.trim(), value.trim());
        if !is_token(name) || value.is_empty() {
            return Err(InvalidAccept);
        }
        if name == "q" {
            let parsed: f64 = value.parse().map_err(|_| InvalidAccept)?;
            if quality.replace(parsed).is_some() || !parsed.is_finite() {
                return Err(InvalidAccept);
            }
        }
    }
    Ok(Range {
        kind,
        sub_kind,
        quality: quality.unwrap_or(1.0),
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\"/[]?={}\\".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_offers() {
        let offers = ["text/plain", "application/json", "application/xml", "text/xml"];
        for (accept, expected) in [
            (None, Ok(Some("text/plain"))),
            (Some(""), Ok(Some("text/plain"))),
            (Some("*/*"), Ok(Some("text/plain"))),
            (Some("application/json"), Ok(Some("application/json"))),
            (Some("application/*"), Ok(Some("application/json"))),
            (Some("text/xml"), Ok(Some("text/xml"))),
            (
                Some("text/plain;q=0.1, application/xml"),
                Ok(Some("application/xml")),
            ),
            (
                Some("*/*;q=0.9,application/xml;q=0.9"),
                Ok(Some("application/xml")),
            ),
            (
                Some("application/xml; charset=utf-8; q=0.5, text/html"),
                Ok(Some("application/xml")),
            ),
            (Some("image/png"), Ok(None)),
            (Some("json"), Err(InvalidAccept)),
            (Some("text/plain;q=abc"), Err(InvalidAccept)),
            (Some("text/plain;q=1;q=1"), Err(InvalidAccept)),
            (Some("text/plain;"), Err(InvalidAccept)),
            (Some("text /plain"), Err(InvalidAccept)),
        ] {
            assert_eq!(best_match(accept, &offers), expected, "{accept:?}");
        }
    }
}
