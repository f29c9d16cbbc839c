//! Finds the heads in what a client sends, and takes odd names out of them. Pure: fed with bytes, it hands bytes on.

use super::{OddHeader, OddHeaders};
use std::collections::VecDeque;
use tokio::io::ReadBuf;

/// What the names that are looked for begin with.
const PREFIX: &str = "x-amz-meta-";
/// What stands in their place, as long as [`PREFIX`].
pub const STAND_IN: &str = "x-odd-meta-";

enum State {
    /// A head comes; what has come of it so far.
    Head(Vec<u8>),
    /// So many bytes of a body come.
    Body(u64),
    /// Nothing is looked at any more.
    Raw,
}

pub struct Reader {
    state: State,
    /// What may be handed on.
    ready: VecDeque<u8>,
    heads: Vec<OddHeaders>,
    max_head_bytes: usize,
}

/// What a head says of the bytes after it.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Body(u64),
    Unclear,
}

impl Reader {
    pub fn new(max_head_bytes: usize) -> Self {
        Reader {
            state: State::Head(Vec::new()),
            ready: VecDeque::new(),
            heads: Vec::new(),
            max_head_bytes,
        }
    }

    pub fn awaits_head(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hands on what there is and has room. Whether it was anything.
    pub fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let length = self.ready.len().min(buffer.remaining());
        if length == 0 {
            return false;
        }
        let (front, back) = self.ready.as_slices();
        let from_front = front.len().min(length);
        buffer.put_slice(&front[..from_front]);
        buffer.put_slice(&back[..length - from_front]);
        self.ready.drain(..length);
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
        true
    }

    /// The odd headers of each head that has become whole, also of those without any.
    pub fn take_heads(&mut self) -> Vec<OddHeaders> {
        std::mem::take(&mut self.heads)
    }

    /// Looks at bytes that were read straight into the reader's place, no head awaited. The first so many may stay there.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let State::Body(left) = &mut self.state else {
            return bytes.len();
        };
        let length = bytes.len() as u64;
        if length < *left {
            *left -= length;
            return bytes.len();
        }
        let own = usize::try_from(*left).unwrap_or(bytes.len());
        self.state = State::Head(Vec::new());
        if own < bytes.len() {
            self.feed(&bytes[own..]);
        }
        own
    }

    /// The client has ended: what was held back goes on as it is.
    pub fn end(&mut self) {
        if let State::Head(head) = std::mem::replace(&mut self.state, State::Raw) {
            self.ready.extend(head);
        }
    }

    /// Takes bytes in.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Raw => {
                    self.ready.extend(bytes);
                    return;
                }
                State::Body(left) => {
                    let own = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    self.ready.extend(&bytes[..own]);
                    *left -= own as u64;
                    bytes = &bytes[own..];
                    if *left == 0 {
                        self.state = State::Head(Vec::new());
                    }
                }
                State::Head(head) => {
                    // The mark of the end may have begun in what came before.
                    let looked_at = head.len().saturating_sub(3);
                    head.extend_from_slice(bytes);
                    bytes = &[];
                    let end =
                        memchr::memmem::find(&head[looked_at..], b"\r\n\r\n").map(|at| looked_at + at + 4);
                    let mut head = match end {
                        None if head.len() <= self.max_head_bytes && !has_bare_line_feed(head) => return,
                        _ => std::mem::take(head),
                    };
                    let Some(end) = end.filter(|end| !has_bare_line_feed(&head[..*end])) else {
                        self.ready.extend(head);
                        self.state = State::Raw;
                        return;
                    };
                    let rest = head.split_off(end);
                    let (next, odd) = take_odd(&mut head);
                    self.ready.extend(head);
                    self.heads.push(odd);
                    self.state = match next {
                        Next::Body(0) => State::Head(Vec::new()),
                        Next::Body(length) => State::Body(length),
                        Next::Unclear => State::Raw,
                    };
                    self.feed(&rest);
                }
            }
        }
    }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Puts stand-ins in the place of odd names, and reads what comes after the head.
fn take_odd(head: &mut [u8]) -> (Next, OddHeaders) {
    let mut odd = Vec::new();
    let mut length: Option<u64> = None;
    let mut is_clear = true;
    let mut is_first = true;
    let mut start = 0;
    while start < head.len() {
        let end = memchr::memchr(b'\n', &head[start..]).map_or(head.len(), |at| start + at + 1);
        let line = &mut head[start..end];
        start = end;
        let text_length = line.len().saturating_sub(2);
        let line = &mut line[..text_length];
        if line.is_empty() {
            continue;
        }
        if is_first {
            is_first = false;
            is_clear &= !line.starts_with(b"CONNECT ");
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            is_clear = false;
            continue;
        };
        let name = &line[..colon];
        let is_name = name.iter().all(|byte| is_token(*byte));
        if !is_name && starts_with_prefix(name) {
            let is_text = name.iter().all(|byte| matches!(byte, b'!'..=b'~'));
            match String::from_utf8(name.to_ascii_lowercase()) {
                Ok(name) if is_text => {
                    let value = line[colon + 1..].trim_ascii().to_vec();
                    odd.push(OddHeader { name, value });
                    line[..PREFIX.len()].copy_from_slice(STAND_IN.as_bytes());
                    line[PREFIX.len()..colon].fill(b'x');
                }
                _ => is_clear = false,
            }
            continue;
        }
        if !is_name || name.eq_ignore_ascii_case(b"transfer-encoding") {
            is_clear = false;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(line[colon + 1..].trim_ascii())
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok());
            is_clear &= length.is_none() && number.is_some();
            length = number;
        }
    }
    let next = if is_clear {
        Next::Body(length.unwrap_or(0))
    } else {
        Next::Unclear
    };
    (next, OddHeaders(odd))
}

fn starts_with_prefix(name: &[u8]) -> bool {
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// What names are made of in HTTP.
fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_') || b"!#$%&'*+.^`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is handed on, and the odd headers of each head, when the bytes come in pieces of a size.
    fn check(input: &str, piece: usize) -> (String, Vec<Vec<(String, String)>>) {
        let mut reader = Reader::new(256);
        let mut out = String::new();
        let mut heads = Vec::new();
        for bytes in input.as_bytes().chunks(piece) {
            if reader.awaits_head() {
                reader.feed(bytes);
            } else {
                let passed = reader.pass(bytes);
                out.push_str(std::str::from_utf8(&bytes[..passed]).unwrap());
            }
            heads.extend(reader.take_heads());
            out.extend(reader.ready.drain(..).map(char::from));
        }
        reader.end();
        out.extend(reader.ready.drain(..).map(char::from));
        let text = |header: OddHeader| (header.name, String::from_utf8(header.value).unwrap());
        let heads = heads
            .into_iter()
            .map(|odd| odd.0.into_iter().map(text).collect())
            .collect();
        (out, heads)
    }

    #[test]
    fn odd_names_are_taken_from_heads_and_from_nothing_else() {
        let put = "PUT /o HTTP/1.1\r\nX-Amz-Meta-(: one \r\ncontent-length: 20\r\n\r\n";
        let body = "x-amz-meta-(: body\r\n";
        let get = "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let input = format!("{put}{body}{get}{put}{body}");
        let changed = put.replace("X-Amz-Meta-(", "x-odd-meta-x");
        let expected = format!("{changed}{body}{get}{changed}{body}");
        let odd = vec![("x-amz-meta-(".to_owned(), "one".to_owned())];
        for piece in [1, 2, 3, 7, 64, 1000] {
            let (out, heads) = check(&input, piece);
            assert_eq!(out, expected, "in pieces of {piece}");
            assert_eq!(heads, [odd.clone(), vec![], odd.clone()]);
        }
    }

    #[test]
    fn where_framing_is_not_plain_nothing_more_is_touched() {
        let odd = "GET / HTTP/1.1\r\nx-amz-meta-(: 1\r\n\r\n";
        for opening in [
            "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "PUT / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
            "PUT / HTTP/1.1\r\ncontent-length : 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nno colon\r\n\r\n",
            "PUT / HTTP/1.1\nhost: a\n\n",
            "CONNECT a:1 HTTP/1.1\r\n\r\n",
            "PUT / HTTP/1.1\r\nx-amz-meta-\u{1}: a\r\n\r\n",
        ] {
            let input = format!("{opening}{odd}");
            for piece in [1, 5, 1000] {
                assert_eq!(check(&input, piece).0, input, "{opening}");
            }
        }
        let long = format!("GET /{} HTTP/1.1\r\n{odd}", "a".repeat(300));
        assert_eq!(check(&long, 1000).0.len(), long.len());
        let cut = "GET / HTTP/1.1\r\nx-amz-meta-(";
        assert_eq!(check(cut, 3).0, cut);
    }
}
