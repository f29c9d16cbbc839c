//! Bodies of answers whose outcome takes long: white space keeps the connection alive until the report is there.
//!
//! See the `heartbeat` parameters and reports in Swift's SLO, bulk and copy middleware documentation.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use martlet_service::{Body, BodyError};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Stands between the white space and the report.
const SEPARATOR: &[u8] = b"\r\n\r\n";
const SPACE: &[u8] = b" ";

/// How a body beats.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// The first beat: a space, or what must come first in a document, such as the declaration of XML.
    pub first: &'static [u8],
    /// Whether the first beat goes out before any work, so that the client has its status.
    pub at_once: bool,
    /// Between beats.
    pub every: Duration,
}

impl Heartbeat {
    /// A beat at once, then spaces.
    pub fn at_once(every: Duration) -> Self {
        Heartbeat {
            first: SPACE,
            at_once: true,
            every,
        }
    }

    /// No beat while the work is quicker than `every`; `format` is the report's content type.
    pub fn when_slow(every: Duration, format: &str) -> Self {
        let first: &[u8] = if format.ends_with("/xml") {
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        } else {
            SPACE
        };
        Heartbeat {
            first,
            at_once: false,
            every,
        }
    }

    /// A body that beats until `work` gives its report. Unless it beats at once, it is there only when the work is done or
    /// has proved slow: who is quick answers as if there were no heartbeats. The work rests when the body is not read and
    /// ends with it; what must run to its end although the client leaves belongs in a task that `work` waits for.
    pub async fn body(self, work: impl Future<Output = Bytes> + Send + 'static) -> Body {
        let mut state = Beating {
            work: Box::pin(work),
            heartbeat: self,
            has_beaten: false,
        };
        let mut first = None;
        if !self.at_once {
            match state.next().await {
                (report, None) => return Body::full(report),
                (beat, Some(beating)) => {
                    first = Some(beat);
                    state = beating;
                }
            }
        }
        let first = stream::iter(first.map(Ok));
        let rest = stream::unfold(Some(state), |state| async move {
            let (chunk, state) = state?.next().await;
            Some((Ok::<Bytes, BodyError>(chunk), state))
        });
        Body::stream(first.chain(rest))
    }
}

struct Beating {
    work: Pin<Box<dyn Future<Output = Bytes> + Send>>,
    heartbeat: Heartbeat,
    has_beaten: bool,
}

impl Beating {
    async fn next(mut self) -> (Bytes, Option<Self>) {
        if self.heartbeat.at_once && !self.has_beaten {
            return self.beat();
        }
        tokio::select! {
            biased;
            report = &mut self.work => {
                let mut last = Vec::with_capacity(report.len() + SEPARATOR.len());
                if self.has_beaten {
                    last.extend_from_slice(SEPARATOR);
                }
                last.extend_from_slice(&report);
                (Bytes::from(last), None)
            }
            () = tokio::time::sleep(self.heartbeat.every) => self.beat(),
        }
    }

    fn beat(mut self) -> (Bytes, Option<Self>) {
        let beat = if self.has_beaten {
            SPACE
        } else {
            self.heartbeat.first
        };
        self.has_beaten = true;
        (Bytes::from_static(beat), Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::collect;

    /// The text of a body whose work ends once the body was there, and `beats` chunks of it were read.
    async fn slow(heartbeat: Heartbeat, beats: usize) -> String {
        let (done, waits) = tokio::sync::oneshot::channel::<()>();
        let work = async move {
            let _ = waits.await;
            Bytes::from_static(b"report")
        };
        let mut body = heartbeat.body(work).await;
        let mut text = String::new();
        for _ in 0..beats {
            let beat = body.next().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&beat).unwrap());
        }
        done.send(()).unwrap();
        let rest = collect(body, 1 << 10).await.unwrap();
        text + std::str::from_utf8(&rest).unwrap()
    }

    #[tokio::test]
    async fn white_space_until_the_report() {
        let (often, never) = (Duration::from_millis(1), Duration::from_secs(3600));
        assert_eq!(slow(Heartbeat::at_once(never), 1).await, " \r\n\r\nreport");
        assert!(slow(Heartbeat::at_once(often), 3).await.starts_with("   "));
        let plain = slow(Heartbeat::when_slow(often, "text/plain"), 2).await;
        assert!(
            plain.starts_with("  ") && plain.ends_with(" \r\n\r\nreport"),
            "{plain:?}"
        );
        let xml = slow(Heartbeat::when_slow(often, "application/xml"), 2).await;
        assert!(
            xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n "),
            "{xml:?}"
        );
        let quick =
            Heartbeat::when_slow(never, "application/xml").body(async { Bytes::from_static(b"report") });
        assert_eq!(quick.await.as_full().as_deref(), Some(&b"report"[..]));
    }
}
