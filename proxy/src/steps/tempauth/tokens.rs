//! Tokens this process has given out: bounded, in memory, gone with the process.

use martlet_protocol::identity::Identity;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// Given tokens, and the one each user gets again while it lives.
#[derive(Debug)]
pub struct Tokens {
    prefix: String,
    life_secs: u64,
    /// When full, the token that ends soonest makes room.
    max_tokens: usize,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_token: HashMap<String, Granted>,
    by_user: HashMap<String, String>,
}

#[derive(Clone, Debug)]
struct Granted {
    identity: Arc<Identity>,
    expires_secs: u64,
}

impl Tokens {
    pub fn new(prefix: String, life_secs: u64, max_tokens: usize) -> Self {
        Tokens {
            prefix,
            life_secs,
            max_tokens: max_tokens.max(1),
            held: RwLock::default(),
        }
    }

    /// Whether a token looks as if this service had given it.
    pub fn is_ours(&self, token: &str) -> bool {
        token.starts_with(&self.prefix)
    }

    /// The user of a token that lives.
    pub fn find(&self, token: &str, now_secs: u64) -> Option<Arc<Identity>> {
        let held = self.held.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let granted = held.by_token.get(token)?;
        (granted.expires_secs > now_secs).then(|| granted.identity.clone())
    }

    /// The user's living token, or a new one; and the seconds it has left. With `renew` the old one ends.
    pub fn grant(&self, identity: &Arc<Identity>, now_secs: u64, renew: bool) -> (String, u64) {
        let mut held = self.held.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(token) = held.by_user.get(&identity.user).cloned() {
            let expires_secs = held
                .by_token
                .get(&token)
                .map_or(0, |granted| granted.expires_secs);
            if !renew && expires_secs > now_secs {
                return (token, expires_secs - now_secs);
            }
            held.by_token.remove(&token);
        }
        held.make_room(self.max_tokens, now_secs);
        let token = format!("{}tk{:032x}", self.prefix, rand::random::<u128>());
        let expires_secs = now_secs.saturating_add(self.life_secs);
        held.by_token.insert(
            token.clone(),
            Granted {
                identity: identity.clone(),
                expires_secs,
            },
        );
        held.by_user.insert(identity.user.clone(), token.clone());
        (token, self.life_secs)
    }
}

impl Held {
    fn make_room(&mut self, max_tokens: usize, now_secs: u64) {
        if self.by_token.len() < max_tokens {
            return;
        }
        self.by_token.retain(|_, granted| granted.expires_secs > now_secs);
        while self.by_token.len() >= max_tokens {
            let soonest = self
                .by_token
                .iter()
                .min_by_key(|(_, granted)| granted.expires_secs);
            let Some(token) = soonest.map(|(token, _)| token.clone()) else {
                break;
            };
            self.by_token.remove(&token);
        }
        let Held { by_token, by_user } = self;
        by_user.retain(|_, token| by_token.contains_key(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str) -> Arc<Identity> {
        Arc::new(Identity {
            user: user.into(),
            account: "AUTH_test".into(),
            groups: vec![],
            is_reseller_admin: false,
            is_reseller_reader: false,
            keystone: None,
        })
    }

    #[test]
    fn the_same_token_until_it_ends_or_is_renewed() {
        let tokens = Tokens::new("AUTH_".into(), 100, 10);
        let user = identity("test:tester");
        let (first, life) = tokens.grant(&user, 1_000, false);
        assert!(first.starts_with("AUTH_tk") && first.len() == 39 && life == 100);
        assert_eq!(tokens.grant(&user, 1_040, false), (first.clone(), 60));
        assert_eq!(tokens.find(&first, 1_099).unwrap().user, "test:tester");
        assert!(tokens.find(&first, 1_100).is_none());
        let (second, _) = tokens.grant(&user, 1_100, false);
        assert_ne!(first, second);
        let (third, _) = tokens.grant(&user, 1_100, true);
        assert_ne!(second, third);
        assert!(tokens.find(&second, 1_101).is_none());
        assert!(tokens.find("AUTH_tkjunk", 1_101).is_none());
        assert!(tokens.is_ours("AUTH_tkx") && !tokens.is_ours("gAAAAA"));
    }

    #[test]
    fn the_store_is_bounded() {
        let tokens = Tokens::new("AUTH_".into(), 100, 2);
        let granted: Vec<String> = (0..3)
            .map(|n| tokens.grant(&identity(&format!("t:{n}")), 1_000 + n, false).0)
            .collect();
        assert!(tokens.find(&granted[0], 1_003).is_none());
        assert!(tokens.find(&granted[1], 1_003).is_some());
        assert!(tokens.find(&granted[2], 1_003).is_some());
    }
}
