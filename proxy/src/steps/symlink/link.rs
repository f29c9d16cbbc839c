//! A link as a value: read from what a client asks for or from what is kept, and written as both. Pure.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName};
use martlet_protocol::name::{AccountName, ContainerName, ObjectName, ObjectPath};
use martlet_protocol::percent;
use martlet_service::headers;

pub const TARGET: &str = "x-symlink-target";
pub const TARGET_ACCOUNT: &str = "x-symlink-target-account";
pub const TARGET_ETAG: &str = "x-symlink-target-etag";
pub const TARGET_BYTES: &str = "x-symlink-target-bytes";

pub const STORED_TARGET: &str = "x-object-sysmeta-symlink-target";
const STORED_ACCOUNT: &str = "x-object-sysmeta-symlink-target-account";
const STORED_ETAG: &str = "x-object-sysmeta-symlink-target-etag";
const STORED_BYTES: &str = "x-object-sysmeta-symlink-target-bytes";

/// Public names and the kept ones.
const PAIRS: [(&str, &str); 4] = [
    (TARGET, STORED_TARGET),
    (TARGET_ACCOUNT, STORED_ACCOUNT),
    (TARGET_ETAG, STORED_ETAG),
    (TARGET_BYTES, STORED_BYTES),
];

/// Why a link cannot be made: the status and the words for the client.
pub type Problem = (StatusCode, &'static str);

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `container/object`, percent-encoded.
    pub target: String,
    /// Percent-encoded; without it the link's own account.
    pub account: Option<String>,
    /// Of a static link: what the target must have.
    pub etag: Option<String>,
    /// Of a static link: the target's length when the link was made.
    pub bytes: Option<String>,
}

impl Link {
    /// What an object's headers say; `None` when it is no link.
    pub fn of(map: &HeaderMap) -> Option<Self> {
        let text = |name: &str| {
            headers::text(map, name)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        Some(Link {
            target: text(STORED_TARGET)?,
            account: text(STORED_ACCOUNT),
            etag: text(STORED_ETAG),
            bytes: text(STORED_BYTES),
        })
    }

    /// What a client asks for in a PUT to `own`.
    pub fn asked(map: &HeaderMap, own: &ObjectPath) -> Result<(Self, ObjectPath), Problem> {
        const FORM: &str = "X-Symlink-Target header must be of the form <container name>/<object name>";
        let form = (StatusCode::PRECONDITION_FAILED, FORM);
        let value = headers::text(map, TARGET).ok_or(form)?;
        let value = percent::unquote(value).map_err(|_| form)?;
        let (container, object) = value.split_once('/').ok_or(form)?;
        let path = ObjectPath {
            account: asked_account(map)?.unwrap_or_else(|| own.account.clone()),
            container: ContainerName::new(container).map_err(|_| form)?,
            object: ObjectName::new(object).map_err(|_| form)?,
        };
        if path == *own {
            return Err((StatusCode::BAD_REQUEST, "Symlink cannot target itself"));
        }
        let etag = headers::text(map, TARGET_ETAG).map(bare_etag);
        let etag = etag.filter(|etag| !etag.is_empty()).map(str::to_owned);
        // These would end the parameter of the container's row that keeps the ETag.
        if etag
            .as_deref()
            .is_some_and(|etag| etag.contains([';', '"', '\\']))
        {
            return Err((StatusCode::BAD_REQUEST, "Bad X-Symlink-Target-Etag format"));
        }
        let link = Link {
            target: percent::quote(&value),
            account: asked_account(map)?.map(|account| percent::quote(&account)),
            etag,
            bytes: headers::text(map, TARGET_BYTES).map(str::to_owned),
        };
        Ok((link, path))
    }

    /// Writes the link into the headers of the PUT that makes it, in place of what the client asked.
    pub fn keep(&self, map: &mut HeaderMap) {
        for (public, stored) in PAIRS {
            map.remove(public);
            map.remove(stored);
        }
        headers::set(map, STORED_TARGET, &self.target);
        for (name, value) in [
            (STORED_ACCOUNT, &self.account),
            (STORED_ETAG, &self.etag),
            (STORED_BYTES, &self.bytes),
        ] {
            if let Some(value) = value {
                headers::set(map, name, value);
            }
        }
    }

    /// The parameters by which the container's row knows the link.
    pub fn row_parameters(&self) -> String {
        let mut out = format!("symlink_target={}", self.target);
        let mut push = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                out.push_str(&format!("; {name}={value}"));
            }
        };
        push("symlink_target_account", &self.account);
        push("symlink_target_etag", &self.etag);
        push("symlink_target_bytes", &self.bytes);
        out
    }

    /// `/v1/account/container/object` of the target; `own` is the link's account.
    pub fn location(&self, own: &AccountName) -> String {
        let own = percent::quote(own);
        let account = self.account.as_ref().unwrap_or(&own);
        format!("/v1/{account}/{}", self.target.trim_start_matches('/'))
    }

    /// The target's path. `None`: what is kept names nothing.
    pub fn path(&self, own: &AccountName) -> Option<ObjectPath> {
        let target = percent::unquote(&self.target).ok()?;
        let (container, object) = target.trim_start_matches('/').split_once('/')?;
        let account = match &self.account {
            Some(account) => AccountName::new(percent::unquote(account).ok()?).ok()?,
            None => own.clone(),
        };
        Some(ObjectPath {
            account,
            container: ContainerName::new(container).ok()?,
            object: ObjectName::new(object).ok()?,
        })
    }
}

fn asked_account(map: &HeaderMap) -> Result<Option<AccountName>, Problem> {
    let Some(value) = headers::text(map, TARGET_ACCOUNT) else {
        return Ok(None);
    };
    let refused = |words| (StatusCode::PRECONDITION_FAILED, words);
    let value = percent::unquote(value).map_err(|_| refused("Account name must be UTF-8"))?;
    if value.is_empty() {
        return Err(refused("Account name cannot be empty"));
    }
    if value.contains('/') {
        return Err(refused("Account name cannot contain slashes"));
    }
    AccountName::new(value)
        .map(Some)
        .map_err(|_| refused("Account name is not valid"))
}

/// An ETag without its quotes.
pub fn bare_etag(etag: &str) -> &str {
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"')
        .and_then(|etag| etag.strip_suffix('"'))
        .unwrap_or(etag)
}

/// Gives the kept headers of a link their public names.
pub fn show(map: &mut HeaderMap) {
    for (public, stored) in PAIRS {
        if let Some(value) = map.remove(stored) {
            map.insert(HeaderName::from_static(public), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_service::headers::of as map;

    fn own() -> ObjectPath {
        ObjectPath {
            account: AccountName::new("a").unwrap(),
            container: ContainerName::new("c").unwrap(),
            object: ObjectName::new("o").unwrap(),
        }
    }

    #[test]
    fn targets_are_read_or_refused() {
        let check = |pairs: &[(&str, &str)]| {
            Link::asked(&map(pairs), &own())
                .map(|(link, path)| (link.target, path.path()))
                .map_err(|(status, words)| format!("{} {words}", status.as_u16()))
        };
        let form = "412 X-Symlink-Target header must be of the form <container name>/<object name>";
        for (value, expected) in [
            ("d/p", Ok(("d/p", "/a/d/p"))),
            ("d/p%20q/r", Ok(("d/p%20q/r", "/a/d/p%20q/r"))),
            ("d%2Fp q", Ok(("d/p%20q", "/a/d/p%20q"))),
            ("d/p?q=r", Ok(("d/p%3Fq%3Dr", "/a/d/p%3Fq%3Dr"))),
            ("/d/p", Err(form)),
            ("%2Fd/p", Err(form)),
            ("d", Err(form)),
            ("d/", Err(form)),
            ("", Err(form)),
            ("d/%ff", Err(form)),
            ("c/o", Err("400 Symlink cannot target itself")),
        ] {
            let expected = expected
                .map(|(target, path)| (target.to_owned(), path.to_owned()))
                .map_err(str::to_owned);
            assert_eq!(check(&[(TARGET, value)]), expected, "{value}");
        }
        assert_eq!(
            check(&[(TARGET, "c/o"), (TARGET_ACCOUNT, "b")]).unwrap().1,
            "/b/c/o"
        );
        for (account, expected) in [
            ("b%2Fc", "412 Account name cannot contain slashes"),
            ("", "412 Account name cannot be empty"),
        ] {
            let pairs = [(TARGET, "d/p"), (TARGET_ACCOUNT, account)];
            assert_eq!(check(&pairs), Err(expected.into()));
        }
        for etag in ["a;b", "a\\b", "\"a"] {
            let pairs = [(TARGET, "d/p"), (TARGET_ETAG, etag)];
            assert_eq!(
                check(&pairs),
                Err("400 Bad X-Symlink-Target-Etag format".into()),
                "{etag}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_what_was_asked() {
        let asked = map(&[
            (TARGET, "d/p q"),
            (TARGET_ACCOUNT, "b"),
            (TARGET_ETAG, "\"e\""),
            ("x-object-meta-a", "b"),
        ]);
        let (mut link, _) = Link::asked(&asked, &own()).unwrap();
        assert_eq!(link.etag.as_deref(), Some("e"));
        link.bytes = Some("5".into());
        let mut kept = asked;
        link.keep(&mut kept);
        assert_eq!(Link::of(&kept), Some(link.clone()));
        assert!(!kept.contains_key(TARGET) && kept.contains_key("x-object-meta-a"));
        assert_eq!(link.location(&own().account), "/v1/b/d/p%20q");
        assert_eq!(link.path(&own().account).unwrap().path(), "/b/d/p%20q");
        assert_eq!(
            link.row_parameters(),
            "symlink_target=d/p%20q; symlink_target_account=b; symlink_target_etag=e; symlink_target_bytes=5"
        );
        show(&mut kept);
        assert_eq!(kept[TARGET], "d/p%20q");
        assert_eq!(Link::of(&kept), None);
    }

    #[test]
    fn damaged_links_lead_nowhere() {
        for target in ["d", "%ff/x", "/"] {
            let link = Link::of(&map(&[(STORED_TARGET, target)])).unwrap();
            assert_eq!(link.path(&own().account), None, "{target}");
        }
    }
}
