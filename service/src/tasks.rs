//! Background tasks with an owner, a name and an end.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

type NamedTasks = Vec<(String, JoinHandle<()>)>;

/// The tasks one part of a process has started. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<NamedTasks>>);

impl Tasks {
    pub fn new() -> Self {
        Tasks::default()
    }

    /// Starts a task. Finished ones leave the list as new ones come, so that it stays as long as what runs.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task);
        let mut list = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if list.len() >= 64 && list.len().is_power_of_two() {
            list.retain(|(_, handle)| !handle.is_finished());
        }
        list.push((name.into(), handle));
    }

    /// How many are still running.
    pub fn running(&self) -> usize {
        let list = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.iter().filter(|(_, handle)| !handle.is_finished()).count()
    }

    /// Waits for all of them, at most so long; those that do not end in time are stopped and named in the log.
    pub async fn join_all(&self, timeout: Duration) {
        let list = std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let deadline = tokio::time::Instant::now() + timeout;
        for (name, mut handle) in list {
            match tokio::time::timeout_at(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(task = name, %error, "task failed"),
                Err(_) => {
                    tracing::warn!(task = name, "task did not end in time and was stopped");
                    handle.abort();
                }
            }
        }
    }
}
