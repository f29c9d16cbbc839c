//! What is sent, and to whom. Names are those of ceilometermiddleware's filter and of oslo.messaging's RabbitMQ driver.

use super::url::{BrokerAddress, TransportUrl};
use crate::context::is_true;
use crate::tls::Trust;
use rustls::ClientConfig;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// AMQP's short strings, with room for the `.info` behind a topic.
const MAX_NAME_BYTES: usize = 200;

/// `[proxy.pipeline.ceilometer]`: present, each request is told to Ceilometer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilometerConfig {
    /// The message broker: `rabbit://user:password@host:port/virtual_host`, or several hosts, parted by commas.
    pub url: TransportUrl,
    /// The exchange that is published to.
    #[serde(default = "control_exchange")]
    pub control_exchange: String,
    #[serde(default)]
    pub driver: Driver,
    /// Messages go to the queue of this name with `.info` behind it.
    #[serde(default = "topic")]
    pub topic: String,
    /// Headers of requests that notifications show.
    #[serde(default, deserialize_with = "list")]
    pub metadata_headers: Vec<String>,
    /// What account names have before the id of their project.
    #[serde(default = "reseller_prefix")]
    pub reseller_prefix: String,
    /// Projects, by id or name, whose requests are not told.
    #[serde(default, deserialize_with = "list")]
    pub ignore_projects: Vec<String>,
    /// Here to be read from Swift's file: requests never wait for the broker, so it cannot be `false`.
    #[serde(default = "yes")]
    pub nonblocking_notify: bool,
    /// Notifications that wait for the broker; further ones are dropped.
    #[serde(default = "send_queue_size")]
    pub send_queue_size: usize,
    /// TLS to the broker.
    #[serde(default)]
    pub ssl: bool,
    /// Certificates that the broker is checked with; the system's when left out.
    #[serde(default)]
    pub ssl_ca_file: Option<PathBuf>,
    /// Whether the exchange and the queue outlive a restart of the broker; as whoever reads them has it.
    #[serde(default)]
    pub amqp_durable_queues: bool,
    /// Whether they end with their last reader.
    #[serde(default)]
    pub amqp_auto_delete: bool,
    /// The queue is a quorum queue, and durable.
    #[serde(default)]
    pub rabbit_quorum_queue: bool,
}

/// The form of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// In oslo.messaging's envelope.
    #[default]
    Messagingv2,
    /// Bare, for readers of long ago.
    Messaging,
}

impl CeilometerConfig {
    /// # Errors
    /// A sentence for the operator about settings that cannot work.
    pub fn check(&self) -> Result<(), String> {
        let names = [
            ("control_exchange", &self.control_exchange),
            ("topic", &self.topic),
        ];
        for (name, value) in names {
            if value.is_empty() || value.len() > MAX_NAME_BYTES {
                return Err(format!(
                    "ceilometer: {name} must have 1 to {MAX_NAME_BYTES} bytes"
                ));
            }
        }
        if !self.nonblocking_notify {
            return Err(
                "ceilometer: nonblocking_notify cannot be false: requests never wait for the broker".into(),
            );
        }
        if self.send_queue_size == 0 || self.send_queue_size > 1_000_000 {
            return Err("ceilometer: send_queue_size must be 1 to 1000000: no queue is unbounded".into());
        }
        Options::of(self).map(|_| ())
    }

    /// The prefix with its underscore, or nothing.
    pub fn prefix(&self) -> String {
        match self.reseller_prefix.as_str() {
            "" => String::new(),
            prefix if prefix.ends_with('_') => prefix.to_owned(),
            prefix => format!("{prefix}_"),
        }
    }
}

/// What the driver is told, by the configuration or, before that, by the URL.
struct Options {
    ssl: bool,
    ssl_ca_file: Option<PathBuf>,
    is_durable: bool,
    deletes_itself: bool,
    is_quorum: bool,
}

impl Options {
    fn of(config: &CeilometerConfig) -> Result<Self, String> {
        let mut options = Options {
            ssl: config.ssl,
            ssl_ca_file: config.ssl_ca_file.clone(),
            is_durable: config.amqp_durable_queues,
            deletes_itself: config.amqp_auto_delete,
            is_quorum: config.rabbit_quorum_queue,
        };
        for (name, value) in &config.url.options {
            match name.as_str() {
                "ssl" => options.ssl = is_true(value),
                "ssl_ca_file" => options.ssl_ca_file = Some(value.into()),
                "amqp_durable_queues" => options.is_durable = is_true(value),
                "amqp_auto_delete" => options.deletes_itself = is_true(value),
                "rabbit_quorum_queue" => options.is_quorum = is_true(value),
                _ => return Err(format!("ceilometer: the url's option {name:?} is not known here")),
            }
        }
        options.is_durable |= options.is_quorum;
        Ok(options)
    }
}

/// Everything the worker needs, checked.
pub struct Settings {
    pub brokers: Vec<BrokerAddress>,
    pub virtual_host: String,
    pub tls: Option<Arc<ClientConfig>>,
    pub exchange: String,
    /// The queue that messages wait in until somebody reads them; also their routing key.
    pub queue: String,
    pub is_durable: bool,
    pub deletes_itself: bool,
    pub is_quorum: bool,
    pub driver: Driver,
    pub prefix: String,
}

impl Settings {
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &CeilometerConfig) -> Result<Self, String> {
        config.check()?;
        let options = Options::of(config)?;
        let trust = Trust {
            section: "ceilometer",
            cafile: options.ssl_ca_file.as_deref(),
            identity: None,
            insecure: false,
            is_wanted: options.ssl,
        };
        let tls = match options.ssl {
            true => Some(Arc::new(trust.client_config()?)),
            false => None,
        };
        Ok(Settings {
            brokers: config.url.brokers.clone(),
            virtual_host: config.url.virtual_host.clone(),
            tls,
            exchange: config.control_exchange.clone(),
            queue: format!("{}.info", config.topic),
            is_durable: options.is_durable,
            deletes_itself: options.deletes_itself,
            is_quorum: options.is_quorum,
            driver: config.driver,
            prefix: config.prefix(),
        })
    }
}

impl CeilometerConfig {
    /// Makes paths absolute.
    pub fn resolve(&mut self, folder: &Path) {
        if let Some(path) = &mut self.ssl_ca_file {
            *path = folder.join(&*path);
        }
    }
}

fn control_exchange() -> String {
    "swift".into()
}

fn topic() -> String {
    "notifications".into()
}

fn reseller_prefix() -> String {
    "AUTH_".into()
}

fn yes() -> bool {
    true
}

fn send_queue_size() -> usize {
    1_000
}

/// A list, or Swift's form of one: words parted by commas.
fn list<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        More(Vec<String>),
    }
    let words = match Written::deserialize(source)? {
        Written::One(text) => text.split(',').map(str::to_owned).collect(),
        Written::More(list) => list,
    };
    let words = words
        .iter()
        .map(|word| word.trim())
        .filter(|word| !word.is_empty());
    Ok(words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(more: serde_json::Value) -> Result<CeilometerConfig, String> {
        let mut all = json!({"url": "rabbit://me:s3cr3t@host/"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let config: CeilometerConfig = serde_json::from_value(all).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn defaults_are_those_of_ceilometermiddleware() {
        let config = config(json!({})).unwrap();
        let settings = Settings::new(&config).unwrap();
        assert_eq!(
            (&*settings.exchange, &*settings.queue),
            ("swift", "notifications.info")
        );
        assert_eq!((&*settings.prefix, config.send_queue_size), ("AUTH_", 1000));
        assert!(!settings.is_durable && settings.tls.is_none() && settings.driver == Driver::Messagingv2);
        assert!(!format!("{config:?}").contains("s3cr3t"));
    }

    #[test]
    fn lists_are_read_in_swifts_form_too() {
        let config =
            config(json!({"metadata_headers": "X-A, X-B ,", "ignore_projects": ["service"]})).unwrap();
        assert_eq!(config.metadata_headers, ["X-A", "X-B"]);
        assert_eq!(config.ignore_projects, ["service"]);
    }

    #[test]
    fn the_urls_options_come_first_and_a_quorum_queue_is_durable() {
        let config = config(json!({
            "url": "rabbit://host/?rabbit_quorum_queue=true&amqp_auto_delete=0",
            "amqp_auto_delete": true,
            "reseller_prefix": "SWIFT",
        }));
        let settings = Settings::new(&config.unwrap()).unwrap();
        assert!(settings.is_quorum && settings.is_durable && !settings.deletes_itself);
        assert_eq!(settings.prefix, "SWIFT_");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        for (more, word) in [
            (json!({"url": "http://host/"}), "rabbit://"),
            (json!({"url": "rabbit://host/?heartbeat=1"}), "heartbeat"),
            (json!({"nonblocking_notify": false}), "nonblocking_notify"),
            (json!({"send_queue_size": 0}), "send_queue_size"),
            (json!({"topic": ""}), "topic"),
            (json!({"control_exchange": "x".repeat(300)}), "control_exchange"),
            (json!({"driver": "noop"}), "noop"),
            (json!({"topics": "x"}), "topics"),
        ] {
            let error = config(more.clone()).unwrap_err();
            assert!(error.contains(word), "{more}: {error}");
        }
        let missing = config(json!({"ssl": true, "ssl_ca_file": "/nowhere.pem"})).unwrap();
        assert!(Settings::new(&missing).err().unwrap().contains("/nowhere.pem"));
    }
}
