//! What an operator may set about the proxy; option names and defaults are Swift's where Swift has them.

use crate::steps::dlo::DloConfig;
use crate::steps::slo::SloConfig;
use martlet_protocol::limits::Limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The proxy section of `martlet.toml`: one table for each step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// `[swift-constraints]`.
    pub constraints: Limits,
    /// How the core places, writes and reads.
    pub app: crate::core::CoreConfig,
    pub catch_errors: CatchErrorsConfig,
    pub gatekeeper: GatekeeperConfig,
    pub healthcheck: HealthcheckConfig,
    pub domain_remap: DomainRemapConfig,
    pub tempurl: crate::steps::tempurl::TempUrlConfig,
    pub tempauth: TempAuthConfig,
    /// Present: Keystone's users are served beside tempauth's.
    pub authtoken: Option<crate::keystone::AuthTokenConfig>,
    pub keystoneauth: crate::keystone::KeystoneAuthConfig,
    pub s3token: crate::keystone::S3TokenConfig,
    /// Present: Ceilometer hears of each request.
    pub ceilometer: Option<crate::ceilometer::CeilometerConfig>,
    pub formpost: crate::steps::formpost::FormPostConfig,
    pub staticweb: crate::steps::staticweb::StaticWebConfig,
    pub cors: CorsConfig,
    pub info: InfoConfig,
    pub etag_quoter: crate::steps::etag_quoter::EtagQuoterConfig,
    pub copy: crate::steps::copy::CopyConfig,
    pub proxy_logging: crate::steps::logging::ProxyLoggingConfig,
    pub bulk: crate::steps::bulk::BulkConfig,
    pub ratelimit: crate::steps::ratelimit::RatelimitConfig,
    /// Steps that are no part of Swift's own pipeline are on when their section is there.
    pub name_check: Option<crate::steps::name_check::NameCheckConfig>,
    pub cname_lookup: Option<crate::steps::cname_lookup::CnameLookupConfig>,
    pub read_only: Option<crate::steps::read_only::ReadOnlyConfig>,
    pub container_sync: Option<crate::steps::container_sync::ContainerSyncConfig>,
    pub crossdomain: Option<crate::steps::crossdomain::CrossdomainConfig>,
    pub list_endpoints: Option<crate::steps::list_endpoints::ListEndpointsConfig>,
    pub slo: SloConfig,
    pub dlo: DloConfig,
    pub symlink: crate::steps::symlink::SymlinkConfig,
    pub versioned_writes: crate::steps::versioned_writes::VersionedWritesConfig,
}

/// Transaction ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatchErrorsConfig {
    /// Ends every transaction id; names the cluster when several share a log.
    pub trans_id_suffix: String,
}

/// What may come in from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatekeeperConfig {
    /// An outside `X-Timestamp` becomes `X-Backend-Inbound-X-Timestamp`, so that clients cannot date their writes.
    pub shunt_inbound_x_timestamp: bool,
    /// Whether `X-Allow-Reserved-Names` from outside is believed. For operators' own tools only.
    pub allow_reserved_names_header: bool,
}

impl Default for GatekeeperConfig {
    fn default() -> Self {
        GatekeeperConfig {
            shunt_inbound_x_timestamp: true,
            allow_reserved_names_header: false,
        }
    }
}

/// `/healthcheck`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthcheckConfig {
    /// While a file of this path exists, the answer is 503: how an operator takes a proxy out of a load balancer.
    pub disable_path: String,
}

/// Accounts and containers named in the `Host` header.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainRemapConfig {
    /// Domains whose sub-domains are accounts; empty switches the step off.
    pub storage_domain: Vec<String>,
    pub path_root: String,
    pub reseller_prefixes: Vec<String>,
    /// Put before an account that carries no known prefix; without it such hosts are left alone.
    pub default_reseller_prefix: Option<String>,
    /// Whether a path that already begins with `path_root` loses it first.
    pub mangle_client_paths: bool,
}

impl Default for DomainRemapConfig {
    fn default() -> Self {
        DomainRemapConfig {
            storage_domain: Vec::new(),
            path_root: "v1".into(),
            reseller_prefixes: vec!["AUTH".into()],
            default_reseller_prefix: None,
            mangle_client_paths: false,
        }
    }
}

/// Users kept in the configuration, and the tokens given to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TempAuthConfig {
    /// `account:user` to key and groups.
    pub users: BTreeMap<String, UserConfig>,
    /// The first is the one tokens and default storage URLs carry.
    pub reseller_prefixes: Vec<ResellerPrefix>,
    /// Where tokens are asked for.
    pub auth_prefix: String,
    /// Seconds a token is good for.
    pub token_life: u64,
    /// Tokens remembered; past it, the one that ends soonest is forgotten and its user logs in again.
    pub max_tokens: usize,
    /// `http`, `https`, or `default`: the scheme of the request.
    pub storage_url_scheme: String,
}

/// One user of [`TempAuthConfig`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    pub key: String,
    /// `.admin`, `.reseller_admin`, `.reseller_reader`, or any name that ACLs may mention.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A family of accounts, such as `AUTH_test`, and who may own them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResellerPrefix {
    /// Without the underscore.
    pub name: String,
    /// Owners of such an account must also have this group, from their own token or from a service token.
    #[serde(default)]
    pub require_group: Option<String>,
}

impl Default for TempAuthConfig {
    fn default() -> Self {
        TempAuthConfig {
            users: BTreeMap::new(),
            reseller_prefixes: vec![ResellerPrefix {
                name: "AUTH".into(),
                require_group: None,
            }],
            auth_prefix: "/auth/".into(),
            token_life: 86_400,
            max_tokens: 100_000,
            storage_url_scheme: "default".into(),
        }
    }
}

/// Cross-origin requests of browsers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// Origins allowed for every container.
    pub cors_allow_origin: Vec<String>,
    /// Headers shown to scripts beside Swift's own.
    pub cors_expose_headers: Vec<String>,
    /// Only origins that the container allows get CORS headers.
    pub strict_cors_mode: bool,
}

impl Default for CorsConfig {
    fn default() -> Self {
        CorsConfig {
            cors_allow_origin: Vec::new(),
            cors_expose_headers: Vec::new(),
            strict_cors_mode: true,
        }
    }
}

/// `/info`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoConfig {
    pub expose_info: bool,
    /// Signs requests for the whole picture; empty: nobody may ask for it.
    pub admin_key: String,
    /// Sections, or `section.key`, that only the signed form shows.
    pub disallowed_sections: Vec<String>,
}

impl Default for InfoConfig {
    fn default() -> Self {
        InfoConfig {
            expose_info: true,
            admin_key: String::new(),
            disallowed_sections: vec!["swift.valid_api_versions".into()],
        }
    }
}
