//! A change of several steps, carried to its end though its client leaves in the middle.

use super::Refusal;
use crate::steps::answer;
use http::StatusCode;
use martlet_service::{Response, Tasks};
use std::future::Future;
use tokio::sync::oneshot;

/// Runs a change as a task of its own and gives its answer. Whoever waits for it may go.
pub async fn run(
    tasks: &Tasks,
    name: &'static str,
    change: impl Future<Output = Result<Response, Refusal>> + Send + 'static,
) -> Result<Response, Refusal> {
    let (answer, answered) = oneshot::channel();
    tasks.spawn(name, async move {
        // Nobody may want to know any more.
        let _ = answer.send(change.await);
    });
    answered.await.unwrap_or_else(|_| {
        tracing::error!(name, "a change of several steps ended without an answer");
        Err(Box::new(answer::status(StatusCode::INTERNAL_SERVER_ERROR)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn a_change_ends_although_its_client_has_left() {
        let (tasks, is_done) = (Tasks::new(), Arc::new(AtomicBool::new(false)));
        let (go, gone) = oneshot::channel::<()>();
        let mark = is_done.clone();
        let change = async move {
            let _ = gone.await;
            mark.store(true, Ordering::SeqCst);
            Ok(answer::status(StatusCode::NO_CONTENT))
        };
        let mut waiting = Box::pin(run(&tasks, "change", change));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        go.send(()).unwrap();
        tasks.join_all(Duration::from_secs(10)).await;
        assert!(is_done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn the_answer_comes_back_and_a_panic_is_an_error() {
        let tasks = Tasks::new();
        let fine = run(&tasks, "change", async {
            Ok(answer::status(StatusCode::NO_CONTENT))
        });
        assert_eq!(
            fine.await.map(|response| response.status().as_u16()).ok(),
            Some(204)
        );
        let broken = run(&tasks, "change", async { panic!("on purpose") });
        assert_eq!(
            broken.await.map_err(|response| response.status().as_u16()).err(),
            Some(500)
        );
    }
}
