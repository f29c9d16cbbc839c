//! The little of DNS that a look-up of a CNAME needs: the question, and the answer read with care. Pure.

/// What a name server says of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the domain is another name for, without the dot at its end; `None`: it is none.
    pub cname: Option<String>,
    /// Seconds for which this may be remembered.
    pub ttl: u32,
}

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not an answer to this question.
    Foreign,
    Malformed,
    /// The server could not say.
    Failed,
    /// Too long for a datagram.
    Truncated,
}

/// Seconds for which it is remembered that a domain has no CNAME, as in Swift.
const NONE_TTL: u32 = 60;
const TYPE_CNAME: u16 = 5;
const CLASS_IN: u16 = 1;
const MAX_NAME: usize = 253;

/// The question for a domain's CNAME. `None`: it is no name that DNS could hold.
pub fn question(id: u16, domain: &str) -> Option<Vec<u8>> {
    let domain = domain.trim_end_matches('.');
    if domain.is_empty() || domain.len() > MAX_NAME {
        return None;
    }
    let mut bytes = Vec::with_capacity(domain.len() + 18);
    bytes.extend_from_slice(&id.to_be_bytes());
    // Recursion is asked for; one question.
    bytes.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in domain.split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&TYPE_CNAME.to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(bytes)
}

/// Reads the answer to a question.
pub fn answer(question: &[u8], bytes: &[u8]) -> Result<Answer, Unusable> {
    if bytes.len() < 12 || question.len() < 12 || bytes[..2] != question[..2] || bytes[2] & 0x80 == 0 {
        return Err(Unusable::Foreign);
    }
    let asked = &question[12..];
    // The question comes back first, letter for letter but for their case.
    let repeated = bytes
        .get(12..12 + asked.len())
        .is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked));
    if !repeated || bytes[4..6] != [0, 1] {
        return Err(Unusable::Foreign);
    }
    if bytes[2] & 0x02 != 0 {
        return Err(Unusable::Truncated);
    }
    const NO_ERROR: u8 = 0;
    const NO_SUCH_DOMAIN: u8 = 3;
    match bytes[3] & 0x0f {
        NO_ERROR => {}
        NO_SUCH_DOMAIN => {
            return Ok(Answer {
                cname: None,
                ttl: NONE_TTL,
            });
        }
        _ => return Err(Unusable::Failed),
    }
    let records = u16::from_be_bytes([bytes[6], bytes[7]]);
    let mut at = 12 + asked.len();
    for _ in 0..records {
        at = name(bytes, at)?.1;
        let head = bytes.get(at..at + 10).ok_or(Unusable::Malformed)?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let (kind, class, length) = (number(0), number(2), usize::from(number(8)));
        let ttl = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        at += 10;
        if bytes.len() < at + length {
            return Err(Unusable::Malformed);
        }
        if kind == TYPE_CNAME && class == CLASS_IN {
            let cname = name(bytes, at)?.0;
            return Ok(Answer {
                cname: Some(cname),
                ttl,
            });
        }
        at += length;
    }
    Ok(Answer {
        cname: None,
        ttl: NONE_TTL,
    })
}

/// A name, and where it ends. Pointers only ever lead back, so that none can lead in a circle.
fn name(bytes: &[u8], start: usize) -> Result<(String, usize), Unusable> {
    let (mut text, mut at, mut end) = (String::new(), start, None);
    loop {
        let length = *bytes.get(at).ok_or(Unusable::Malformed)?;
        match length {
            0 => return Ok((text, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes
                    .get(at + 1..at + 1 + usize::from(length))
                    .and_then(|label| std::str::from_utf8(label).ok())
                    .filter(|label| label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'))
                    .ok_or(Unusable::Malformed)?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(label);
                if text.len() > MAX_NAME {
                    return Err(Unusable::Malformed);
                }
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let low = *bytes.get(at + 1).ok_or(Unusable::Malformed)?;
                let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                end.get_or_insert(at + 2);
                if to >= at {
                    return Err(Unusable::Malformed);
                }
                at = to;
            }
            64..0xc0 => return Err(Unusable::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with records of `(type, data)`.
    fn reply(question: &[u8], flags: [u8; 2], records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2..4].copy_from_slice(&flags);
        bytes[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            // The name of the record points at the question's.
            bytes.extend_from_slice(&[0xc0, 12]);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 1, 0, 0, 1, 0x2c]);
            bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn questions_are_for_names() {
        let asked = question(0x1234, "a.example.com.").unwrap();
        assert_eq!(&asked[..2], &[0x12, 0x34]);
        assert_eq!(&asked[12..], b"\x01a\x07example\x03com\0\0\x05\0\x01");
        let long_label = "x".repeat(64);
        let long = "abc.".repeat(70);
        for bad in ["", ".", "a..b", &long_label, &long] {
            assert_eq!(question(1, bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_are_read() {
        let asked = question(7, "mine.example.com").unwrap();
        const GOOD: [u8; 2] = [0x81, 0x80];
        let found = answer(
            &asked,
            &reply(&asked, GOOD, &[(5, b"\x01c\x01a\xc0\x11".to_vec())]),
        );
        assert_eq!(
            found,
            Ok(Answer {
                cname: Some("c.a.example.com".into()),
                ttl: 300
            })
        );
        let other_first = [(1, vec![127, 0, 0, 1]), (5, b"\x03net\0".to_vec())];
        let found = answer(&asked, &reply(&asked, GOOD, &other_first));
        assert_eq!(found.unwrap().cname.as_deref(), Some("net"));
        for flags in [GOOD, [0x81, 0x83]] {
            assert_eq!(answer(&asked, &reply(&asked, flags, &[])).unwrap().cname, None);
        }
        for (bytes, expected) in [
            (reply(&asked, [0x81, 0x82], &[]), Unusable::Failed),
            (reply(&asked, [0x83, 0x80], &[]), Unusable::Truncated),
            (reply(&asked, [0x01, 0x80], &[]), Unusable::Foreign),
            (
                reply(&question(8, "mine.example.com").unwrap(), GOOD, &[]),
                Unusable::Foreign,
            ),
            (
                reply(&question(7, "other.example.com").unwrap(), GOOD, &[]),
                Unusable::Foreign,
            ),
            (vec![0; 5], Unusable::Foreign),
            (reply(&asked, GOOD, &[(5, vec![])]), Unusable::Malformed),
            (
                reply(&asked, GOOD, &[(5, b"\x09short".to_vec())]),
                Unusable::Malformed,
            ),
            (
                reply(&asked, GOOD, &[(5, b"\x03a/b\0".to_vec())]),
                Unusable::Malformed,
            ),
            (reply(&asked, GOOD, &[(5, vec![0x80, 1])]), Unusable::Malformed),
        ] {
            assert_eq!(answer(&asked, &bytes), Err(expected));
        }
    }

    #[test]
    fn pointers_never_lead_in_a_circle() {
        let asked = question(7, "a.b").unwrap();
        let at = asked.len() + 12;
        let circle = vec![0xc0, at as u8];
        assert_eq!(
            answer(&asked, &reply(&asked, [0x81, 0x80], &[(5, circle)])),
            Err(Unusable::Malformed)
        );
        let ahead = vec![0xc0, (at + 2) as u8, 0];
        assert_eq!(
            answer(&asked, &reply(&asked, [0x81, 0x80], &[(5, ahead)])),
            Err(Unusable::Malformed)
        );
    }
}
