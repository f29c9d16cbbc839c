//! Reads ahead of HTTP, which would answer 400 itself to a path that is not UTF-8: such a path is handed on percent-encoded, so
//! that the handler says what it thinks of it.
//!
//! Only the first bytes of a request are looked at, and only where it is sure that a request begins: at the start of a
//! connection, and after a request without a body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Tells the reader of a connection that the next bytes begin a request.
#[derive(Clone, Debug)]
pub struct AtStart(Arc<AtomicBool>);

impl AtStart {
    pub fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection whose request lines are readable for HTTP.
pub struct Readable<S> {
    stream: S,
    at_start: AtStart,
    /// What an encoded line left no room for.
    left: Vec<u8>,
}

impl<S> Readable<S> {
    pub fn new(stream: S) -> (Self, AtStart) {
        let at_start = AtStart(Arc::new(AtomicBool::new(true)));
        let readable = Readable {
            stream,
            at_start: at_start.clone(),
            left: Vec::new(),
        };
        (readable, at_start)
    }
}

/// The same bytes with the path encoded; `None` if HTTP can read them as they are.
fn encoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    if std::str::from_utf8(line).is_ok() {
        return None;
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !method.is_ascii() || !version.starts_with(b"HTTP/1.") {
        return None;
    }
    let mut out = [method, b" "].concat();
    for byte in target {
        match byte {
            0x80.. => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b' ');
    out.extend_from_slice(version);
    out.extend_from_slice(&bytes[end..]);
    Some(out)
}

impl<S: AsyncRead + Unpin> AsyncRead for Readable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            if !this.at_start.0.swap(false, Ordering::AcqRel) {
                return Poll::Ready(Ok(()));
            }
            let Some(encoded) = encoded(&buffer.filled()[before..]) else {
                return Poll::Ready(Ok(()));
            };
            buffer.set_filled(before);
            this.left = encoded;
        }
        let length = this.left.len().min(buffer.remaining());
        buffer.put_slice(&this.left[..length]);
        this.left.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Readable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn only_request_lines_that_http_cannot_read_are_encoded() {
        for (given, expected) in [
            (&b"GET /a HTTP/1.1\r\n\r\n"[..], None),
            ("GET /ü HTTP/1.1\r\n\r\n".as_bytes(), None),
            (b"GET /a HTTP/1.1\r\nname: \xff\r\n\r\n", None),
            (b"GET /\xff", None),
            (b"not a request \xff\n", None),
            (b"GET /\xff b HTTP/1.1\r\n", None),
            (
                b"GET /a\xff%41\xfe?\xc3 HTTP/1.1\r\nname: \xff\r\n\r\n",
                Some(&b"GET /a%FF%41%FE?%C3 HTTP/1.1\r\nname: \xff\r\n\r\n"[..]),
            ),
        ] {
            assert_eq!(encoded(given).as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn no_byte_is_lost_in_small_reads_and_bodies_are_left_alone() {
        let (mut readable, at_start) = Readable::new(&b"GET /\xff HTTP/1.1\r\n\r\n"[..]);
        let mut read = Vec::new();
        while let Ok(byte) = readable.read_u8().await {
            read.push(byte);
        }
        // The first read of one byte showed no line: nothing is changed.
        assert_eq!(read, b"GET /\xff HTTP/1.1\r\n\r\n");
        at_start.tell();
        let (mut readable, at_start) = Readable::new(&b"GET /\xff\xff\xff HTTP/1.1\r\n\r\n"[..]);
        let mut first = [0; 23];
        readable.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        readable.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), b"GET /%FF%FF%FF HTTP/1.1\r\n\r\n");
        drop(at_start);
    }
}
