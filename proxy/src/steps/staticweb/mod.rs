//! Containers as web sites: index files, error pages and listings that a browser can show.
//!
//! See "StaticWeb" in Swift's middleware documentation. Only for those who come without a user, with a temporary URL, or
//! with `X-Web-Mode: true`. Every page is read in the visitor's name: nothing is shown that could not be asked for.

mod page;
mod site;

use super::tempurl::{CONTENT_GENERATOR, Link};
use super::{answer, dispatch};
use crate::Edge;
use crate::context::{self, Origin, is_true, target};
use crate::core::{Authorize, Need};
use crate::grant::Grant;
use crate::pipeline::Next;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, StatusCode};
use martlet_protocol::name::{ContainerPath, ObjectName, ObjectPath, Target};
use martlet_protocol::percent;
use martlet_protocol::query::Query;
use martlet_service::{Body, Request, Response, collect, headers};
use page::Entry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use site::Site;
use std::sync::Arc;

/// Bytes of the JSON of one listing: ten thousand names of 1,024 bytes, and what stands beside them.
const MAX_LISTING_BYTES: usize = 32 << 20;

/// Web sites.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticWebConfig {
    /// `scheme://host` of redirects, either of which may be left out; for proxies that stand behind something that
    /// hides what clients see.
    pub url_base: String,
}

/// This step in `/info`.
pub fn info() -> Value {
    json!({})
}

/// Only what is read by visitors: whoever has no token, or asks to be treated so.
pub fn concerns(request: &Request, _: &Edge) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && (context::identity(request).is_none()
            || request.headers().contains_key("x-web-mode")
            || request.extensions().get::<Arc<Grant>>().is_some())
}

pub async fn run(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let web_mode = headers::text(request.headers(), "x-web-mode").is_some_and(is_true);
    let is_granted = request.extensions().get::<Arc<Grant>>().is_some();
    let is_visitor = is_granted || web_mode || context::identity(&request).is_none();
    let container = target(&request).and_then(|target| Some((target.clone(), target.container_path()?)));
    let (target, container) = match container {
        Some(found) if is_read && is_visitor => found,
        _ => return next.run(request).await,
    };
    let info = next.edge().core.container_info(&container).await;
    let site = Site::of(&info);
    let is_container = matches!(*target, Target::Container(_));
    let is_plain = !site.has_pages() && !(is_container && (web_mode || !site.error.is_empty()));
    if is_plain {
        return next.run(request).await;
    }
    let Ok(path) = percent::unquote(request.uri().path()) else {
        return next.run(request).await;
    };
    let mut guard = dispatch::guard(&next, &request, &target);
    let origin = Origin::of(&request);
    let link = request.extensions().get::<Arc<Link>>().cloned();
    let (parts, _) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let visit = Visit {
        parts,
        next,
        origin,
        container,
        site,
        path,
        link,
    };
    let response = match &*target {
        Target::Object(path) => visit.object(path).await,
        Target::Account(_) | Target::Container(_) => {
            dispatch::ask_account(visit.next.edge(), &mut guard, &target).await;
            let need = Need {
                method: &visit.parts.method,
                target: &target,
                container_read_acl: info.read_acl.as_deref(),
                container_write_acl: None,
                account: None,
                is_listing: true,
            };
            match guard.authorize(need) {
                Err(refusal) => visit.error(refusal).await,
                Ok(()) => visit.container(web_mode).await,
            }
        }
    };
    match is_head {
        true => response.map(|_| Body::empty()),
        false => response,
    }
}

/// A visitor at a site.
struct Visit {
    /// The visitor's request, without its body.
    parts: Parts,
    next: Next,
    origin: Origin,
    container: ContainerPath,
    site: Site,
    /// Decoded, with its slash at the end if it has one.
    path: String,
    link: Option<Arc<Link>>,
}

impl Visit {
    async fn container(&self, web_mode: bool) -> Response {
        if !self.site.has_pages() {
            return match web_mode {
                true => answer::status(StatusCode::NOT_FOUND),
                false => self.ask(Target::Container(self.container.clone())).await,
            };
        }
        if !self.path.ends_with('/') {
            return self.redirect();
        }
        match self.index("").await {
            Some(response) if shows(&response) => response,
            Some(response) if response.status() != StatusCode::NOT_FOUND => self.error(response).await,
            Some(_) | None => self.listing("").await,
        }
    }

    async fn object(&self, path: &ObjectPath) -> Response {
        let response = self.ask(Target::Object(path.clone())).await;
        let is_missing = response.status() == StatusCode::NOT_FOUND
            || (shows(&response) && is_directory(&response, self.site.directory_type()));
        if !is_missing {
            return response;
        }
        let is_slashed = path.object.ends_with('/');
        let directory = match is_slashed {
            true => path.object.to_string(),
            false => format!("{}/", path.object),
        };
        match self.index(&directory).await {
            Some(response) if shows(&response) && is_slashed => return response,
            Some(response) if shows(&response) => return self.redirect(),
            Some(response) if response.status() != StatusCode::NOT_FOUND => {
                return self.error(response).await;
            }
            Some(_) | None => {}
        }
        if is_slashed {
            return self.listing(&directory).await;
        }
        match self.list(&directory, Some(1)).await {
            Ok(entries) if !entries.is_empty() => self.redirect(),
            Ok(_) | Err(_) => self.error(answer::status(StatusCode::NOT_FOUND)).await,
        }
    }

    /// The visitor's request, about something else.
    async fn ask(&self, target: Target) -> Response {
        let mut request = Request::from_parts(self.parts.clone(), Body::empty());
        let query = self.parts.uri.query().unwrap_or("").to_owned();
        context::retarget(&mut request, target, &query);
        self.next.clone().run(request).await
    }

    /// The index file of a directory; `None` if the site has none, or its name cannot be.
    async fn index(&self, directory: &str) -> Option<Response> {
        if self.site.index.is_empty() {
            return None;
        }
        let path = self.object_path(format!("{directory}{}", self.site.index))?;
        Some(self.ask(Target::Object(path)).await)
    }

    fn object_path(&self, name: String) -> Option<ObjectPath> {
        let ContainerPath { account, container } = self.container.clone();
        Some(ObjectPath::new(account, container, ObjectName::new(name).ok()?))
    }

    /// The listing of a directory as a page.
    async fn listing(&self, prefix: &str) -> Response {
        if !self.site.shows_listings() {
            let page = page::no_listing(&self.site, &self.path, prefix);
            return self.error(html(StatusCode::NOT_FOUND, page)).await;
        }
        let entries = match self.list(prefix, None).await {
            Ok(entries) => entries,
            Err(refusal) => return self.error(*refusal).await,
        };
        if entries.is_empty() && !prefix.is_empty() {
            return self.error(answer::status(StatusCode::NOT_FOUND)).await;
        }
        let page = page::listing(&self.site, &self.path, prefix, &entries, self.link.as_deref());
        let mut response = html(StatusCode::OK, page);
        headers::set(response.headers_mut(), CONTENT_GENERATOR, "staticweb");
        response
    }

    /// What lies in a directory.
    ///
    /// # Errors
    /// The refusal, in the words of whoever refused.
    async fn list(&self, prefix: &str, limit: Option<usize>) -> Result<Vec<Entry>, Box<Response>> {
        let mut query = Query::default();
        query.push("format", "json");
        query.push("delimiter", "/");
        if !prefix.is_empty() {
            query.push("prefix", prefix);
        }
        if let Some(limit) = limit {
            query.push("limit", limit.to_string());
        }
        let target = Target::Container(self.container.clone());
        let request = self.origin.request(Method::GET, target, &query.encode());
        let response = self.next.clone().run(request).await;
        if !response.status().is_success() {
            return Err(Box::new(response));
        }
        let bytes = collect(response.into_body(), MAX_LISTING_BYTES)
            .await
            .unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries = serde_json::from_slice::<Vec<Entry>>(&bytes)
            .map_err(|_| Box::new(answer::status(StatusCode::SERVICE_UNAVAILABLE)))?;
        entries.retain(|entry| !entry.name().contains(super::paths::RESERVED));
        Ok(entries)
    }

    /// The refusal, with the site's own page for it if there is one and the visitor may read it.
    async fn error(&self, refusal: Response) -> Response {
        if self.site.error.is_empty() {
            return refusal;
        }
        let status = refusal.status();
        let Some(path) = self.object_path(format!("{}{}", status.as_u16(), self.site.error)) else {
            return refusal;
        };
        let request = self.origin.request(Method::GET, Target::Object(path), "");
        let mut page = self.next.clone().run(request).await;
        if !page.status().is_success() {
            return refusal;
        }
        *page.status_mut() = status;
        page
    }

    /// To the same path with a slash, so that relative links on the page lead below it.
    fn redirect(&self) -> Response {
        let mut response = answer::status(StatusCode::MOVED_PERMANENTLY);
        let host = headers::text(&self.parts.headers, HOST.as_str()).or(self.parts.uri.host());
        let base = base(
            &self.next.edge().config.staticweb.url_base,
            martlet_service::scheme(&self.parts.extensions),
            host,
        );
        let location = format!("{base}{}/", percent::quote(&self.path));
        headers::set(response.headers_mut(), LOCATION.as_str(), &location);
        response
    }
}

/// `http://host`, or the scheme that the client has seen; nothing when no host is known, which makes the location a relative one.
fn base(url_base: &str, seen: &str, host: Option<&str>) -> String {
    let (scheme, rest) = url_base.split_once("//").unwrap_or(("", ""));
    let scheme = match scheme.trim_end_matches(':') {
        "" => seen,
        scheme => scheme,
    };
    let own = rest.split('/').next().filter(|own| !own.is_empty());
    match own.or(host) {
        Some(host) => format!("{scheme}://{host}"),
        None => String::new(),
    }
}

/// Success, or a redirection or "not modified", which are answers too.
fn shows(response: &Response) -> bool {
    response.status().is_success() || response.status().is_redirection()
}

/// Whether an object only stands for a directory: of the type for it, and empty but for a line end.
fn is_directory(response: &Response, directory_type: &str) -> bool {
    let text = |name: &str| headers::text(response.headers(), name);
    let length = text(CONTENT_LENGTH.as_str()).map_or(Some(0), |length| length.parse::<u64>().ok());
    text(CONTENT_TYPE.as_str()) == Some(directory_type) && length.is_some_and(|length| length <= 1)
}

fn html(status: StatusCode, page: String) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    out.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
    *response.body_mut() = Body::full(Bytes::from(page));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_the_host_that_was_asked() {
        for (url_base, host, expected) in [
            ("", Some("a.org:8080"), "http://a.org:8080"),
            ("https://", Some("a.org"), "https://a.org"),
            ("//b.org", Some("a.org"), "http://b.org"),
            ("https://b.org/x", Some("a.org"), "https://b.org"),
            ("https://b.org", None, "https://b.org"),
            ("", None, ""),
        ] {
            assert_eq!(base(url_base, "http", host), expected, "{url_base} {host:?}");
        }
    }

    #[test]
    fn directories_are_empty_objects_of_their_type() {
        for (content_type, length, expected) in [
            ("application/directory", "0", true),
            ("application/directory", "1", true),
            ("application/directory", "2", false),
            ("text/plain", "0", false),
        ] {
            let mut response = Response::new(Body::empty());
            headers::set(response.headers_mut(), "content-type", content_type);
            headers::set(response.headers_mut(), "content-length", length);
            assert_eq!(is_directory(&response, "application/directory"), expected);
        }
    }
}
