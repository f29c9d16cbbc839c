//! A device's own threads for work that blocks: a bounded queue in front of a few named threads.
//!
//! Invariants: jobs run in the order given (several at once when there are several threads); a job that panics ends
//! neither its thread nor the device; after `close` no new job is taken and waiting ones still run.

use crate::error::StorageError;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

struct Inner {
    queue: Mutex<Queue>,
    waiting: Condvar,
    /// Jobs that may wait when they come through `run`.
    depth: usize,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Jobs run outside the lock: a poisoned lock still guards a whole queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads and their queue. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

impl Pool {
    /// Starts the threads, named `name-0`, `name-1` and so on.
    pub(crate) fn start(
        name: &str,
        threads: usize,
        depth: usize,
    ) -> std::io::Result<(Pool, Vec<JoinHandle<()>>)> {
        let inner = Arc::new(Inner {
            queue: Mutex::default(),
            waiting: Condvar::new(),
            depth,
        });
        let mut handles = Vec::new();
        for at in 0..threads.max(1) {
            let inner = inner.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{at}"));
            handles.push(thread.spawn(move || work(&inner))?);
        }
        Ok((Pool { inner }, handles))
    }

    /// Runs `job` on a thread and waits for its answer. `Busy` when the queue is full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let answer = self.begin(self.inner.depth, job)?;
        finish(answer).await
    }

    /// Queues `job` whatever waits: for work of which each caller has at most one in flight.
    pub(crate) fn start_job<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<Pending<T>, StorageError> {
        self.begin(usize::MAX, job)
    }

    /// Queues `job`, whose outcome nobody waits for. `false`: the pool is closed, the job was dropped.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.push(usize::MAX, Box::new(job)).is_ok()
    }

    fn begin<T: Send + 'static>(
        &self,
        depth: usize,
        job: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<Pending<T>, StorageError> {
        let (answer, pending) = oneshot::channel();
        self.push(
            depth,
            Box::new(move || {
                // The caller may have left: then the answer is dropped here, on this thread.
                let _ = answer.send(job());
            }),
        )?;
        Ok(pending)
    }

    fn push(&self, depth: usize, job: Job) -> Result<(), StorageError> {
        let mut queue = self.inner.lock();
        if queue.closed {
            return Err(StorageError::Closed);
        }
        if queue.jobs.len() >= depth {
            return Err(StorageError::Busy);
        }
        queue.jobs.push_back(job);
        let wake = queue.idle > 0;
        drop(queue);
        if wake {
            self.inner.waiting.notify_one();
        }
        Ok(())
    }

    /// Takes no more jobs; threads end when those that wait are done.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.waiting.notify_all();
    }
}

/// The answer of a job that was started.
pub(crate) type Pending<T> = oneshot::Receiver<Result<T, StorageError>>;

/// Waits for a job that was started.
pub(crate) async fn finish<T>(pending: Pending<T>) -> Result<T, StorageError> {
    match pending.await {
        Ok(answer) => answer,
        Err(_) => Err(StorageError::Io("a worker thread dropped its job".into())),
    }
}

fn work(inner: &Inner) {
    loop {
        let mut queue = inner.lock();
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            queue = inner.waiting.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        };
        drop(queue);
        if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a job of a device thread panicked");
        }
    }
}
