//! Which headers are kept with an object, and the limits on what clients may keep. Anything else is not stored.

use crate::config::ObjectServerConfig;
use crate::errors::Refusal;
use crate::raw_value;
use http::{HeaderMap, HeaderName, HeaderValue};
use martlet_protocol::header;
use martlet_protocol::limits::Limits;
use martlet_protocol::record::Metadata;

const USER_META: &str = "x-object-meta-";
const SYSMETA: &str = "x-object-sysmeta-";

/// What decides whether a header is stored and shown again.
pub(crate) struct KeptHeaders {
    /// Beside the metadata families.
    allowed: Vec<String>,
    limits: Limits,
}

impl KeptHeaders {
    pub fn new(config: &ObjectServerConfig) -> Self {
        // These have fields of their own in the record.
        let own = [
            "content-length",
            "content-type",
            "etag",
            "deleted",
            header::X_DELETE_AT,
            header::X_TIMESTAMP,
        ];
        let allowed = config.settings.allowed_headers.iter();
        KeptHeaders {
            allowed: allowed
                .map(|name| name.trim().to_ascii_lowercase())
                .filter(|name| !name.is_empty() && !own.contains(&name.as_str()))
                .collect(),
            limits: config.limits.clone(),
        }
    }

    /// Kept from a POST and shown in answers.
    fn is_replaceable(&self, name: &str) -> bool {
        is_longer(name, USER_META)
            || header::is_transient_sysmeta(name)
            || self.allowed.iter().any(|allowed| allowed == name)
    }

    /// Kept from a PUT and shown in answers.
    pub fn is_kept(&self, name: &str) -> bool {
        is_longer(name, SYSMETA) || self.is_replaceable(name)
    }

    /// What a PUT stores.
    pub fn of_put(&self, map: &HeaderMap) -> Result<Metadata, Refusal> {
        self.check(map)?;
        Ok(collect(map, |name| self.is_kept(name)))
    }

    /// What a POST stores: sysmeta belongs to the data and is not a POST's to change.
    pub fn of_post(&self, map: &HeaderMap) -> Result<Metadata, Refusal> {
        self.check(map)?;
        Ok(collect(map, |name| self.is_replaceable(name)))
    }

    /// What trailers add to a PUT: the metadata families only. Their values take the place of the header's.
    pub fn add_trailers(&self, metadata: &mut Metadata, trailers: &HeaderMap) {
        let families = |name: &str| {
            is_longer(name, SYSMETA) || is_longer(name, USER_META) || header::is_transient_sysmeta(name)
        };
        for (name, value) in collect(trailers, families) {
            metadata.retain(|(known, _)| *known != name);
            metadata.push((name, value));
        }
    }

    /// Swift's limits, in Swift's words.
    fn check(&self, map: &HeaderMap) -> Result<(), Refusal> {
        let limits = &self.limits;
        let (mut count, mut size) = (0, 0);
        for (name, value) in map {
            let name = name.as_str();
            if value.len() > limits.max_header_size {
                let shown = &name[..name.len().min(limits.max_meta_name_length)];
                return Err(Refusal::bad_request(format!("Header value too long: {shown}")));
            }
            let Some(key) = name.strip_prefix(USER_META) else {
                continue;
            };
            if key.is_empty() {
                return Err(Refusal::bad_request("Metadata name cannot be empty"));
            }
            count += 1;
            size += key.len() + value.len();
            if key.len() > limits.max_meta_name_length {
                return Err(Refusal::bad_request(format!("Metadata name too long: {name}")));
            }
            if value.len() > limits.max_meta_value_length {
                let longest = limits.max_meta_value_length;
                return Err(Refusal::bad_request(format!(
                    "Metadata value longer than {longest}: {name}"
                )));
            }
            if count > limits.max_meta_count {
                let most = limits.max_meta_count;
                return Err(Refusal::bad_request(format!(
                    "Too many metadata items; max {most}"
                )));
            }
            if size > limits.max_meta_overall_size {
                let most = limits.max_meta_overall_size;
                return Err(Refusal::bad_request(format!(
                    "Total metadata too large; max {most}"
                )));
            }
        }
        Ok(())
    }
}

/// Starts with the prefix and has something after it.
fn is_longer(name: &str, prefix: &str) -> bool {
    name.len() > prefix.len() && name.starts_with(prefix)
}

/// The headers that `keep` chooses; one that stands several times becomes one value with commas.
fn collect(map: &HeaderMap, keep: impl Fn(&str) -> bool) -> Metadata {
    map.keys()
        .filter(|name| keep(name.as_str()))
        .map(|name| (name.as_str().to_owned(), joined(map, name)))
        .collect()
}

fn joined(map: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&[u8]> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    raw_value::keep(&values.join(&b','))
}
