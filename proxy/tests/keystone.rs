//! Keystone's tokens at the proxy: which status each kind gets, how often Keystone is asked, and what holds without it.

mod fake;
mod keystone_server;
mod memcached_server;

use fake::{Answer, Cluster};
use http::Method;
use keystone_server::{FakeKeystone, PASSWORD, PROJECT, USER, ending, scoped, scoped_in, unscoped};
use martlet_protocol::timestamp::Timestamp;
use martlet_proxy::config::{TempAuthConfig, UserConfig};
use martlet_proxy::core::CoreConfig;
use martlet_proxy::keystone::rules::AccountPrefix;
use martlet_proxy::keystone::{AuthTokenConfig, KeystoneAuthConfig, Secret};
use martlet_proxy::{Proxy, ProxyConfig};
use martlet_service::{Body, Clock, Handler, Request, collect, headers};
use memcached_server::FakeMemcached;
use std::sync::Arc;

const NOW_SECS: u64 = 1_700_000_000;

/// A proxy over a small cluster, with a Keystone before it and a clock that stands still.
struct Cloud {
    keystone: FakeKeystone,
    proxy: Arc<Proxy>,
    clock: Clock,
    _cluster: Cluster,
}

impl Cloud {
    async fn start() -> Cloud {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut ProxyConfig)) -> Cloud {
        let keystone = FakeKeystone::start().await;
        let urls = vec![keystone.url().parse().unwrap()];
        let tester = UserConfig {
            key: "testing".into(),
            groups: vec![".admin".into()],
        };
        let service = AccountPrefix {
            name: "SERVICE".into(),
            service_roles: Some(vec!["service".into()]),
            ..AccountPrefix::default()
        };
        let mut keystoneauth = KeystoneAuthConfig {
            system_reader_roles: vec!["auditor".into()],
            project_reader_roles: vec!["reader".into()],
            ..KeystoneAuthConfig::default()
        };
        keystoneauth.reseller_prefixes.push(service);
        let mut config = ProxyConfig {
            authtoken: Some(AuthTokenConfig::new(urls, USER, PASSWORD, PROJECT)),
            keystoneauth,
            tempauth: TempAuthConfig {
                users: [("test:tester".to_owned(), tester)].into(),
                ..TempAuthConfig::default()
            },
            ..ProxyConfig::default()
        };
        change(&mut config);
        let cluster = Cluster::empty(CoreConfig::default());
        let clock = Clock::manual(Timestamp::from_secs(NOW_SECS));
        let proxy = cluster.proxy(config, clock.clone());
        Cloud {
            keystone,
            proxy,
            clock,
            _cluster: cluster,
        }
    }

    async fn send(&self, method: Method, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        for (name, value) in pairs {
            headers::set(request.headers_mut(), name, value);
        }
        headers::set(request.headers_mut(), "content-length", "0");
        // A listing without a line is then 200 too.
        headers::set(request.headers_mut(), "accept", "application/json");
        let (parts, body) = self.proxy.call(request).await.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: collect(body, 1 << 20).await.unwrap(),
        }
    }

    async fn status(&self, method: Method, path: &str, token: &str) -> u16 {
        self.send(method, path, &[("x-auth-token", token)]).await.status
    }
}

#[tokio::test]
async fn each_kind_of_token_gets_the_status_that_swift_gives() {
    let cloud = Cloud::start().await;
    let give = |token: &str, about| cloud.keystone.give(token, about);
    give("operator", scoped("ann", "demo", &["SwiftOperator"]));
    give("member", scoped("bob", "demo", &["member"]));
    give("reader", scoped("rea", "demo", &["reader"]));
    give("foreign-project", scoped("eve", "other", &["admin"]));
    give("no-role", scoped("nil", "demo", &[]));
    give("unscoped", unscoped("ann"));
    give("reseller", scoped("root", "infra", &["ResellerAdmin"]));
    give("auditor", scoped("aud", "infra", &["auditor"]));
    give(
        "ended",
        ending(scoped("ann", "demo", &["admin"]), "2023-11-14T22:13:20.000000Z"),
    );
    give("revoked", scoped("ann", "demo", &["admin"]));
    cloud.keystone.revoke("revoked");
    let long = "x".repeat(10_000);
    let account = "/v1/AUTH_demo-id";
    let container = "/v1/AUTH_demo-id/c";
    for (token, method, path, expected) in [
        ("operator", Method::PUT, container, 201),
        ("operator", Method::GET, account, 200),
        ("operator", Method::DELETE, account, 403),
        ("operator", Method::GET, "/v1/AUTH_other-id", 403),
        ("operator", Method::GET, "/v1/SERVICE_demo-id", 403),
        ("operator", Method::OPTIONS, container, 200),
        ("member", Method::GET, account, 403),
        ("member", Method::PUT, "/v1/AUTH_demo-id/d", 403),
        ("no-role", Method::GET, account, 403),
        ("reader", Method::GET, account, 200),
        ("reader", Method::HEAD, container, 204),
        ("reader", Method::POST, container, 403),
        ("reader", Method::GET, "/v1/AUTH_other-id", 403),
        ("foreign-project", Method::GET, account, 403),
        ("unscoped", Method::GET, account, 403),
        ("reseller", Method::POST, account, 204),
        ("reseller", Method::GET, "/v1/AUTH_anything", 200),
        ("auditor", Method::GET, account, 200),
        ("auditor", Method::PUT, "/v1/AUTH_demo-id/d", 403),
        ("wrong", Method::GET, account, 401),
        ("of-another-keystone", Method::PUT, container, 401),
        ("ended", Method::GET, account, 401),
        ("revoked", Method::GET, account, 401),
        ("with space", Method::GET, account, 401),
        (&long, Method::GET, account, 401),
        ("", Method::GET, account, 401),
        ("AUTH_tkunknown", Method::GET, account, 401),
    ] {
        let found = cloud.status(method.clone(), path, token).await;
        assert_eq!(found, expected, "{:.20} {method} {path}", token);
    }
}

#[tokio::test]
async fn a_refusal_names_both_places_to_log_in() {
    let cloud = Cloud::start().await;
    let answer = cloud.send(Method::GET, "/v1/AUTH_demo-id", &[]).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2);
    assert_eq!(challenges[0], "Swift realm=\"AUTH_demo-id\"");
    assert_eq!(
        *challenges[1],
        format!("Keystone uri=\"{}\"", cloud.keystone.url())
    );
}

#[tokio::test]
async fn nobody_is_believed_who_says_who_he_is() {
    let cloud = Cloud::start().await;
    let said = [
        ("x-identity-status", "Confirmed"),
        ("x-service-identity-status", "Confirmed"),
        ("x-user-id", "root-id"),
        ("x-project-id", "demo-id"),
        ("x-tenant-id", "demo-id"),
        ("x-roles", "admin,ResellerAdmin"),
    ];
    assert_eq!(
        cloud.send(Method::GET, "/v1/AUTH_demo-id", &said).await.status,
        401
    );
}

#[tokio::test]
async fn a_thousand_requests_ask_once() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    for _ in 0..1000 {
        assert_eq!(
            cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
            200
        );
    }
    assert_eq!(
        (cloud.keystone.asked("token"), cloud.keystone.asked("login")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_thousand_at_the_same_moment_ask_once() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    cloud.keystone.hold(true);
    let ask = || cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator");
    // Each is polled once before the answer may come: all of them wait for it.
    let all = futures_util::future::join_all((0..1000).map(|_| ask()));
    let release = async {
        while cloud.keystone.asked("token") == 0 {
            tokio::task::yield_now().await;
        }
        cloud.keystone.hold(false);
    };
    let (statuses, ()) = futures_util::future::join(all, release).await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(
        (cloud.keystone.asked("token"), cloud.keystone.asked("login")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_revoked_token_works_for_the_cache_time_at_most() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    let ask = || cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator");
    assert_eq!(ask().await, 200);
    cloud.keystone.revoke("operator");
    cloud.clock.advance_secs(299);
    assert_eq!(ask().await, 200);
    cloud.clock.advance_secs(1);
    assert_eq!(ask().await, 401);
    assert_eq!(cloud.keystone.asked("token"), 2);
    // That it is bad is remembered too, for a shorter while.
    assert_eq!(ask().await, 401);
    assert_eq!(cloud.keystone.asked("token"), 2);
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    cloud.clock.advance_secs(10);
    assert_eq!(ask().await, 200);
}

#[tokio::test]
async fn a_remembered_token_ends_when_it_ends() {
    let cloud = Cloud::start().await;
    // 60 seconds after the clock's first moment.
    let about = ending(scoped("ann", "demo", &["admin"]), "2023-11-14T22:14:20.000000Z");
    cloud.keystone.give("operator", about);
    let ask = || cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator");
    assert_eq!(ask().await, 200);
    cloud.clock.advance_secs(59);
    assert_eq!(ask().await, 200);
    cloud.clock.advance_secs(1);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn without_keystone_remembered_tokens_serve_and_others_wait() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    cloud.keystone.give("late", scoped("bob", "demo", &["admin"]));
    let login = [("x-auth-user", "test:tester"), ("x-auth-key", "testing")];
    let login = cloud.send(Method::GET, "/auth/v1.0", &login).await;
    let tempauth = login.header("x-auth-token").to_owned();
    assert_eq!(
        cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        200
    );
    cloud.keystone.set_down(true);
    assert_eq!(
        cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        200
    );
    assert_eq!(cloud.status(Method::GET, "/v1/AUTH_demo-id", "late").await, 503);
    let asked = cloud.keystone.asked("token");
    assert_eq!(cloud.status(Method::GET, "/v1/AUTH_test", &tempauth).await, 200);
    assert_eq!(cloud.send(Method::GET, "/v1/AUTH_test", &[]).await.status, 401);
    assert_eq!(
        cloud.keystone.asked("token"),
        asked,
        "tempauth's tokens are no question for Keystone"
    );
    cloud.keystone.set_down(false);
    cloud.clock.advance_secs(1);
    assert_eq!(cloud.status(Method::GET, "/v1/AUTH_demo-id", "late").await, 200);
}

#[tokio::test]
async fn the_service_user_logs_in_again_by_itself() {
    let cloud = Cloud::start().await;
    for name in ["t1", "t2", "t3", "t4"] {
        cloud.keystone.give(name, scoped("ann", "demo", &["admin"]));
    }
    let ask = |token: &'static str| cloud.status(Method::GET, "/v1/AUTH_demo-id", token);
    assert_eq!(ask("t1").await, 200);
    // Keystone has restarted and lost its tokens. The next one ends 1000 seconds after the clock's first moment.
    cloud.keystone.forget_own_tokens("2023-11-14T22:30:00.000000Z");
    assert_eq!(ask("t2").await, 200);
    assert_eq!(cloud.keystone.asked("login"), 2);
    cloud.clock.advance_secs(870);
    assert_eq!(ask("t3").await, 200);
    assert_eq!(cloud.keystone.asked("login"), 2);
    // Less than two minutes are left.
    cloud.clock.advance_secs(11);
    assert_eq!(ask("t4").await, 200);
    assert_eq!(cloud.keystone.asked("login"), 3);
}

#[tokio::test]
async fn a_service_user_that_keystone_refuses_is_no_fault_of_clients() {
    let cloud = Cloud::start_with(|config| {
        let authtoken = config.authtoken.as_mut().unwrap();
        *authtoken = AuthTokenConfig::new(authtoken.auth_url.clone(), USER, "wrong", PROJECT);
    })
    .await;
    assert_eq!(cloud.status(Method::GET, "/v1/AUTH_demo-id", "any").await, 503);
    assert_eq!(cloud.send(Method::GET, "/v1/AUTH_demo-id", &[]).await.status, 401);
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_does_not_answer() {
    let cloud = Cloud::start_with(|config| {
        let authtoken = config.authtoken.as_mut().unwrap();
        // Nothing listens there.
        authtoken
            .auth_url
            .insert(0, "http://127.0.0.1:2/v3".parse().unwrap());
    })
    .await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    assert_eq!(
        cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        200
    );
}

#[tokio::test]
async fn undelayed_decisions_refuse_at_once() {
    let cloud =
        Cloud::start_with(|config| config.authtoken.as_mut().unwrap().delay_auth_decision = false).await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    let public = [
        ("x-auth-token", "operator"),
        ("x-container-read", ".r:*,.rlistings"),
    ];
    assert_eq!(
        cloud
            .send(Method::PUT, "/v1/AUTH_demo-id/c", &public)
            .await
            .status,
        201
    );
    assert_eq!(
        cloud.send(Method::GET, "/v1/AUTH_demo-id/c", &[]).await.status,
        401
    );
    let delayed = Cloud::start().await;
    delayed
        .keystone
        .give("operator", scoped("ann", "demo", &["admin"]));
    assert_eq!(
        delayed
            .send(Method::PUT, "/v1/AUTH_demo-id/c", &public)
            .await
            .status,
        201
    );
    assert_eq!(
        delayed.send(Method::GET, "/v1/AUTH_demo-id/c", &[]).await.status,
        200
    );
    // A bad token beside is as good as none.
    assert_eq!(
        delayed.status(Method::GET, "/v1/AUTH_demo-id/c", "wrong").await,
        200
    );
}

#[tokio::test]
async fn service_accounts_need_both_tokens() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    cloud.keystone.give("member", scoped("bob", "demo", &["member"]));
    cloud
        .keystone
        .give("glance", scoped("glance", "service", &["service"]));
    cloud
        .keystone
        .give("plain", scoped("carl", "service", &["member"]));
    let mut ended = scoped("ann", "demo", &["admin"]);
    ended["token"]["ended"] = true.into();
    cloud
        .keystone
        .give("ended", ending(ended, "2023-11-14T22:13:00.000000Z"));
    for (token, service, path, expected) in [
        ("operator", None, "/v1/SERVICE_demo-id", 403),
        ("operator", Some("glance"), "/v1/SERVICE_demo-id", 200),
        ("operator", Some("plain"), "/v1/SERVICE_demo-id", 401),
        // No service's token, though it is a good one.
        ("operator", Some("plain"), "/v1/AUTH_demo-id", 401),
        ("member", Some("glance"), "/v1/SERVICE_demo-id", 403),
        ("operator", Some("glance"), "/v1/SERVICE_other-id", 403),
        ("operator", Some("wrong"), "/v1/AUTH_demo-id", 401),
        ("operator", Some("glance"), "/v1/AUTH_demo-id", 200),
        // The user's token has ended while the service was at work.
        ("ended", Some("glance"), "/v1/AUTH_demo-id", 200),
        ("ended", Some("plain"), "/v1/AUTH_demo-id", 401),
        ("ended", None, "/v1/AUTH_demo-id", 401),
    ] {
        let mut pairs = vec![("x-auth-token", token)];
        pairs.extend(service.map(|service| ("x-service-token", service)));
        let found = cloud.send(Method::GET, path, &pairs).await.status;
        assert_eq!(found, expected, "{token} {service:?} {path}");
    }
}

#[tokio::test]
async fn any_token_beside_counts_where_no_role_is_required_of_it() {
    let cloud = Cloud::start_with(|config| {
        config.authtoken.as_mut().unwrap().service_token_roles_required = false;
    })
    .await;
    cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    cloud
        .keystone
        .give("plain", scoped("carl", "service", &["member"]));
    for (service, path, expected) in [
        ("plain", "/v1/AUTH_demo-id", 200),
        ("plain", "/v1/SERVICE_demo-id", 403),
        ("wrong", "/v1/AUTH_demo-id", 401),
    ] {
        let pairs = [("x-auth-token", "operator"), ("x-service-token", service)];
        let found = cloud.send(Method::GET, path, &pairs).await.status;
        assert_eq!(found, expected, "{service} {path}");
    }
}

#[tokio::test]
async fn the_projects_domain_is_kept_and_shown_and_decides_about_names() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("ann", scoped("ann", "demo", &["admin"]));
    cloud
        .keystone
        .give("dora", scoped_in("dora", "far", &["admin"], "domain2"));
    cloud.keystone.give("bob", scoped("bob", "other", &["member"]));
    cloud
        .keystone
        .give("root", scoped("root", "infra", &["ResellerAdmin"]));
    let named = |token| [("x-auth-token", token), ("x-container-read", "other:bob")];
    for (token, account, domain, expected) in [
        ("ann", "/v1/AUTH_demo-id", "default", 200),
        ("dora", "/v1/AUTH_far-id", "domain2", 403),
        ("root", "/v1/AUTH_new-id", "_unknown", 403),
    ] {
        let container = format!("{account}/c");
        assert_eq!(
            cloud.send(Method::PUT, &container, &named(token)).await.status,
            201
        );
        let head = cloud
            .send(Method::HEAD, account, &[("x-auth-token", token)])
            .await;
        assert_eq!(head.header("x-account-project-domain-id"), domain, "{account}");
        assert_eq!(
            cloud.status(Method::GET, &container, "bob").await,
            expected,
            "{account}"
        );
        let ids = [("x-auth-token", token), ("x-container-read", "other-id:bob-id")];
        assert_eq!(cloud.send(Method::POST, &container, &ids).await.status, 204);
        assert_eq!(
            cloud.status(Method::GET, &container, "bob").await,
            200,
            "{account}"
        );
    }
    // Clients cannot say it themselves.
    let said = [
        ("x-auth-token", "ann"),
        ("x-account-sysmeta-project-domain-id", "evil"),
        ("x-account-project-domain-id", "evil"),
    ];
    assert_eq!(
        cloud.send(Method::POST, "/v1/AUTH_demo-id", &said).await.status,
        204
    );
    let head = cloud
        .send(Method::HEAD, "/v1/AUTH_demo-id", &[("x-auth-token", "ann")])
        .await;
    assert_eq!(head.header("x-account-project-domain-id"), "default");
}

#[tokio::test]
async fn only_owners_see_acls() {
    let cloud = Cloud::start().await;
    cloud.keystone.give("ann", scoped("ann", "demo", &["admin"]));
    cloud.keystone.give("bob", scoped("bob", "other", &["member"]));
    let put = [("x-auth-token", "ann"), ("x-container-read", "*:bob-id")];
    assert_eq!(
        cloud.send(Method::PUT, "/v1/AUTH_demo-id/c", &put).await.status,
        201
    );
    for (token, shown) in [("ann", "*:bob-id"), ("bob", "")] {
        let head = cloud
            .send(Method::HEAD, "/v1/AUTH_demo-id/c", &[("x-auth-token", token)])
            .await;
        assert_eq!(
            (head.status, head.header("x-container-read")),
            (204, shown),
            "{token}"
        );
    }
}

/// What one proxy has learnt through memcached, the next need not ask; and nobody believes what was put there by others.
#[tokio::test]
async fn proxies_share_what_keystone_said() {
    let memcached = FakeMemcached::start().await;
    let with = |key: &'static str| {
        let address = memcached.address.clone();
        move |config: &mut ProxyConfig| {
            let authtoken = config.authtoken.as_mut().unwrap();
            authtoken.memcached_servers = vec![address];
            authtoken.memcache_secret_key = Some(Secret::new(key));
        }
    };
    let first = Cloud::start_with(with("key")).await;
    first.keystone.give("operator", scoped("ann", "demo", &["admin"]));
    assert_eq!(
        first.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        200
    );
    // A proxy whose own Keystone knows no token at all.
    let second = Cloud::start_with(with("key")).await;
    assert_eq!(
        second.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        200
    );
    assert_eq!(second.keystone.asked("token"), 0);
    // For no longer than the first proxy believes it.
    second.clock.advance_secs(300);
    assert_eq!(
        second.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
        401
    );
    let other_key = Cloud::start_with(with("another key")).await;
    assert_eq!(
        other_key
            .status(Method::GET, "/v1/AUTH_demo-id", "operator")
            .await,
        401
    );
    assert!(
        !memcached.contents().contains("operator"),
        "the token does not stand there"
    );
    // Somebody makes ann a reseller admin.
    memcached.replace("\"admin\"", "\"reselleradmin\"");
    let third = Cloud::start_with(with("key")).await;
    assert_eq!(
        third.status(Method::GET, "/v1/AUTH_other-id", "operator").await,
        401
    );
    assert_eq!(third.keystone.asked("token"), 1);
}

#[tokio::test]
async fn a_memcached_that_is_gone_or_talks_nonsense_is_as_none() {
    let nonsense = FakeMemcached::start().await;
    nonsense.talk_nonsense();
    for address in ["127.0.0.1:2".to_owned(), nonsense.address.clone()] {
        let cloud = Cloud::start_with(|config| {
            let authtoken = config.authtoken.as_mut().unwrap();
            authtoken.memcached_servers = vec![address.clone()];
            authtoken.memcache_secret_key = Some(Secret::new("key"));
        })
        .await;
        cloud.keystone.give("operator", scoped("ann", "demo", &["admin"]));
        assert_eq!(
            cloud.status(Method::GET, "/v1/AUTH_demo-id", "operator").await,
            200,
            "{address}"
        );
        assert_eq!(cloud.keystone.asked("token"), 1);
    }
}
