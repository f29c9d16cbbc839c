//! What a thread asked for last about accounts and containers, in front of the cache that all threads share.
//!
//! The steps of one request ask for the same container again and again, and the next requests do too. A look here costs a
//! tenth of one into the cache, which counts and orders what it is asked. What is kept here lasts for a moment only and
//! not beyond a change made through this proxy.

use super::info::{AccountInfo, ContainerInfo};
use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;
use std::time::{Duration, Instant};

/// How long an answer is good, at most. The cache behind keeps its own for so much less.
pub const SPAN: Duration = Duration::from_millis(50);

/// A power of two: names are dealt to places by a hash.
const PLACES: usize = 16;

/// Which cache, after how many changes: what was kept for another state is worth nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub cache: u64,
    pub changes: u64,
}

/// One answer, and for how long it is good.
pub struct Kept<T> {
    state: State,
    until: Instant,
    account: String,
    /// Empty for an account.
    container: String,
    value: Arc<T>,
}

/// Where a thread keeps its answers.
pub type Places<T> = RefCell<[Option<Kept<T>>; PLACES]>;

thread_local! {
    static ACCOUNTS: Places<AccountInfo> = const { RefCell::new([const { None }; PLACES]) };
    static CONTAINERS: Places<ContainerInfo> = const { RefCell::new([const { None }; PLACES]) };
}

/// A kind of thing that is kept.
pub trait Recent: Sized + 'static {
    #[doc(hidden)]
    fn places() -> &'static LocalKey<Places<Self>>;
}

impl Recent for AccountInfo {
    fn places() -> &'static LocalKey<Places<Self>> {
        &ACCOUNTS
    }
}

impl Recent for ContainerInfo {
    fn places() -> &'static LocalKey<Places<Self>> {
        &CONTAINERS
    }
}

/// What was kept in this state, if it still is.
pub fn get<T: Recent>(state: State, account: &str, container: &str) -> Option<Arc<T>> {
    T::places().with_borrow(|places| {
        let kept = places[place(account, container)].as_ref()?;
        let is_it = kept.state == state && kept.container == container && kept.account == account;
        (is_it && Instant::now() < kept.until).then(|| Arc::clone(&kept.value))
    })
}

/// Keeps an answer that was found in this state.
pub fn keep<T: Recent>(state: State, account: &str, container: &str, value: &Arc<T>) {
    let kept = Kept {
        state,
        until: Instant::now() + SPAN,
        account: account.to_owned(),
        container: container.to_owned(),
        value: Arc::clone(value),
    };
    T::places().with_borrow_mut(|places| places[place(account, container)] = Some(kept));
}

/// Names that differ should lie apart, mostly; nothing depends on it.
fn place(account: &str, container: &str) -> usize {
    let step = |hash: usize, byte: &u8| hash.wrapping_mul(31).wrapping_add(usize::from(*byte));
    let end = |text: &str| {
        text.as_bytes()[text.len().saturating_sub(8)..]
            .iter()
            .fold(text.len(), step)
    };
    (end(account).wrapping_mul(31) ^ end(container)) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_state_and_its_names_alone() {
        let state = State { cache: 1, changes: 5 };
        let value = Arc::new(ContainerInfo {
            object_count: 7,
            ..ContainerInfo::default()
        });
        keep(state, "a", "c", &value);
        let found = |state, account, container| {
            get::<ContainerInfo>(state, account, container).map(|info| info.object_count)
        };
        assert_eq!(found(state, "a", "c"), Some(7));
        assert_eq!(found(state, "a", "d"), None);
        assert_eq!(found(state, "b", "c"), None);
        assert_eq!(found(State { changes: 6, ..state }, "a", "c"), None);
        assert_eq!(found(State { cache: 2, ..state }, "a", "c"), None);
        assert!(get::<AccountInfo>(state, "a", "c").is_none());
        std::thread::spawn(move || assert!(get::<ContainerInfo>(state, "a", "c").is_none()))
            .join()
            .unwrap();
    }
}
