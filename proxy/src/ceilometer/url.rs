//! Where message brokers are: oslo.messaging's transport URLs.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// RabbitMQ's port, with TLS too, as in oslo.messaging.
const DEFAULT_PORT: u16 = 5672;
/// Whom RabbitMQ lets in from its own machine.
const GUEST: &str = "guest";
/// AMQP's short strings.
const MAX_NAME_BYTES: usize = 255;

/// One broker of a cluster of them.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Without the password.
impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `rabbit://user:password@host:port[,user:password@host:port...]/virtual_host?option=value`, after the section
/// "Transport URL" of oslo.messaging's documentation. Of its transports this one is spoken.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportUrl {
    text: String,
    pub brokers: Vec<BrokerAddress>,
    pub virtual_host: String,
    /// Settings of the driver that stand behind the question mark.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rabbit://{:?}/{}", self.brokers, self.virtual_host)
    }
}

/// Why a text is no address of a broker. Does not repeat the text, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportUrlError(&'static str);

impl fmt::Display for TransportUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message broker's url {}", self.0)
    }
}

impl std::error::Error for TransportUrlError {}

impl FromStr for TransportUrl {
    type Err = TransportUrlError;

    fn from_str(text: &str) -> Result<Self, TransportUrlError> {
        let wrong = TransportUrlError;
        let (scheme, rest) = text.split_once("://").ok_or(wrong("must begin with rabbit://"))?;
        if !matches!(scheme, "rabbit" | "kombu") {
            return Err(wrong(
                "must begin with rabbit://; other transports are not spoken",
            ));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, virtual_host) = rest.split_once('/').unwrap_or((rest, ""));
        let unquoted =
            |text: &str| martlet_protocol::percent::unquote(text).map_err(|_| wrong("is not UTF-8"));
        let virtual_host = match unquoted(virtual_host)? {
            name if name.is_empty() => "/".to_owned(),
            name => name,
        };
        if virtual_host.len() > MAX_NAME_BYTES {
            return Err(wrong("names a virtual host of more than 255 bytes"));
        }
        let brokers = hosts.split(',').filter(|host| !host.is_empty());
        let brokers = brokers
            .map(|host| broker(host, &unquoted))
            .collect::<Result<Vec<_>, _>>()?;
        if brokers.is_empty() {
            return Err(wrong("names no host"));
        }
        let mut options = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or(wrong("has an option without a value"))?;
            options.insert(unquoted(name)?, unquoted(value)?);
        }
        Ok(TransportUrl {
            text: text.to_owned(),
            brokers,
            virtual_host,
            options,
        })
    }
}

fn broker(
    text: &str,
    unquoted: &impl Fn(&str) -> Result<String, TransportUrlError>,
) -> Result<BrokerAddress, TransportUrlError> {
    let wrong = TransportUrlError;
    let (login, place) = match text.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, text),
    };
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (unquoted(user)?, unquoted(password)?),
        None => (GUEST.to_owned(), GUEST.to_owned()),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest
                .split_once(']')
                .ok_or(wrong("has an address without its last bracket"))?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, Some("")),
        },
    };
    let port = match port.ok_or(wrong("has something behind an address that is no port"))? {
        "" => DEFAULT_PORT,
        port => port.parse().map_err(|_| wrong("has a port that is no number"))?,
    };
    if host.is_empty() {
        return Err(wrong("names a broker without a host"));
    }
    Ok(BrokerAddress {
        host: host.to_owned(),
        port,
        user,
        password,
    })
}

impl Serialize for TransportUrl {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TransportUrl {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_oslo_messaging_reads_them() {
        let check = |text: &str, brokers: &[(&str, u16, &str, &str)], virtual_host: &str| {
            let url: TransportUrl = text.parse().unwrap();
            let seen: Vec<_> = url
                .brokers
                .iter()
                .map(|broker| (&*broker.host, broker.port, &*broker.user, &*broker.password))
                .collect();
            assert_eq!((&*seen, &*url.virtual_host), (brokers, virtual_host), "{text}");
        };
        check(
            "rabbit://me:pass%40word@host:5673/swift",
            &[("host", 5673, "me", "pass@word")],
            "swift",
        );
        check("rabbit://host", &[("host", 5672, "guest", "guest")], "/");
        check("rabbit://me:p@host//", &[("host", 5672, "me", "p")], "/");
        check("kombu://me:p@host/%2Fnova", &[("host", 5672, "me", "p")], "/nova");
        check(
            "rabbit://me:p@a:1,you:q@[::1]:2,[fe80::1]/v?ssl=1",
            &[
                ("a", 1, "me", "p"),
                ("::1", 2, "you", "q"),
                ("fe80::1", 5672, "guest", "guest"),
            ],
            "v",
        );
    }

    #[test]
    fn options_stand_behind_the_question_mark() {
        let url: TransportUrl = "rabbit://a/?ssl=1&ssl_ca_file=%2Fetc%2Fca.pem".parse().unwrap();
        assert_eq!(url.options["ssl"], "1");
        assert_eq!(url.options["ssl_ca_file"], "/etc/ca.pem");
    }

    #[test]
    fn what_is_no_address_is_refused_without_a_word_of_the_password() {
        let long = format!("rabbit://a/{}", "v".repeat(256));
        for text in [
            "",
            "host:5672",
            "amqp://me:s3cr3t@host/",
            "fake:",
            "rabbit://",
            "rabbit:///v",
            "rabbit://me:s3cr3t@:5672/",
            "rabbit://me:s3cr3t@host:port/",
            "rabbit://me:s3cr3t@host:70000/",
            "rabbit://me:s3cr3t@[::1/",
            "rabbit://me:s3cr3t@[::1]x/",
            "rabbit://me:s3cr3t@host/?ssl",
            &long,
        ] {
            let error = text.parse::<TransportUrl>().unwrap_err();
            assert!(!error.to_string().contains("s3cr3t"), "{text}: {error}");
        }
        let good: TransportUrl = "rabbit://me:s3cr3t@host/v".parse().unwrap();
        assert!(!format!("{good:?}").contains("s3cr3t"));
    }
}
