//! User metadata of S3 whose name is no name in HTTP, such as `x-amz-meta-(`: clients send and expect it, and the HTTP
//! library refuses it. So it is taken out of a request's head before the library reads it, and put into a response's head
//! after the library has written it; in between it travels as [`OddHeaders`] in the extensions.
//!
//! - `read`: finds the heads in what a client sends, by HTTP's own framing. Pure. Where the framing is not plain (chunked
//!   bodies, bare line feeds, doubtful lengths) it lets everything through as it is for the rest of the connection, and
//!   such names are refused as ever. Lines keep their length, so what follows a head stays where it was.
//! - `write`: puts names in the place of marks that nobody outside this process can know.

mod read;
mod write;

use read::Reader;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Request, Response, headers};
use write::Marked;

/// Bytes read at once while a head is awaited.
const HEAD_CHUNK_BYTES: usize = 8 * 1024;

/// Headers with names that HTTP does not have, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OddHeaders(pub Vec<OddHeader>);

/// One of them; the name is in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddHeader {
    pub name: String,
    pub value: Vec<u8>,
}

impl OddHeaders {
    /// All values of a name joined by commas, as signatures take them.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self
            .0
            .iter()
            .filter(|header| header.name == name)
            .map(|header| header.value.as_slice())
            .collect();
        (!values.is_empty()).then(|| values.join(&b","[..]))
    }
}

/// What a connection's two ends tell each other.
#[derive(Default)]
pub struct Exchange {
    /// One entry for each head that was read and not yet asked for.
    incoming: Mutex<VecDeque<OddHeaders>>,
    outgoing: Mutex<Vec<Marked>>,
    has_outgoing: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// Gives a request that the library has read the headers that were taken from it.
    pub fn complete(&self, request: &mut Request) {
        let Some(odd) = locked(&self.incoming).pop_front().filter(|odd| !odd.0.is_empty()) else {
            return;
        };
        let stand_ins: Vec<_> = request
            .headers()
            .keys()
            .filter(|name| name.as_str().starts_with(read::STAND_IN))
            .cloned()
            .collect();
        for name in stand_ins {
            request.headers_mut().remove(name);
        }
        request.extensions_mut().insert(odd);
    }

    /// Marks in a response's head where its odd headers are to stand.
    pub fn prepare(&self, response: &mut Response) {
        static NONCE: OnceLock<String> = OnceLock::new();
        let Some(odd) = response.extensions_mut().remove::<OddHeaders>() else {
            return;
        };
        let nonce = NONCE.get_or_init(|| format!("{:032x}", rand::random::<u128>()));
        let mut outgoing = locked(&self.outgoing);
        for (position, header) in odd.0.into_iter().enumerate() {
            let mark = format!("x-odd-{nonce}-{position}");
            if !write::is_safe(&header.name) {
                continue;
            }
            let Ok(value) = std::str::from_utf8(&header.value) else {
                continue;
            };
            headers::set(response.headers_mut(), &mark, value);
            outgoing.push(Marked {
                mark: format!("\r\n{mark}:").into_bytes(),
                name: format!("\r\n{}:", header.name).into_bytes(),
            });
        }
        self.has_outgoing.store(!outgoing.is_empty(), Ordering::Release);
    }
}

/// A connection that takes odd names out and puts them in.
pub struct OddNames<S> {
    inner: S,
    reader: Reader,
    exchange: Arc<Exchange>,
    /// What was written to us and not yet to the connection.
    out: Vec<u8>,
}

impl<S> OddNames<S> {
    pub fn new(inner: S, max_head_bytes: usize) -> (Self, Arc<Exchange>) {
        let exchange = Arc::new(Exchange::default());
        let connection = OddNames {
            inner,
            reader: Reader::new(max_head_bytes),
            exchange: exchange.clone(),
            out: Vec::new(),
        };
        (connection, exchange)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OddNames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = buffer.filled().len();
        loop {
            if this.reader.hand_out(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.reader.awaits_head() {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
                let passed = this.reader.pass(&buffer.filled()[before..]);
                buffer.set_filled(before + passed);
            } else {
                let mut space = [MaybeUninit::uninit(); HEAD_CHUNK_BYTES];
                let mut chunk = ReadBuf::uninit(&mut space);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
                if chunk.filled().is_empty() {
                    this.reader.end();
                    this.reader.hand_out(buffer);
                    return Poll::Ready(Ok(()));
                }
                this.reader.feed(chunk.filled());
            }
            let heads = this.reader.take_heads();
            if !heads.is_empty() {
                locked(&this.exchange.incoming).extend(heads);
            }
            if buffer.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
            // The end of the connection, seen while a body was awaited.
            if !this.reader.awaits_head() && !this.reader.has_ready() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> OddNames<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is to be written, names in the place of their marks.
    fn take(&mut self, slices: &[io::IoSlice<'_>]) -> usize {
        let mut length = 0;
        for slice in slices {
            self.out.extend_from_slice(slice);
            length += slice.len();
        }
        let mut outgoing = locked(&self.exchange.outgoing);
        write::replace(&mut self.out, &mut outgoing);
        self.exchange
            .has_outgoing
            .store(!outgoing.is_empty(), Ordering::Release);
        length
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OddNames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        if !self.exchange.has_outgoing.load(Ordering::Acquire) {
            return Pin::new(&mut self.inner).poll_write(cx, data);
        }
        Poll::Ready(Ok(self.take(&[io::IoSlice::new(data)])))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(cx))?;
        if !self.exchange.has_outgoing.load(Ordering::Acquire) {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        }
        Poll::Ready(Ok(self.take(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxFuture, Handler, ServeOptions, Shutdown, serve};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Gives back what odd headers came, and how long the body was.
    struct Mirror;

    impl Handler for Mirror {
        fn call(&self, mut request: Request) -> BoxFuture<'_, Response> {
            Box::pin(async move {
                let odd = request.extensions_mut().remove::<OddHeaders>();
                let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
                let body = crate::collect(std::mem::take(request.body_mut()), 1024)
                    .await
                    .unwrap();
                let words = format!("{} {}", names.join(","), body.len());
                let mut response = Response::new(crate::Body::full(words));
                if let Some(odd) = odd {
                    response.extensions_mut().insert(odd);
                }
                response
            })
        }
    }

    #[tokio::test]
    async fn names_travel_both_ways_over_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions::public("test");
        let (trigger, shutdown) = Shutdown::new();
        let server = tokio::spawn(serve(listener, Arc::new(Mirror), options, shutdown));
        let mut client = TcpStream::connect(address).await.unwrap();
        let put = "PUT /o HTTP/1.1\r\nhost: a\r\nx-amz-meta-(: one\r\ncontent-length: 4\r\n\r\nbody";
        let get = "GET /o HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client
            .write_all(format!("{put}{put}{get}").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.matches("\r\nx-amz-meta-(: one\r\n").count(), 2, "{answer}");
        assert_eq!(answer.matches("host,content-length 4").count(), 2, "{answer}");
        assert!(answer.ends_with("host,connection 0"), "{answer}");
        assert!(!answer.to_ascii_lowercase().contains("x-odd-"), "{answer}");
        trigger.trigger();
        server.await.unwrap();
    }
}
