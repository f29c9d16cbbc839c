//! How header names are written on the wire: titled, as Swift writes them, but for S3's own, which its SDKs read as they stand.
//!
//! Most clients do not care. Some Swift scripts look for `X-Object-Meta-Color`; S3's SDKs take the name of an item of user
//! metadata from `x-amz-meta-color` letter by letter. HTTP titles all names of a connection or none, and lets a response
//! bring names in the case in which a request had them. So names that must not be titled are put into a request which is
//! read here, in memory, as if it had come in.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Extensions, HeaderMap};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Names of this family stay in lower case.
const LOWER_CASE: &str = "x-amz-";
/// Sets of names remembered by each thread; past it all are forgotten. User metadata has names without end.
const REMEMBERED: usize = 256;

thread_local! {
    static KNOWN: RefCell<HashMap<String, Extensions>> = RefCell::default();
}

/// Has a response's names written as its clients need them, on a connection that titles all names.
pub fn keep_lower_case(response: &mut crate::Response) {
    let head = lower_case_head(response.headers());
    if head.is_empty() {
        return;
    }
    let cases = KNOWN.with_borrow_mut(|known| match known.get(&head) {
        Some(cases) => cases.clone(),
        None => {
            let cases = read(&head).unwrap_or_default();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(head, cases.clone());
            cases
        }
    });
    response.extensions_mut().extend(cases);
}

/// The names as lines of a request's head; empty if there are none.
fn lower_case_head(map: &HeaderMap) -> String {
    let mut lines: Vec<&str> = map
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with(LOWER_CASE))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.sort_unstable();
    lines.push("ETag");
    lines.iter().map(|name| format!("{name}: x\r\n")).collect()
}

/// Reads a request of these header lines, and gives what HTTP has noted of their case.
fn read(lines: &str) -> Option<Extensions> {
    let noted = Arc::new(Mutex::new(None));
    let note = noted.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (parts, _) = request.into_parts();
        *note.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(parts.extensions);
        std::future::ready(Ok::<_, Infallible>(crate::Response::default()))
    });
    let wire = Wire(Bytes::from(format!("GET / HTTP/1.1\r\n{lines}\r\n")));
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .keep_alive(false)
        .max_headers(1_024)
        .serve_connection(wire, service);
    // The wire never lets one wait: it is done at once.
    let _ = connection.now_or_never();
    noted
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .take()
}

/// A connection on which one request has come, and which takes any answer.
struct Wire(Bytes);

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.0.len().min(buffer.remaining());
        buffer.put_slice(&self.0.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxFuture, Handler, Request, Response, ServeOptions, Shutdown, headers, serve};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    struct Answers;

    impl Handler for Answers {
        fn call(&self, request: Request) -> BoxFuture<'_, Response> {
            Box::pin(async move {
                let mut response = Response::default();
                let map = response.headers_mut();
                headers::set(map, "etag", "e");
                if request.uri().path() == "/s3" {
                    headers::set(map, "x-amz-request-id", "1");
                    headers::set(map, "x-amz-meta-some-color", "2");
                }
                headers::set(map, "x-object-meta-color", "3");
                response
            })
        }
    }

    async fn answer(options: ServeOptions, path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let serving = tokio::spawn(serve(listener, Arc::new(Answers), options, shutdown));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        trigger.trigger();
        serving.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn names_are_titled_but_for_s3s_own() {
        let of_swift = answer(ServeOptions::public("test"), "/v1").await;
        assert!(of_swift.contains("\r\nX-Object-Meta-Color: 3\r\n"), "{of_swift}");
        assert!(of_swift.contains("\r\nContent-Length: 0\r\n"), "{of_swift}");
        // Twice: the second time the names are known.
        for _ in 0..2 {
            let of_s3 = answer(ServeOptions::public("test"), "/s3").await;
            for line in [
                "x-amz-request-id: 1",
                "x-amz-meta-some-color: 2",
                "ETag: e",
                "X-Object-Meta-Color: 3",
            ] {
                assert!(of_s3.contains(&format!("\r\n{line}\r\n")), "{line} in {of_s3}");
            }
        }
        let of_nodes = answer(ServeOptions::internal("test"), "/s3").await;
        assert!(of_nodes.contains("\r\nx-object-meta-color: 3\r\n"), "{of_nodes}");
    }
}
