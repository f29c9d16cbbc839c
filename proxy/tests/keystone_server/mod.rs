//! A small Keystone for tests: knows a few tokens and EC2 credentials, and counts what it is asked.

// Each test file uses its own part of it.
#![allow(dead_code)]

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, StatusCode};
use martlet_service::{
    BoxFuture, Handler, Request, Response, ServeOptions, Shutdown, ShutdownTrigger, collect, headers,
    respond, serve,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const USER: &str = "swift";
pub const PASSWORD: &str = "s3cr3t";
pub const PROJECT: &str = "service";

/// A running Keystone. Ends with the value.
pub struct FakeKeystone {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _trigger: ShutdownTrigger,
}

struct Shared {
    state: Mutex<State>,
    /// Answers about tokens wait while this is set.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    tokens: BTreeMap<String, Value>,
    credentials: BTreeMap<String, Credential>,
    own_tokens: Vec<String>,
    own_expires: String,
    asked: BTreeMap<&'static str, usize>,
    is_down: bool,
    hides_secrets: bool,
}

#[derive(Clone)]
struct Credential {
    secret: String,
    token: Value,
}

impl FakeKeystone {
    pub async fn start() -> FakeKeystone {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                own_expires: "2999-01-01T00:00:00.000000Z".into(),
                ..State::default()
            }),
            held: watch::Sender::new(false),
        });
        let (trigger, shutdown) = Shutdown::new();
        let handler = Arc::new(Doors(shared.clone()));
        tokio::spawn(serve(
            listener,
            handler,
            ServeOptions::public("keystone"),
            shutdown,
        ));
        FakeKeystone {
            address,
            shared,
            _trigger: trigger,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v3", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Knows a token from now on.
    pub fn give(&self, token: &str, about: Value) {
        self.state().tokens.insert(token.into(), about);
    }

    /// Knows it no longer: revoked, ended, or its user disabled.
    pub fn revoke(&self, token: &str) {
        self.state().tokens.remove(token);
    }

    /// An EC2 credential and the token its user would have.
    pub fn give_credential(&self, access: &str, secret: &str, token: Value) {
        let secret = secret.to_owned();
        self.state()
            .credentials
            .insert(access.into(), Credential { secret, token });
    }

    pub fn revoke_credential(&self, access: &str) {
        self.state().credentials.remove(access);
    }

    /// Does not show the secrets of credentials, as to a service user without the right role.
    pub fn hide_secrets(&self) {
        self.state().hides_secrets = true;
    }

    /// From now on everything is answered with 503, or not.
    pub fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// Forgets the service user's tokens; those it gives from now on end at this moment.
    pub fn forget_own_tokens(&self, next_expires: &str) {
        let mut state = self.state();
        state.own_tokens.clear();
        state.own_expires = next_expires.into();
    }

    /// Holds answers about tokens back, or lets them go.
    pub fn hold(&self, is_held: bool) {
        self.shared.held.send_replace(is_held);
    }

    /// How often it was asked for `login`, `token`, `s3token` or `secret`.
    pub fn asked(&self, what: &str) -> usize {
        self.state().asked.get(what).copied().unwrap_or(0)
    }
}

/// What Keystone says of a token of a project.
pub fn scoped(user: &str, project: &str, roles: &[&str]) -> Value {
    scoped_in(user, project, roles, "default")
}

/// The same in another domain.
pub fn scoped_in(user: &str, project: &str, roles: &[&str], domain: &str) -> Value {
    let roles: Vec<Value> = roles
        .iter()
        .map(|role| json!({"id": role, "name": role}))
        .collect();
    json!({"token": {
        "methods": ["password"],
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "user": {"id": format!("{user}-id"), "name": user, "domain": {"id": domain, "name": domain}},
        "project": {"id": format!("{project}-id"), "name": project, "domain": {"id": domain, "name": domain}},
        "roles": roles,
    }})
}

pub fn unscoped(user: &str) -> Value {
    let mut token = scoped(user, "none", &[]);
    token["token"].as_object_mut().unwrap().remove("project");
    token["token"].as_object_mut().unwrap().remove("roles");
    token
}

/// The same token, ending at a moment.
pub fn ending(mut token: Value, expires: &str) -> Value {
    token["token"]["expires_at"] = json!(expires);
    token
}

struct Doors(Arc<Shared>);

impl Handler for Doors {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = collect(body, 1 << 20).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| headers::text(&parts.headers, name).unwrap_or("").to_owned();
            let (token, subject) = (text("x-auth-token"), text("x-subject-token"));
            let path = parts.uri.path().strip_prefix("/v3").unwrap_or("").to_owned();
            let is_held = path == "/auth/tokens" && parts.method == Method::GET;
            let query = parts.uri.query().unwrap_or("").to_owned();
            let response = self.answer(&parts.method, &path, &query, &token, &subject, &body);
            if is_held {
                self.0.held.subscribe().wait_for(|held| !held).await.unwrap();
            }
            response
        })
    }
}

impl Doors {
    fn answer(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        token: &str,
        subject: &str,
        body: &Value,
    ) -> Response {
        let mut state = self.0.state.lock().unwrap();
        let what = match (method.as_str(), path) {
            ("POST", "/auth/tokens") => "login",
            ("GET", "/auth/tokens") => "token",
            ("HEAD", "/auth/tokens") => "itself",
            ("POST", "/s3tokens") => "s3token",
            // A look at the start, whether secrets may be seen.
            ("GET", path) if path.ends_with("/credentials/OS-EC2") => "try",
            _ => "secret",
        };
        *state.asked.entry(what).or_default() += 1;
        if state.is_down {
            return respond::empty(StatusCode::SERVICE_UNAVAILABLE);
        }
        if what == "login" {
            return state.log_in(body);
        }
        if !state.own_tokens.iter().any(|own| own == token) {
            return respond::empty(StatusCode::UNAUTHORIZED);
        }
        match what {
            "token" => state.describe(subject, query.contains("allow_expired=1")),
            "itself" => respond::empty(StatusCode::OK),
            "s3token" => state.check_signature(&body["credentials"]),
            _ => state.secret(path),
        }
    }
}

impl State {
    fn log_in(&mut self, body: &Value) -> Response {
        let user = &body["auth"]["identity"]["password"]["user"];
        let scope = &body["auth"]["scope"]["project"];
        let is_right = user["name"] == USER
            && user["password"] == PASSWORD
            && user["domain"]["name"] == "Default"
            && scope["name"] == PROJECT
            && scope["domain"]["name"] == "Default";
        if !is_right {
            return respond::empty(StatusCode::UNAUTHORIZED);
        }
        let token = format!("own-{}", self.asked["login"]);
        self.own_tokens.push(token.clone());
        let about = ending(scoped(USER, PROJECT, &["admin"]), &self.own_expires);
        let mut response = respond::json(StatusCode::CREATED, &about);
        headers::set(response.headers_mut(), "x-subject-token", &token);
        response
    }

    /// Tokens that have ended are shown to whoever allows them.
    fn describe(&self, subject: &str, allow_expired: bool) -> Response {
        match self.tokens.get(subject) {
            Some(about) if allow_expired || about["token"]["ended"].is_null() => {
                respond::json(StatusCode::OK, about)
            }
            _ => respond::empty(StatusCode::NOT_FOUND),
        }
    }

    /// As Keystone's `s3tokens` does.
    fn check_signature(&self, given: &Value) -> Response {
        let refused = || respond::empty(StatusCode::UNAUTHORIZED);
        let text = |name: &str| given[name].as_str().unwrap_or("");
        let Some(credential) = self.credentials.get(text("access")) else {
            return refused();
        };
        let signed = base64::engine::general_purpose::URL_SAFE
            .decode(text("token"))
            .unwrap();
        match signature(&credential.secret, &signed) == text("signature") {
            true => respond::json(StatusCode::OK, &credential.token),
            false => refused(),
        }
    }

    fn secret(&self, path: &str) -> Response {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["users", user, "credentials", "OS-EC2", access] = parts[..] else {
            return respond::empty(StatusCode::NOT_FOUND);
        };
        match self.credentials.get(access) {
            _ if self.hides_secrets => respond::empty(StatusCode::FORBIDDEN),
            Some(found) if found.token["token"]["user"]["id"] == user => respond::json(
                StatusCode::OK,
                &json!({"credential": {"access": access, "secret": found.secret, "user_id": user}}),
            ),
            _ => respond::empty(StatusCode::NOT_FOUND),
        }
    }
}

/// The signature of a string to sign: version 4 names its scope in its third line; version 2 is all else.
pub fn signature(secret: &str, signed: &[u8]) -> String {
    if !signed.starts_with(b"AWS4") {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed);
        return base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    }
    let text = std::str::from_utf8(signed).unwrap();
    let scope = text.lines().nth(2).unwrap();
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac_sha256(&key, part.as_bytes());
    }
    hex::encode(hmac_sha256(&key, signed))
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
