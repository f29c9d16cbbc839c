//! What waits for the committer.

use super::batch::Batch;
use crate::error::StorageError;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Told how the batch went.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// How an operation wants to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With others, synced.
    Shared,
    /// In a batch of its own, synced: it scans the index and must find everything there.
    Alone,
    /// With others; loses nothing that matters when it is lost.
    Lazy,
}

pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) decide: Box<dyn FnOnce(&mut Batch<'_>) -> Answer + Send>,
    /// Held until the operation is taken from the queue.
    _slot: Option<Slot>,
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Operation>,
    lazy: Vec<Operation>,
    lazy_since: Option<Instant>,
    /// Slots given out.
    taken: usize,
    sleeping: bool,
    closed: bool,
    /// The committer is gone: nothing that is queued will ever run.
    ended: bool,
}

struct Inner {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    depth: usize,
    lazy_flush: Duration,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing runs under the lock that could leave the queue half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue in front of the committer. Clones share it.
#[derive(Clone)]
pub(crate) struct CommitQueue {
    inner: Arc<Inner>,
}

/// A place in the queue; having one means an operation will be taken.
pub(crate) struct Slot {
    inner: Arc<Inner>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.inner.lock().taken -= 1;
    }
}

/// The answer of an operation that was queued.
pub(crate) struct Waiter<T> {
    answer: oneshot::Receiver<Result<T, StorageError>>,
}

impl<T> Waiter<T> {
    pub(crate) async fn wait(self) -> Result<T, StorageError> {
        // Dropped unanswered: the committer has ended.
        self.answer.await.unwrap_or(Err(StorageError::Closed))
    }
}

impl CommitQueue {
    /// A queue of so many operations, in which lazy ones wait at most so long.
    pub(crate) fn new(depth: usize, lazy_flush: Duration) -> Self {
        CommitQueue {
            inner: Arc::new(Inner {
                waiting: Mutex::default(),
                changed: Condvar::new(),
                depth: depth.max(1),
                lazy_flush,
            }),
        }
    }

    /// A place, or `Busy`.
    pub(crate) fn reserve(&self) -> Result<Slot, StorageError> {
        let mut waiting = self.inner.lock();
        if waiting.closed {
            return Err(StorageError::Closed);
        }
        if waiting.taken >= self.inner.depth {
            return Err(StorageError::Busy);
        }
        waiting.taken += 1;
        drop(waiting);
        Ok(Slot {
            inner: self.inner.clone(),
        })
    }

    /// Queues `decide`. It answers from the batch; its answer goes out when the batch is durable. From here on the
    /// operation runs whether or not anyone waits.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        slot: Slot,
        kind: Kind,
        decide: impl FnOnce(&mut Batch<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Waiter<T> {
        let (sender, answer) = oneshot::channel();
        let decide = move |batch: &mut Batch<'_>| -> Answer {
            let decided = decide(batch);
            Box::new(move |committed: Result<(), StorageError>| {
                let _ = sender.send(committed.and(decided));
            })
        };
        self.push(Operation {
            kind,
            decide: Box::new(decide),
            _slot: Some(slot),
        });
        Waiter { answer }
    }

    /// Queues something nobody waits for and that may be lost. Does nothing on a closed device.
    pub(crate) fn submit_lazy(
        &self,
        decide: impl FnOnce(&mut Batch<'_>) -> Result<(), StorageError> + Send + 'static,
    ) {
        let decide = move |batch: &mut Batch<'_>| -> Answer {
            let decided = decide(batch);
            Box::new(move |committed| {
                if let Err(error) = committed.and(decided) {
                    tracing::warn!(%error, "a lazy operation failed");
                }
            })
        };
        self.push(Operation {
            kind: Kind::Lazy,
            decide: Box::new(decide),
            _slot: None,
        });
    }

    fn push(&self, operation: Operation) {
        let mut waiting = self.inner.lock();
        if waiting.ended || waiting.closed && operation.kind == Kind::Lazy {
            // Dropped outside the lock: its waiter hears `Closed`.
            drop(waiting);
            return;
        }
        if operation.kind == Kind::Lazy {
            waiting.lazy_since.get_or_insert_with(Instant::now);
            let first = waiting.lazy.is_empty();
            waiting.lazy.push(operation);
            if !first {
                return;
            }
        } else {
            waiting.urgent.push_back(operation);
        }
        let wake = waiting.sleeping;
        waiting.sleeping = false;
        drop(waiting);
        if wake {
            self.inner.changed.notify_one();
        }
    }

    /// Takes up to `most` operations; waits for some. `None`: closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<Operation>> {
        let mut waiting = self.inner.lock();
        loop {
            let lazy_due = waiting
                .lazy_since
                .map(|since| (since + self.inner.lazy_flush).saturating_duration_since(Instant::now()));
            let ready =
                !waiting.urgent.is_empty() || lazy_due.is_some_and(|left| left.is_zero() || waiting.closed);
            if ready {
                let count = waiting.urgent.len().min(most);
                let mut operations: Vec<Operation> = waiting.urgent.drain(..count).collect();
                operations.append(&mut waiting.lazy);
                waiting.lazy_since = None;
                drop(waiting);
                for operation in &mut operations {
                    operation._slot = None;
                }
                return Some(operations);
            }
            // A slot that is given out is an operation that will come, also after closing.
            if waiting.closed && waiting.taken == 0 {
                return None;
            }
            waiting.sleeping = true;
            waiting = match lazy_due {
                Some(left) => {
                    let waited = self.inner.changed.wait_timeout(waiting, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None if waiting.closed => {
                    let pause = Duration::from_millis(10);
                    let waited = self.inner.changed.wait_timeout(waiting, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.inner.changed.wait(waiting);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
            waiting.sleeping = false;
        }
    }

    /// No new places are given; what waits is still committed.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.changed.notify_all();
    }

    /// The committer is gone: what waits will never be answered, so it is dropped (and its waiters hear `Closed`).
    pub(super) fn abandon(&self) {
        let mut waiting = self.inner.lock();
        (waiting.closed, waiting.ended) = (true, true);
        let urgent = std::mem::take(&mut waiting.urgent);
        let lazy = std::mem::take(&mut waiting.lazy);
        drop(waiting);
        drop((urgent, lazy));
    }
}
