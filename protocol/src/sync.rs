//! Container sync: which clusters trust each other (realms), and how one signs what it asks of the other.
//!
//! Operators write realms in Swift's `container-sync-realms.conf`; the same file serves both kinds of cluster.

use crate::percent;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Clusters that share a key, by the realm's name in upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realms(BTreeMap<String, Realm>);

/// One realm.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Realm {
    /// The operators' secret; without one nothing is taken from this realm.
    pub key: Option<String>,
    /// A second secret that is good as well while keys are being changed.
    pub key2: Option<String>,
    /// Where each cluster's API is, by its name in upper case.
    pub clusters: BTreeMap<String, String>,
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are for nobody's eyes.
        f.debug_struct("Realm")
            .field("clusters", &self.clusters)
            .finish_non_exhaustive()
    }
}

/// A line that cannot be read, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine(pub usize);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no section, option or comment", self.0)
    }
}

impl std::error::Error for BadLine {}

/// What a realms file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RealmsFile {
    pub realms: Realms,
    /// Seconds between two looks at the file (`mtime_check_interval`).
    pub check_interval: Option<f64>,
}

impl RealmsFile {
    /// Reads a file that is looked at again and again: the realms, and how long they may be believed.
    pub fn parsed(text: &str) -> Result<(Realms, Option<Duration>), String> {
        let file = Self::parse(text).map_err(|error| error.to_string())?;
        let interval = file.check_interval.map(Duration::try_from_secs_f64);
        Ok((file.realms, interval.and_then(Result::ok)))
    }

    /// Reads `[realm]` sections with `key`, `key2` and `cluster_NAME` options. What stands in `[DEFAULT]` holds for all
    /// realms that do not say otherwise. A line that begins with white space goes on with the one before.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let (mut section, mut option): (Option<String>, Option<String>) = (None, None);
        for (at, line) in text.lines().enumerate() {
            let bad = BadLine(at + 1);
            let content = line.trim();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with([' ', '\t'])
                && let (Some(section), Some(option)) = (&section, &option)
            {
                let options = sections.entry(section.clone()).or_default();
                if let Some(value) = options.get_mut(option) {
                    value.push('\n');
                    value.push_str(content);
                }
                continue;
            }
            if let Some(rest) = content.strip_prefix('[') {
                let name = rest.split_once(']').ok_or(bad)?.0;
                sections.entry(name.to_owned()).or_default();
                (section, option) = (Some(name.to_owned()), None);
                continue;
            }
            let (name, value) = content.split_once(['=', ':']).ok_or(bad)?;
            let name = name.trim().to_lowercase();
            let options = sections.entry(section.clone().ok_or(bad)?).or_default();
            options.insert(name.clone(), value.trim().to_owned());
            option = Some(name);
        }
        let defaults = sections.remove("DEFAULT").unwrap_or_default();
        let check_interval = defaults
            .get("mtime_check_interval")
            .and_then(|text| text.parse().ok());
        let mut realms = BTreeMap::new();
        for (name, own) in sections {
            let mut options = defaults.clone();
            options.extend(own);
            let mut realm = Realm::default();
            for (option, value) in options {
                match option.as_str() {
                    "key" => realm.key = Some(value),
                    "key2" => realm.key2 = Some(value),
                    _ => {
                        if let Some(cluster) = option.strip_prefix("cluster_") {
                            realm.clusters.insert(cluster.to_uppercase(), value);
                        }
                    }
                }
            }
            realms.insert(name.to_uppercase(), realm);
        }
        Ok(RealmsFile {
            realms: Realms(realms),
            check_interval,
        })
    }
}

/// Where a container is mirrored to, and by which secret it is sent there.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// `http` or `https`.
    pub scheme: String,
    /// Host, maybe with a port.
    pub authority: String,
    /// `/v1/account/container`, percent-encoded in Swift's own way.
    pub path: String,
    /// The realm's name and key; `None`: a whole address, to which the owner's key alone is sent.
    pub realm: Option<(String, String)>,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let realm = self.realm.as_ref().map(|(name, _)| name);
        write!(
            f,
            "{}://{}{} in {realm:?}",
            self.scheme, self.authority, self.path
        )
    }
}

impl Destination {
    /// Splits an address that begins with its scheme.
    fn new(address: &str, realm: Option<(String, String)>) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let is_plain = !authority.is_empty() && !authority.contains(['@', '?', '#', ' ']);
        if !is_plain || !matches!(scheme, "http" | "https") || path.contains(['?', '#']) {
            return None;
        }
        let path = path.trim_end_matches('/');
        let decoded = percent::unquote(path).ok()?;
        Some(Destination {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            path: percent::quote(&decoded),
            realm,
        })
    }

    /// Without the port, and without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(""),
            None => self.authority.split(':').next().unwrap_or(""),
        }
    }
}

impl Realms {
    /// Where the value of an `X-Container-Sync-To` leads. A whole address must name one of the hosts. The error is for the
    /// client.
    pub fn destination(&self, value: &str, allowed_hosts: &[String]) -> Result<Destination, String> {
        match SyncTo::parse(value)? {
            SyncTo::Realm { realm, cluster, path } => {
                let known = self.get(&realm);
                let key = known.and_then(|known| known.key.clone());
                let (Some(known), Some(key)) = (known, key.filter(|key| !key.is_empty())) else {
                    return Err(format!("No realm key for '{realm}'"));
                };
                let endpoint = known.clusters.get(&cluster);
                let address = endpoint.map(|endpoint| format!("{}{path}", endpoint.trim_end_matches('/')));
                address
                    .and_then(|address| Destination::new(&address, Some((realm.clone(), key))))
                    .ok_or_else(|| format!("No cluster endpoint for '{realm}' '{cluster}'"))
            }
            SyncTo::Url(url) => {
                let found = Destination::new(&url, None);
                let host = found.as_ref().map_or("", Destination::host).to_owned();
                found
                    .filter(|_| allowed_hosts.contains(&host))
                    .ok_or_else(|| format!("Invalid host '{host}' in X-Container-Sync-To"))
            }
        }
    }

    /// Names do not differ by case.
    pub fn get(&self, name: &str) -> Option<&Realm> {
        self.0.get(&name.to_uppercase())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Realm)> {
        self.0.iter().map(|(name, realm)| (name.as_str(), realm))
    }
}

/// What one cluster signs, and the other checks.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// Percent-encoded, with the version.
    pub path: &'a str,
    /// `X-Timestamp`, as it is sent.
    pub timestamp: &'a str,
    /// Different in each request.
    pub nonce: &'a str,
    /// The owner's secret: both containers have it as `X-Container-Sync-Key`.
    pub user_key: &'a str,
}

impl Signed<'_> {
    /// The signature with a realm's key, hexadecimal.
    pub fn signature(&self, realm_key: &str) -> String {
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(realm_key.as_bytes())
            .expect("an HMAC takes a key of any length");
        let parts = [self.method, self.path, self.timestamp, self.nonce, self.user_key];
        mac.update(parts.join("\n").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

/// `//REALM/CLUSTER/account/container` of `X-Container-Sync-To`, or the whole address of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncTo {
    Realm {
        realm: String,
        cluster: String,
        /// `/account/container`.
        path: String,
    },
    Url(String),
}

impl SyncTo {
    /// The error is for the client.
    pub fn parse(value: &str) -> Result<Self, String> {
        let value = value.trim().trim_end_matches('/');
        if let Some(rest) = value.strip_prefix("//") {
            let parts: Vec<&str> = rest.splitn(4, '/').collect();
            let [realm, cluster, account, container] = parts[..] else {
                return Err(format!("Invalid X-Container-Sync-To format {value:?}"));
            };
            if [realm, cluster, account, container].contains(&"") || container.contains('/') {
                return Err(format!("Invalid X-Container-Sync-To format {value:?}"));
            }
            return Ok(SyncTo::Realm {
                realm: realm.to_uppercase(),
                cluster: cluster.to_uppercase(),
                path: format!("/{account}/{container}"),
            });
        }
        let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
        if scheme != "http" && scheme != "https" {
            return Err(format!(
                "Invalid scheme '{scheme}' in X-Container-Sync-To, must be \"//\", \"http\", or \"https\"."
            ));
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || path.is_empty() {
            return Err("Path required in X-Container-Sync-To".into());
        }
        if value.contains(['?', '#', ' ']) {
            return Err("Params, queries, and fragments not allowed in X-Container-Sync-To".into());
        }
        Ok(SyncTo::Url(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
[DEFAULT]
mtime_check_interval = 60

# Two realms.
[us]
key = 9ff3b71c849749dbaec4ccdd3cbab62b
key2: 1a0a5a0cbd66448084089304442d6776
cluster_dfw1 = http://dfw1.host/v1/
[Uk]
cluster_lon3 = http://lon3.host/v1/
";

    #[test]
    fn swifts_file_is_read() {
        let file = RealmsFile::parse(SAMPLE).unwrap();
        assert_eq!(file.check_interval, Some(60.0));
        let us = file.realms.get("US").unwrap();
        assert_eq!(us.key.as_deref(), Some("9ff3b71c849749dbaec4ccdd3cbab62b"));
        assert_eq!(us.key2.as_deref(), Some("1a0a5a0cbd66448084089304442d6776"));
        assert_eq!(us.clusters["DFW1"], "http://dfw1.host/v1/");
        let uk = file.realms.get("uk").unwrap();
        assert_eq!((uk.key.as_deref(), uk.clusters.len()), (None, 1));
        assert_eq!(file.realms.get("fr"), None);
        let names: Vec<_> = file.realms.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["UK", "US"]);
        assert!(!format!("{us:?}").contains("9ff3"));
        assert_eq!(RealmsFile::parse("").unwrap(), RealmsFile::default());
    }

    #[test]
    fn what_is_no_line_is_told() {
        for (text, line) in [
            ("key = 1", 1),
            ("[a]\nkey", 2),
            ("[a\n", 1),
            ("[a]\n\n# x\njunk\n", 4),
        ] {
            assert_eq!(RealmsFile::parse(text), Err(BadLine(line)), "{text:?}");
        }
        let inherited = RealmsFile::parse("[DEFAULT]\nkey = k\n[a]\ncluster_x = y\n  z\n").unwrap();
        let realm = inherited.realms.get("a").unwrap();
        assert_eq!(
            (realm.key.as_deref(), realm.clusters["X"].as_str()),
            (Some("k"), "y\nz")
        );
    }

    #[test]
    fn signatures_cover_all_of_it() {
        let signed = Signed {
            method: "GET",
            path: "/some/path",
            timestamp: "1387212345.67890",
            nonce: "my_nonce",
            user_key: "user_key",
        };
        // As Swift 2.38.3 signs the same.
        let right = signed.signature("realm_key");
        assert_eq!(right, "5a6eb486eb7b44ae1b1f014187a94529c3f9c8f9");
        for other in [
            Signed {
                method: "PUT",
                ..signed
            },
            Signed {
                path: "/other",
                ..signed
            },
            Signed {
                timestamp: "1",
                ..signed
            },
            Signed { nonce: "n", ..signed },
            Signed {
                user_key: "u",
                ..signed
            },
        ] {
            assert_ne!(other.signature("realm_key"), right);
        }
        assert_ne!(signed.signature("other"), right);
    }

    #[test]
    fn where_to() {
        let realm = SyncTo::parse("//us/dfw1/AUTH_a/c%20d/").unwrap();
        assert_eq!(
            realm,
            SyncTo::Realm {
                realm: "US".into(),
                cluster: "DFW1".into(),
                path: "/AUTH_a/c%20d".into()
            }
        );
        assert_eq!(
            SyncTo::parse("http://127.0.0.1/v1/AUTH_a/c"),
            Ok(SyncTo::Url("http://127.0.0.1/v1/AUTH_a/c".into()))
        );
        for bad in [
            "//us",
            "//us/dfw1/AUTH_a",
            "//us//AUTH_a/c",
            "//us/dfw1/AUTH_a/c/o",
            "ftp://host/v1/a/c",
            "host/v1/a/c",
            "http://host",
            "http:///path",
            "http://host/v1/a/c?x=y",
            "",
        ] {
            assert!(SyncTo::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn destinations_are_found_or_refused() {
        let realms = RealmsFile::parse(SAMPLE).unwrap().realms;
        let allowed = ["127.0.0.1".to_owned(), "::1".to_owned()];
        let find = |value: &str| {
            let found = realms.destination(value, &allowed)?;
            let realm = found.realm.as_ref().map(|(name, _)| name.as_str());
            let address = format!("{}://{}{}", found.scheme, found.authority, found.path);
            Ok::<_, String>((address, realm.unwrap_or("").to_owned()))
        };
        for (value, address, realm) in [
            ("//us/DFW1/AUTH_a/c d/", "http://dfw1.host/v1/AUTH_a/c%20d", "US"),
            ("//us/DFW1/AUTH_a/c%20d", "http://dfw1.host/v1/AUTH_a/c%20d", "US"),
            ("http://127.0.0.1:80/v1/a/c", "http://127.0.0.1:80/v1/a/c", ""),
            ("https://[::1]/v1/a/c%7e", "https://[::1]/v1/a/c~", ""),
        ] {
            assert_eq!(find(value), Ok((address.into(), realm.into())), "{value}");
        }
        for bad in [
            "//uk/lon3/AUTH_a/c",
            "//us/lon3/AUTH_a/c",
            "//fr/x/AUTH_a/c",
            "http://other/v1/a/c",
            "http://127.0.0.1@other/v1/a/c",
            "http://other:80@127.0.0.1/v1/a/c",
            "http://127.0.0.1.example/v1/a/c",
            "//us/dfw1/AUTH_a/c?x=y",
        ] {
            assert!(find(bad).is_err(), "{bad}");
        }
        let shown = format!("{:?}", realms.destination("//us/dfw1/a/c", &allowed));
        assert!(shown.contains("US") && !shown.contains("9ff3"), "{shown}");
    }
}
