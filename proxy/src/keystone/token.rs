//! Keystone's description of a token, read. Pure.

use martlet_protocol::identity::{KeystoneProject, KeystoneUser};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    pub user: KeystoneUser,
    pub expires_secs: u64,
}

#[derive(Deserialize)]
struct Envelope<T> {
    token: T,
}

#[derive(Deserialize)]
struct Expiry {
    expires_at: String,
}

#[derive(Deserialize)]
struct Token {
    /// Answers about S3 signatures may be without.
    expires_at: Option<String>,
    user: User,
    project: Option<Project>,
    #[serde(default)]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

/// Reads the answer of `GET /v3/auth/tokens` or `POST /v3/s3tokens`; `None` when it is not what Keystone documents.
pub fn parse(body: &[u8]) -> Option<TokenInfo> {
    let Envelope { token }: Envelope<Token> = serde_json::from_slice(body).ok()?;
    let expires_secs = match &token.expires_at {
        Some(text) => moment(text)?,
        None => u64::MAX,
    };
    let project = token.project.map(|project| KeystoneProject {
        id: project.id,
        name: project.name,
        domain_id: project.domain.and_then(|domain| domain.id),
    });
    Some(TokenInfo {
        user: KeystoneUser {
            id: token.user.id,
            name: token.user.name,
            domain_id: token.user.domain.and_then(|domain| domain.id),
            project,
            roles: token
                .roles
                .into_iter()
                .map(|role| role.name.to_lowercase())
                .collect(),
            service_roles: Vec::new(),
            service_project: None,
        },
        expires_secs,
    })
}

/// When a token ends that was just given out.
pub fn expiry(body: &[u8]) -> Option<u64> {
    let Envelope { token }: Envelope<Expiry> = serde_json::from_slice(body).ok()?;
    moment(&token.expires_at)
}

fn moment(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read() {
        let info = parse(
            br#"{"token": {"methods": ["password"], "expires_at": "2015-11-07T02:58:43.578887Z",
            "user": {"id": "u1", "name": "ann", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p1", "name": "demo", "domain": {"id": "d2", "name": "D2"}},
            "roles": [{"id": "r", "name": "Member"}], "is_domain": false}}"#,
        )
        .unwrap();
        assert_eq!(info.expires_secs, 1_446_865_123);
        assert_eq!(info.user.roles, ["member"]);
        assert_eq!(info.user.domain_id.as_deref(), Some("default"));
        assert_eq!(info.user.project.unwrap().domain_id.as_deref(), Some("d2"));
        let unscoped =
            br#"{"token": {"expires_at": "2015-11-07T02:58:43Z", "user": {"id": "u", "name": "a"}}}"#;
        let unscoped = parse(unscoped).unwrap();
        assert!(unscoped.user.project.is_none() && unscoped.user.roles.is_empty());
        for junk in [
            &b""[..],
            b"{}",
            br#"{"token": {}}"#,
            br#"{"token": {"expires_at": "soon", "user": {"id": "u", "name": "a"}}}"#,
            br#"{"error": {"code": 404}}"#,
        ] {
            assert_eq!(parse(junk), None);
        }
    }
}
