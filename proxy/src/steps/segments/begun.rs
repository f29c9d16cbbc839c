//! Work that is begun on the spot, and gets on by itself whatever the one who began it does meanwhile.

use futures_util::FutureExt;
use std::future::Future;
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

    pub fn is_done(&self) -> bool {
        match self {
            Begun::Done(_) => true,
            Begun::Running(task) => task.0.is_finished(),
        }
    }

    /// Waits for the end. An error: the work panicked, or the process ends.
    pub async fn end(self) -> Result<T, JoinError> {
        match self {
            Begun::Done(done) => Ok(done),
            Begun::Running(mut task) => (&mut task.0).await,
        }
    }
}
