//! Work that, once begun, ends even when nobody waits for it any more.

use martlet_service::Tasks;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Runs within its caller as long as the caller is there, which costs no task. When the caller leaves midway, what is
/// left of the work moves to a task of `tasks`.
pub(crate) struct RunToEnd<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    name: &'static str,
    tasks: Tasks,
}

impl<T: Send + 'static> RunToEnd<T> {
    pub fn new(tasks: &Tasks, name: &'static str, work: impl Future<Output = T> + Send + 'static) -> Self {
        RunToEnd {
            work: Some(Box::pin(work)),
            name,
            tasks: tasks.clone(),
        }
    }
}

impl<T: Send + 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(mut work) = self.work.take() else {
            // Polled again after its end: a future has no second answer.
            return Poll::Pending;
        };
        // Out of its place while it runs: work that panics must not be run again by the drop.
        match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.work = Some(work);
                Poll::Pending
            }
        }
    }
}

impl<T: Send + 'static> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Without a runtime the process is ending, and storage settles at its next start what was under way.
        if Handle::try_current().is_ok() {
            self.tasks.spawn(self.name, async move {
                work.await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_outlives_a_caller_that_leaves() {
        let tasks = Tasks::new();
        let (go, gate) = oneshot::channel::<()>();
        let (told, done) = oneshot::channel();
        let mut work = RunToEnd::new(&tasks, "test", async move {
            gate.await.unwrap();
            told.send(7).unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(done.await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_is_waited_for_needs_no_task() {
        let tasks = Tasks::new();
        assert_eq!(RunToEnd::new(&tasks, "test", async { 5 }).await, 5);
        assert_eq!(tasks.running(), 0);
    }
}
