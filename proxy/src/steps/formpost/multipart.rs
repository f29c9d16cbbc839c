//! Takes a `multipart/form-data` body apart as its bytes come, however they are cut. Pure; holds a header block or the
//! beginning of a delimiter, never a part.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the headers of one part.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// Bytes of a boundary. RFC 2046 allows 70.
const MAX_BOUNDARY_BYTES: usize = 200;
/// Blank lines before the first boundary.
const MAX_BLANK_LINES: usize = 16;
/// Spaces and tabs after a boundary.
const MAX_PADDING_BYTES: usize = 128;

/// What comes next in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins; its headers, without the blank line after them.
    Headers(Bytes),
    /// Bytes of the part.
    Data(Bytes),
    /// The part is whole.
    PartEnd,
    /// The last part was whole. What follows means nothing.
    End,
}

/// Why a body is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with its boundary, or there can be none.
    Start,
    /// After a boundary comes neither a new part nor the end.
    Boundary,
    /// The headers of a part do not end.
    Headers,
    /// It ends before its last boundary.
    Truncated,
}

impl Malformed {
    pub fn words(self) -> &'static str {
        match self {
            Malformed::Start => "invalid starting boundary",
            Malformed::Boundary => "invalid boundary",
            Malformed::Headers => "invalid headers of a part",
            Malformed::Truncated => "unexpected end of the form",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start {
        blank_lines: usize,
    },
    AfterBoundary,
    /// So many bytes of the buffer are known not to end the headers.
    Headers {
        searched: usize,
    },
    Data,
    /// All data of the part was given. It is whole only if what follows the boundary is well formed.
    Boundary,
    End,
}

/// One body on its way.
#[derive(Debug)]
pub struct Decoder {
    /// `\r\n--boundary`.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl Decoder {
    pub fn new(boundary: &str) -> Result<Self, Malformed> {
        let is_possible =
            (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) && !boundary.contains(['\r', '\n']);
        if !is_possible {
            return Err(Malformed::Start);
        }
        Ok(Decoder {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            buffer: BytesMut::new(),
            state: State::Start { blank_lines: 0 },
        })
    }

    /// Takes in what came; call [`Decoder::next`] until it gives nothing before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event; `None`: more bytes are needed.
    pub fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Start { blank_lines } => {
                    if !self.start(blank_lines)? {
                        return Ok(None);
                    }
                }
                State::AfterBoundary => match self.after_boundary()? {
                    None => return Ok(None),
                    Some(true) => {}
                    Some(false) => return Ok(Some(Event::End)),
                },
                State::Headers { searched } => return self.headers(searched),
                State::Data => {
                    if let Some(data) = self.data() {
                        return Ok(Some(Event::Data(data)));
                    }
                    if self.state == State::Data {
                        return Ok(None);
                    }
                }
                State::Boundary => return Ok(self.after_boundary()?.map(|_| Event::PartEnd)),
                State::End => return Ok(Some(Event::End)),
            }
        }
    }

    /// Tells that no more bytes will come.
    pub fn finish(&self) -> Malformed {
        match self.state {
            State::Start { .. } => Malformed::Start,
            _ => Malformed::Truncated,
        }
    }

    /// Looks for the first boundary, which may stand after blank lines. `false`: more bytes are needed.
    fn start(&mut self, blank_lines: usize) -> Result<bool, Malformed> {
        if self.buffer.starts_with(b"\r\n") {
            if blank_lines >= MAX_BLANK_LINES {
                return Err(Malformed::Start);
            }
            self.buffer.advance(2);
            self.state = State::Start {
                blank_lines: blank_lines + 1,
            };
            return Ok(true);
        }
        let wanted = &self.delimiter[2..];
        if self.buffer.starts_with(wanted) {
            self.buffer.advance(wanted.len());
            self.state = State::AfterBoundary;
            return Ok(true);
        }
        let may_come = wanted.starts_with(&self.buffer) || *self.buffer == *b"\r";
        if may_come {
            Ok(false)
        } else {
            Err(Malformed::Start)
        }
    }

    /// `Some(true)`: a part begins; `Some(false)`: the form ends here.
    fn after_boundary(&mut self) -> Result<Option<bool>, Malformed> {
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            self.buffer.clear();
            return Ok(Some(false));
        }
        if *self.buffer == *b"-" {
            return Ok(None);
        }
        let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        let padding = padding.count();
        let rest = &self.buffer[padding..];
        if padding > MAX_PADDING_BYTES {
            return Err(Malformed::Boundary);
        }
        if rest.starts_with(b"\r\n") {
            self.buffer.advance(padding + 2);
            self.state = State::Headers { searched: 0 };
            return Ok(Some(true));
        }
        if rest.is_empty() || rest == b"\r" {
            return Ok(None);
        }
        Err(Malformed::Boundary)
    }

    fn headers(&mut self, searched: usize) -> Result<Option<Event>, Malformed> {
        const END: &[u8] = b"\r\n\r\n";
        let end = if self.buffer.starts_with(b"\r\n") {
            Some((0, 2))
        } else {
            let found = find(&self.buffer[searched..], END);
            found.map(|at| (searched + at, END.len()))
        };
        match end {
            Some((at, _)) if at > MAX_HEADER_BYTES => Err(Malformed::Headers),
            Some((at, length)) => {
                let block = self.buffer.split_to(at).freeze();
                // A boundary among the headers: the part before it never began.
                if find(&block, &self.delimiter).is_some() || block.starts_with(&self.delimiter[2..]) {
                    return Err(Malformed::Headers);
                }
                self.buffer.advance(length);
                self.state = State::Data;
                Ok(Some(Event::Headers(block)))
            }
            None if self.buffer.len() > MAX_HEADER_BYTES + END.len() => Err(Malformed::Headers),
            None => {
                let searched = self.buffer.len().saturating_sub(END.len() - 1);
                self.state = State::Headers { searched };
                Ok(None)
            }
        }
    }

    /// Bytes that are certainly of the part; `None`: there are none yet, or the part ended.
    fn data(&mut self) -> Option<Bytes> {
        if let Some(at) = find(&self.buffer, &self.delimiter) {
            let data = self.buffer.split_to(at).freeze();
            self.buffer.advance(self.delimiter.len());
            self.state = State::Boundary;
            return (!data.is_empty()).then_some(data);
        }
        // What may be the beginning of a delimiter waits for what follows.
        let tail_at = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
        let held = (tail_at..self.buffer.len()).find(|at| self.delimiter.starts_with(&self.buffer[*at..]));
        let data = self.buffer.split_to(held.unwrap_or(self.buffer.len())).freeze();
        (!data.is_empty()).then_some(data)
    }
}

/// Where `wanted`, which begins with a carriage return, begins.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\r') {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts, as headers and data; how the body was cut must not matter.
    type Parts = Vec<(String, Vec<u8>)>;

    fn decode(boundary: &str, chunks: &[&[u8]]) -> Result<Parts, Malformed> {
        let mut decoder = Decoder::new(boundary)?;
        let mut parts: Parts = Vec::new();
        let mut is_open = false;
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(event) = decoder.next()? {
                match event {
                    Event::Headers(block) => {
                        assert!(!is_open);
                        is_open = true;
                        parts.push((String::from_utf8(block.to_vec()).unwrap(), Vec::new()));
                    }
                    Event::Data(data) => {
                        assert!(is_open && !data.is_empty());
                        parts.last_mut().unwrap().1.extend_from_slice(&data);
                    }
                    Event::PartEnd => {
                        assert!(is_open);
                        is_open = false;
                    }
                    Event::End => {
                        assert!(!is_open);
                        return Ok(parts);
                    }
                }
            }
        }
        Err(decoder.finish())
    }

    fn decode_cut(boundary: &str, body: &[u8], size: usize) -> Result<Parts, Malformed> {
        decode(boundary, &body.chunks(size).collect::<Vec<_>>())
    }

    #[test]
    fn however_a_body_is_cut() {
        let body = b"\r\n--xyz\r\nA: 1\r\nB: 2\r\n\r\nvalue\r\n--xyz \t\r\n\r\n\r\n--xyz\r\nC: 3\r\n\r\n\
            \r\r\n\r\n-\r\n--\r\n--x\r\n--xy\n--xyz\r--xyz\r\n--xyz--\r\nepilogue\r\n--xyz\r\n";
        let expected: Parts = vec![
            ("A: 1\r\nB: 2".into(), b"value".to_vec()),
            (String::new(), Vec::new()),
            (
                "C: 3".into(),
                b"\r\r\n\r\n-\r\n--\r\n--x\r\n--xy\n--xyz\r--xyz".to_vec(),
            ),
        ];
        for size in 1..=body.len() {
            assert_eq!(
                decode_cut("xyz", body, size),
                Ok(expected.clone()),
                "in pieces of {size}"
            );
        }
        for at in 0..body.len() {
            assert_eq!(
                decode("xyz", &[&body[..at], &body[at..]]),
                Ok(expected.clone()),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_body_that_ends_early_is_no_form() {
        let body = b"--xyz\r\nA: 1\r\n\r\nvalue\r\n--xyz--";
        assert!(decode("xyz", &[body]).is_ok());
        for length in 0..body.len() {
            let expected = if length < 5 {
                Malformed::Start
            } else {
                Malformed::Truncated
            };
            assert_eq!(decode("xyz", &[&body[..length]]), Err(expected), "{length} bytes");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let long = format!("--xyz\r\nA: {}\r\n\r\n", "a".repeat(MAX_HEADER_BYTES));
        let blank = "\r\n".repeat(MAX_BLANK_LINES + 1) + "--xyz--";
        let padded = format!("--xyz{}\r\n\r\n", " ".repeat(MAX_PADDING_BYTES + 1));
        for (boundary, body, expected) in [
            ("xyz", "XX--xyz\r\n", Malformed::Start),
            ("xyz", "\n--xyz\r\n", Malformed::Start),
            ("xyz", "--xyw\r\n", Malformed::Start),
            ("xyz", "", Malformed::Start),
            ("xyz", &blank, Malformed::Start),
            ("", "----", Malformed::Start),
            ("xyz", "--xyzw\r\n\r\n", Malformed::Boundary),
            ("xyz", "--xyz-\r\n\r\n", Malformed::Boundary),
            ("xyz", "--xyz \rX", Malformed::Boundary),
            ("xyz", &padded, Malformed::Boundary),
            ("xyz", "--xyz\r\n\r\nv\r\n--xyzw\r\n", Malformed::Boundary),
            ("xyz", &long, Malformed::Headers),
            ("xyz", &long[..long.len() - 4], Malformed::Truncated),
            (
                "xyz",
                "--xyz\r\nA: 1\r\n--xyz\r\nB: 1\r\n\r\n",
                Malformed::Headers,
            ),
            ("xyz", "--xyz\r\n--xyz\r\nB: 1\r\n\r\n", Malformed::Headers),
        ] {
            for size in [1, 3, 1_000_000] {
                let found = decode_cut(boundary, body.as_bytes(), size);
                assert_eq!(found, Err(expected), "{boundary} in pieces of {size}: {body}");
            }
        }
        assert_eq!(
            Decoder::new(&"b".repeat(MAX_BOUNDARY_BYTES + 1)).err(),
            Some(Malformed::Start)
        );
        assert_eq!(decode("xyz", &[b"--xyz--"]), Ok(Vec::new()));
    }

    #[test]
    fn little_is_held() {
        let mut decoder = Decoder::new("xyz").unwrap();
        decoder.push(b"--xyz\r\n\r\n");
        assert_eq!(decoder.next(), Ok(Some(Event::Headers(Bytes::new()))));
        for _ in 0..100 {
            decoder.push(&[b'\r'; 1000]);
            while decoder.next().unwrap().is_some() {}
            assert!(decoder.buffer.len() < decoder.delimiter.len());
        }
        decoder.push(b"\r\n--xyz--");
        while decoder.next().unwrap() != Some(Event::End) {}
        decoder.push(&[b'e'; 1000]);
        assert!(decoder.buffer.is_empty());
    }
}
