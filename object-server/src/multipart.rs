//! The framing of several ranges in one answer: `multipart/byteranges`, with its exact length known beforehand.

use bytes::Bytes;
use martlet_protocol::range::ByteRange;

/// An answer of several ranges. Written out it is, for each range, [`Multipart::head`], the bytes of the range, and
/// [`LINE_END`]; then [`Multipart::end`].
#[derive(Clone, Debug)]
pub(crate) struct Multipart {
    boundary: String,
    /// Of the object: each part says it.
    content_type: String,
    /// Of the object, in bytes.
    object_length: u64,
    pub ranges: Vec<ByteRange>,
}

/// Stands after each part.
pub(crate) const LINE_END: Bytes = Bytes::from_static(b"\r\n");

impl Multipart {
    /// The boundary is drawn anew for each answer, so that no object can hold it on purpose.
    pub fn new(content_type: &str, object_length: u64, ranges: Vec<ByteRange>) -> Self {
        Multipart {
            boundary: format!("{:032x}", rand::random::<u128>()),
            content_type: content_type.to_owned(),
            object_length,
            ranges,
        }
    }

    /// Of the whole answer.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges;boundary={}", self.boundary)
    }

    /// Of the whole answer, in bytes.
    pub fn content_length(&self) -> u64 {
        let part = |range: &ByteRange| self.head(*range).len() as u64 + range.len() + LINE_END.len() as u64;
        self.ranges.iter().map(part).sum::<u64>() + self.end().len() as u64
    }

    /// What stands before the bytes of a range.
    pub fn head(&self, range: ByteRange) -> Bytes {
        let Multipart {
            boundary,
            content_type,
            object_length,
            ..
        } = self;
        let content_range = range.content_range(*object_length);
        Bytes::from(format!(
            "--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
        ))
    }

    /// What stands after the last part.
    pub fn end(&self) -> Bytes {
        Bytes::from(format!("--{}--", self.boundary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_length_is_that_of_the_parts() {
        let ranges = vec![ByteRange { start: 0, end: 1 }, ByteRange { start: 90, end: 100 }];
        let answer = Multipart::new("text/plain", 100, ranges.clone());
        let mut written = Vec::new();
        for range in ranges {
            written.extend_from_slice(&answer.head(range));
            written.extend(std::iter::repeat_n(b'x', range.len() as usize));
            written.extend_from_slice(&LINE_END);
        }
        written.extend_from_slice(&answer.end());
        assert_eq!(answer.content_length(), written.len() as u64);
        let text = String::from_utf8(written).unwrap();
        assert!(
            text.contains("\r\nContent-Range: bytes 90-99/100\r\n\r\nxxxxxxxxxx\r\n--"),
            "{text}"
        );
        assert_ne!(
            answer.boundary,
            Multipart::new("text/plain", 100, vec![]).boundary
        );
    }
}
