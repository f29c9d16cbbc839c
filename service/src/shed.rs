//! Load shedding: so many requests are at work, so many may wait for a bounded while, and whoever comes on top is sent away
//! at once. A client that is told to come back later is better off than one that waits in a queue that only grows.

use crate::{Body, BodyError, BoxFuture, Handler, Request, Response, respond};
use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use http_body::{Body as HttpBody, Frame, SizeHint};
use metrics::Counter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seconds that a client is asked to stay away.
pub const RETRY_AFTER_SECS: u64 = 1;

/// How much may be under way at once.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Requests at work: until the last byte of the response has been taken.
    pub at_work: usize,
    /// Requests that wait until one of those has ended.
    pub waiting: usize,
    /// How long one waits at most, milliseconds.
    pub max_wait_ms: u64,
}

/// A handler behind its bounds.
pub struct Bounded {
    inner: Arc<dyn Handler>,
    seats: Arc<Semaphore>,
    queue: Semaphore,
    max_wait: Duration,
    /// What is answered however much there is to do: whether the process is up.
    is_exempt: fn(&Request) -> bool,
    shed: Counter,
}

impl Bounded {
    pub fn new(inner: Arc<dyn Handler>, bounds: &Bounds, is_exempt: fn(&Request) -> bool) -> Arc<Self> {
        let at_most = |count: usize| count.min(Semaphore::MAX_PERMITS);
        Arc::new(Bounded {
            inner,
            seats: Arc::new(Semaphore::new(at_most(bounds.at_work.max(1)))),
            queue: Semaphore::new(at_most(bounds.waiting)),
            max_wait: Duration::from_millis(bounds.max_wait_ms),
            is_exempt,
            shed: metrics::counter!("martlet_shed_total", "what" => "requests"),
        })
    }

    /// A seat at once, or after a wait; `None`: there is no hope of one.
    async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(seat) = self.seats.clone().try_acquire_owned() {
            return Some(seat);
        }
        let _place = self.queue.try_acquire().ok()?;
        let seat = tokio::time::timeout(self.max_wait, self.seats.clone().acquire_owned());
        seat.await.ok()?.ok()
    }
}

impl Handler for Bounded {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        if (self.is_exempt)(&request) {
            return self.inner.call(request);
        }
        Box::pin(async move {
            let Some(seat) = self.seat().await else {
                self.shed.increment(1);
                return too_much();
            };
            let response = self.inner.call(request).await;
            // What is in memory costs nothing more; what streams is work until it ends.
            if response.body().as_full().is_some() {
                return response;
            }
            response.map(|body| Body::boxed(Seated { body, _seat: seat }))
        })
    }
}

fn too_much() -> Response {
    let text = "Too many requests at once, come back in a moment";
    let mut response = respond::text(StatusCode::SERVICE_UNAVAILABLE, text);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    response
}

/// A body that keeps its request's seat until it is dropped.
struct Seated {
    body: Body,
    _seat: OwnedSemaphorePermit,
}

impl HttpBody for Seated {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BodySender;
    use std::sync::Mutex;

    /// Answers with bodies that end when the test says so.
    #[derive(Default)]
    struct Slow(Mutex<Vec<BodySender>>);

    impl Handler for Slow {
        fn call(&self, _: Request) -> BoxFuture<'_, Response> {
            let (sender, body) = Body::channel(1);
            self.0.lock().unwrap().push(sender);
            Box::pin(std::future::ready(Response::new(body)))
        }
    }

    fn bounds(at_work: usize, waiting: usize, max_wait_ms: u64) -> Bounds {
        Bounds {
            at_work,
            waiting,
            max_wait_ms,
        }
    }

    fn ask(path: &str) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request
    }

    #[tokio::test]
    async fn whoever_comes_on_top_is_sent_away_at_once() {
        let bounded = Bounded::new(Arc::new(Slow::default()), &bounds(2, 1, 3_600_000), |request| {
            request.uri().path() == "/healthcheck"
        });
        let first = bounded.call(ask("/1")).await;
        let second = bounded.call(ask("/2")).await;
        let (patient, own) = (bounded.clone(), Arc::new(tokio::sync::Notify::new()));
        let told = own.clone();
        let waiting = tokio::spawn(async move {
            let third = patient.call(ask("/3"));
            told.notify_one();
            third.await.status()
        });
        own.notified().await;
        while bounded.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let sent_away = bounded.call(ask("/4")).await;
        assert_eq!(sent_away.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(sent_away.headers()[RETRY_AFTER], "1");
        assert_eq!(bounded.call(ask("/healthcheck")).await.status(), StatusCode::OK);
        // The end of a response, not its beginning, makes room.
        drop(first);
        assert_eq!(waiting.await.unwrap(), StatusCode::OK);
        drop(second);
        assert_eq!(bounded.call(ask("/5")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let bounded = Bounded::new(Arc::new(Slow::default()), &bounds(1, 8, 1), |_| false);
        let _at_work = bounded.call(ask("/")).await;
        assert_eq!(
            bounded.call(ask("/")).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(bounded.queue.available_permits(), 8, "its place is free again");
    }
}
