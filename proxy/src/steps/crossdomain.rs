//! `/crossdomain.xml`, for clients in browsers older than CORS.
//!
//! See "Cross Domain Policies" in Swift's documentation. Off unless its section is there: the default policy is open to
//! everybody.

use crate::Edge;
use crate::pipeline::Next;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use martlet_service::{Request, Response, respond};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossdomainConfig {
    /// Elements of XML, as they stand.
    pub cross_domain_policy: String,
}

impl Default for CrossdomainConfig {
    fn default() -> Self {
        CrossdomainConfig {
            cross_domain_policy: r#"<allow-access-from domain="*" secure="false" />"#.into(),
        }
    }
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    if edge.config.crossdomain.is_some() {
        sections.insert("crossdomain".into(), json!({}));
    }
}

/// Only one path.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    request.uri().path() == "/crossdomain.xml"
}

pub async fn run(request: Request, next: Next) -> Response {
    let is_asked = request.uri().path() == "/crossdomain.xml" && *request.method() == Method::GET;
    match &next.edge().config.crossdomain {
        Some(config) if is_asked => policy(config),
        _ => next.run(request).await,
    }
}

fn policy(config: &CrossdomainConfig) -> Response {
    let text = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE cross-domain-policy SYSTEM \
         \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\" >\n\
         <cross-domain-policy>\n{}\n</cross-domain-policy>",
        config.cross_domain_policy
    );
    let mut response = respond::text(StatusCode::OK, text);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}
