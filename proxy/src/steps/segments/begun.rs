//! Work that is begun on the spot, and gets on by itself whatever the one who began it does meanwhile.

use futures_util::FutureExt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::{JoinError, JoinHandle};

/// Most work is done, or waits for a device, after one step, which costs no task and wakes nobody. What is not done by
/// then a task goes on with: its clocks run and its nodes wait, so it must not stand still while a slow client does not
/// ask for more. Ends when dropped.
pub enum Begun<T> {
    Done(T),
    Running(Task<T>),
}

/// Ends its task when dropped.
pub struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Begun<T> {
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut work = Box::pin(work);
        // Nobody is to be woken by this step: the task steps again.
        match (&mut work).now_or_never() {
            Some(done) => Begun::Done(done),
            None => Begun::Running(Task(tokio::spawn(work))),
        }
    }

    /// For work that is known to wait: the task does the first step too.
    pub fn spawned(work: impl Future<Output = T> + Send + 'static) -> Self {
        Begun::Running(Task(tokio::spawn(work)))
    }

    /// How it ended; or itself, if it has not, and `context` hears of it when it has. An error: the work panicked, or the
    /// process ends.
    pub fn end(self, context: &mut Context<'_>) -> Result<Result<T, JoinError>, Self> {
        match self {
            Begun::Done(done) => Ok(Ok(done)),
            Begun::Running(mut task) => match Pin::new(&mut task.0).poll(context) {
                Poll::Ready(end) => Ok(end),
                Poll::Pending => Err(Begun::Running(task)),
            },
        }
    }
}
