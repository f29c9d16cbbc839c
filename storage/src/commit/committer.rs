//! The committer thread: takes, decides, writes, syncs, answers, and sets off what follows from a durable batch.

use super::batch::{Batch, CommitState, Counters, Effects};
use super::queue::{CommitQueue, Kind, Operation};
use crate::codec::keys;
use crate::device::Shared;
use crate::index::Family;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Runs until the queue is closed and empty.
pub(crate) fn run(shared: &Arc<Shared>, counters: Counters) {
    let _abandon = Abandon(&shared.commits);
    let mut state = CommitState::new(counters);
    while let Some(operations) = shared.commits.take(shared.config.batch_operations) {
        let mut together = Vec::with_capacity(operations.len());
        for operation in operations {
            if operation.kind == Kind::Alone {
                commit(shared, &mut state, std::mem::take(&mut together));
                commit(shared, &mut state, vec![operation]);
            } else {
                together.push(operation);
            }
        }
        commit(shared, &mut state, together);
    }
}

/// However the thread ends, nobody waits for it for ever.
struct Abandon<'a>(&'a CommitQueue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn commit(shared: &Arc<Shared>, state: &mut CommitState, operations: Vec<Operation>) {
    if operations.is_empty() {
        return;
    }
    let sync = operations.iter().any(|operation| operation.kind != Kind::Lazy);
    metrics::histogram!("martlet_storage_batch_operations").record(operations.len() as f64);
    let mut batch = Batch::new(&shared.index, state);
    let answers: Vec<_> = operations
        .into_iter()
        .map(|operation| (operation.decide)(&mut batch))
        .collect();
    let loses = batch.effects.is_loss;
    if loses {
        // Before the first reader can miss the copy.
        shared.synced.lose();
    }
    let (written, mut effects) = batch.write(sync);
    if loses {
        shared.synced.lose();
    }
    if let Err(error) = &written {
        tracing::error!(device = shared.name(), %error, "a batch was not written");
    }
    shared.publish(&state.counters, &effects);
    for answer in answers {
        answer(written.clone());
    }
    let suspects = std::mem::take(&mut effects.suspects);
    follow_up(shared, effects);
    for (family, key) in suspects {
        shared.quarantine_record(family, key);
    }
}

/// Moves and removes body files on the device's threads.
fn follow_up(shared: &Arc<Shared>, effects: Effects) {
    let Effects {
        adopt,
        unlink,
        quarantine,
        ..
    } = effects;
    if adopt.is_empty() && unlink.is_empty() && quarantine.is_empty() {
        return;
    }
    let own = shared.clone();
    // On a closed device the next start does it.
    shared.files.threads.spawn(move || {
        for id in adopt {
            if let Err(error) = own.files.adopt(id) {
                tracing::warn!(device = own.name(), %error, "a body stays in incoming/ until the next start");
            }
        }
        for (body, note) in quarantine {
            let put_aside = own.files.quarantine(&body, &note);
            tracing::error!(
                device = own.name(),
                what = note.what,
                reason = note.reason,
                ?put_aside,
                "quarantined"
            );
            metrics::counter!("martlet_storage_quarantined_copies").increment(1);
        }
        for id in unlink {
            let unlinked = own.files.unlink(id);
            match unlinked.and_then(|()| own.files.removed(id, own.config.removals_per_sync)) {
                Ok(certain) if certain.is_empty() => {}
                Ok(certain) => own.commits.submit_lazy(move |batch| {
                    for id in certain {
                        batch.delete(Family::Meta, &keys::garbage(id.0));
                    }
                    Ok(())
                }),
                Err(error) => {
                    tracing::warn!(device = own.name(), %error, "a body is removed at the next start");
                }
            }
        }
    });
}

impl Shared {
    fn publish(&self, counters: &Counters, effects: &Effects) {
        self.sequence.store(counters.sequence, Ordering::Release);
        self.objects.store(counters.objects, Ordering::Relaxed);
        self.tombstones.store(counters.tombstones, Ordering::Relaxed);
        self.bytes.store(counters.bytes, Ordering::Relaxed);
        if let Some(secs) = effects.earliest_expiry {
            self.expiry_floor.lower(secs);
        }
        if let Some(newest) = effects.reclaimed {
            self.reclaimed.fetch_max(newest.raw(), Ordering::AcqRel);
        }
    }
}
