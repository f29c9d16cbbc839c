//! EC2 credentials of Keystone's users: how often Keystone is asked, and what holds without it.

mod fake;
mod keystone_server;

use fake::Cluster;
use keystone_server::{FakeKeystone, PASSWORD, PROJECT, USER, scoped, signature};
use martlet_protocol::timestamp::Timestamp;
use martlet_proxy::core::CoreConfig;
use martlet_proxy::keystone::AuthTokenConfig;
use martlet_proxy::keystone::s3::{S3Verdict, Signed};
use martlet_proxy::{Proxy, ProxyConfig};
use martlet_service::Clock;
use std::sync::Arc;

struct Cloud {
    keystone: FakeKeystone,
    proxy: Arc<Proxy>,
    clock: Clock,
}

impl Cloud {
    async fn start() -> Cloud {
        let keystone = FakeKeystone::start().await;
        keystone.give_credential("access1", "secret1", scoped("ann", "demo", &["admin"]));
        let urls = vec![keystone.url().parse().unwrap()];
        let config = ProxyConfig {
            authtoken: Some(AuthTokenConfig::new(urls, USER, PASSWORD, PROJECT)),
            ..ProxyConfig::default()
        };
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let proxy = Cluster::empty(CoreConfig::default()).proxy(config, clock.clone());
        Cloud {
            keystone,
            proxy,
            clock,
        }
    }

    /// A request of its own, signed with a secret: `refused`, `unavailable`, or the account and the secret.
    async fn find(&self, access: &str, secret: &str, number: usize) -> String {
        let text =
            format!("AWS4-HMAC-SHA256\n20231114T221320Z\n20231114/us-east-1/s3/aws4_request\n{number:064x}");
        let signed = Signed {
            access,
            string_to_sign: text.as_bytes(),
            signature: &signature(secret, text.as_bytes()),
        };
        match self.proxy.keystone().unwrap().s3_credential(signed).await {
            S3Verdict::Known { secret, identity } => {
                let secret = secret.map_or("hidden".into(), |secret| secret.reveal().to_owned());
                format!("{} {} {secret}", identity.user, identity.account)
            }
            S3Verdict::Refused => "refused".into(),
            S3Verdict::Unavailable => "unavailable".into(),
        }
    }

    fn asked(&self) -> (usize, usize) {
        (self.keystone.asked("s3token"), self.keystone.asked("secret"))
    }
}

const ANN: &str = "demo:ann AUTH_demo-id secret1";

#[tokio::test]
async fn a_credential_is_asked_about_once() {
    let cloud = Cloud::start().await;
    let all = (0..1000).map(|number| cloud.find("access1", "secret1", number));
    let found = futures_util::future::join_all(all).await;
    assert!(found.iter().all(|found| found == ANN), "{found:?}");
    for number in 0..1000 {
        assert_eq!(cloud.find("access1", "secret1", number).await, ANN);
    }
    assert_eq!(cloud.asked(), (1, 1));
}

#[tokio::test]
async fn who_guesses_is_refused_and_keeps_nobody_out() {
    let cloud = Cloud::start().await;
    let mut all = Vec::new();
    for number in 0..20 {
        let secret = if number % 2 == 0 { "guess" } else { "secret1" };
        all.push(cloud.find("access1", secret, number));
    }
    let found = futures_util::future::join_all(all).await;
    // The first guess comes before anything is known; afterwards the signature is the S3 door's to check.
    assert_eq!(found[0], "refused");
    assert!(found[1..].iter().all(|found| found == ANN), "{found:?}");
    assert_eq!(cloud.find("nobody", "secret1", 0).await, "refused");
    assert_eq!(cloud.find(&"x".repeat(10_000), "secret1", 0).await, "refused");
    assert_eq!(
        cloud.keystone.asked("login"),
        1,
        "a wrong signature is no wrong service token"
    );
}

#[tokio::test]
async fn a_revoked_credential_works_for_the_cache_time_at_most() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.find("access1", "secret1", 1).await, ANN);
    cloud.keystone.revoke_credential("access1");
    cloud.clock.advance_secs(59);
    assert_eq!(cloud.find("access1", "secret1", 2).await, ANN);
    cloud.clock.advance_secs(1);
    assert_eq!(cloud.find("access1", "secret1", 3).await, "refused");
}

#[tokio::test]
async fn without_keystone_remembered_credentials_serve() {
    let cloud = Cloud::start().await;
    cloud
        .keystone
        .give_credential("access2", "secret2", scoped("bob", "demo", &[]));
    assert_eq!(cloud.find("access1", "secret1", 1).await, ANN);
    cloud.keystone.set_down(true);
    assert_eq!(cloud.find("access1", "secret1", 2).await, ANN);
    assert_eq!(cloud.find("access2", "secret2", 1).await, "unavailable");
    let asked = cloud.asked();
    assert_eq!(cloud.find("access2", "secret2", 2).await, "unavailable");
    assert_eq!(cloud.asked(), asked, "nobody asks again at once");
    cloud.keystone.set_down(false);
    cloud.clock.advance_secs(1);
    assert_eq!(
        cloud.find("access2", "secret2", 3).await,
        "demo:bob AUTH_demo-id secret2"
    );
}

#[tokio::test]
async fn a_lost_service_token_is_told_from_a_wrong_signature() {
    let cloud = Cloud::start().await;
    cloud
        .keystone
        .give_credential("access2", "secret2", scoped("bob", "demo", &[]));
    assert_eq!(cloud.find("access1", "secret1", 1).await, ANN);
    cloud.keystone.forget_own_tokens("2999-01-01T00:00:00.000000Z");
    cloud.clock.advance_secs(6);
    assert_eq!(
        cloud.find("access2", "secret2", 1).await,
        "demo:bob AUTH_demo-id secret2"
    );
    assert_eq!(cloud.keystone.asked("login"), 2);
}

#[tokio::test]
async fn a_hidden_secret_has_keystone_check_each_signature() {
    let cloud = Cloud::start().await;
    cloud.keystone.hide_secrets();
    for number in 0..3 {
        let found = cloud.find("access1", "secret1", number).await;
        assert_eq!(found, "demo:ann AUTH_demo-id hidden");
    }
    assert_eq!(cloud.find("access1", "guess", 4).await, "refused");
    // For the secret it is asked once a minute: the answer will not be another soon.
    assert_eq!(cloud.asked(), (4, 1));
    cloud.clock.advance_secs(60);
    assert_eq!(
        cloud.find("access1", "secret1", 5).await,
        "demo:ann AUTH_demo-id hidden"
    );
    assert_eq!(cloud.asked(), (5, 2));
}

#[tokio::test]
async fn the_very_same_request_is_asked_about_once_although_the_secret_is_hidden() {
    let cloud = Cloud::start().await;
    cloud.keystone.hide_secrets();
    for _ in 0..10 {
        assert_eq!(
            cloud.find("access1", "secret1", 1).await,
            "demo:ann AUTH_demo-id hidden"
        );
    }
    assert_eq!(cloud.asked().0, 1);
    assert_eq!(cloud.find("access1", "guess", 1).await, "refused");
    cloud.keystone.revoke_credential("access1");
    cloud.clock.advance_secs(60);
    assert_eq!(cloud.find("access1", "secret1", 1).await, "refused");
}
