//! What travels with a request: its transaction id, its user, its target; and how a step makes requests of its own.

use crate::grant::Grant;
use http::header::{HeaderMap, HeaderName, HeaderValue, REFERER};
use http::{Method, Uri};
use martlet_protocol::header;
use martlet_protocol::identity::Identity;
use martlet_protocol::name::Target;
use martlet_protocol::percent;
use martlet_protocol::policy::PolicyIndex;
use martlet_protocol::query::Query;
use martlet_service::{Body, Request, headers};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// The life of one outside request. Cloning gives the same one.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    trans_id: String,
    started: Instant,
    user: OnceLock<String>,
    notes: Mutex<Vec<String>>,
    policy: OnceLock<PolicyIndex>,
}

/// Notes one request's line may have.
const MAX_NOTES: usize = 20;

impl Context {
    pub fn new(trans_id: String) -> Self {
        Context(Arc::new(Inner {
            trans_id,
            started: Instant::now(),
            user: OnceLock::new(),
            notes: Mutex::default(),
            policy: OnceLock::new(),
        }))
    }

    pub fn trans_id(&self) -> &str {
        &self.0.trans_id
    }

    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Names the user in the log line. The first name stays.
    pub fn set_user(&self, user: &str) {
        let _ = self.0.user.set(user.to_owned());
    }

    /// Adds a word to the log line (Swift's `log_info`). Further ones are left out when there are many.
    pub fn note(&self, word: &str) {
        let mut notes = self
            .0
            .notes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if notes.len() < MAX_NOTES {
            notes.push(word.to_owned());
        }
    }

    /// All notes, parted by commas.
    pub fn notes(&self) -> String {
        let notes = self
            .0
            .notes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        notes.join(",")
    }

    /// Says the storage policy for the log line. The first stays.
    pub fn set_policy(&self, policy: PolicyIndex) {
        let _ = self.0.policy.set(policy);
    }

    pub fn policy(&self) -> Option<u16> {
        self.0.policy.get().map(|policy| policy.0)
    }

    pub fn user(&self) -> Option<&str> {
        self.0.user.get().map(String::as_str)
    }
}

/// Marks a request that a step makes in its own name: no ACL is asked. Never set from anything a client sent.
#[derive(Clone, Copy, Debug)]
pub struct PreAuthorized;

/// Marks a request whose content type a step has chosen: it may hold parameters that clients may not use.
#[derive(Clone, Copy, Debug)]
pub struct OwnContentType;
/// Marks a request by which another cluster brings what it has, as it has it: manifests and links are stored without a
/// look at what they name, which may come later. Never set from anything a client sent.
#[derive(Clone, Copy, Debug)]
pub struct Synced;

/// The context, if `catch_errors` has seen the request.
pub fn context(request: &Request) -> Option<&Context> {
    request.extensions().get::<Context>()
}

/// Who is asking; `None` is nobody in particular.
pub fn identity(request: &Request) -> Option<Arc<Identity>> {
    let extensions = request.extensions();
    extensions.get::<Arc<Identity>>().cloned().or_else(|| {
        extensions
            .get::<Identity>()
            .map(|identity| Arc::new(identity.clone()))
    })
}

/// What the request is about. Outside requests have it from the `paths` step; inner ones from their path.
pub fn target(request: &Request) -> Option<Arc<Target>> {
    match request.extensions().get::<Arc<Target>>() {
        Some(target) => Some(target.clone()),
        None => parse_target(request.uri()).map(Arc::new),
    }
}

fn parse_target(uri: &Uri) -> Option<Target> {
    let path = percent::unquote(uri.path()).ok()?;
    let rest = path
        .strip_prefix("/v1/")
        .or_else(|| path.strip_prefix("/v1.0/"))?;
    Target::parse(rest).ok()
}

/// The query; one that is not UTF-8 reads as empty, the `paths` step has refused it before.
pub fn query(request: &Request) -> Query {
    request
        .uri()
        .query()
        .and_then(|text| Query::parse(text).ok())
        .unwrap_or_default()
}

/// `/v1/a/c/o?query` as a URI. Quoted text always makes one; the root stands in if it did not.
pub fn uri(target: &Target, query: &str) -> Uri {
    let text = match query {
        "" => format!("/v1{}", target.path()),
        _ => format!("/v1{}?{query}", target.path()),
    };
    text.parse().unwrap_or_default()
}

/// Replaces the query and leaves the path as the client wrote it: a slash at its end means something to web pages.
pub fn set_query(request: &mut Request, query: &str) {
    let path = request.uri().path();
    let text = match query {
        "" => path.to_owned(),
        _ => format!("{path}?{query}"),
    };
    if let Ok(uri) = text.parse() {
        *request.uri_mut() = uri;
    }
}

/// Points a request at another target or query.
pub fn retarget(request: &mut Request, target: Target, query: &str) {
    *request.uri_mut() = uri(&target, query);
    request.extensions_mut().insert(Arc::new(target));
}

/// Whether a reserved name may be used: only the inside may.
pub fn allows_reserved_names(headers: &HeaderMap) -> bool {
    headers::text(headers, header::X_BACKEND_ALLOW_RESERVED_NAMES).is_some_and(is_true)
}

/// Swift's idea of a true value.
pub fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "on", "t", "y"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// What a request passes on to the requests made on its behalf. Taken before the request itself goes on.
#[derive(Clone)]
pub struct Origin {
    context: Option<Context>,
    identity: Option<Arc<Identity>>,
    grant: Option<Arc<Grant>>,
    pre_authorized: bool,
    headers: HeaderMap,
}

/// Headers that requests made on behalf of another carry on.
const PASSED_ON: [&str; 5] = [
    "x-trans-id",
    "user-agent",
    "referer",
    header::X_OPEN_EXPIRED,
    header::X_BACKEND_ALLOW_RESERVED_NAMES,
];

impl Origin {
    pub fn of(request: &Request) -> Self {
        let mut kept = HeaderMap::new();
        for name in PASSED_ON {
            if let Some(value) = headers::find(request.headers(), name) {
                kept.insert(HeaderName::from_static(name), value.clone());
            }
        }
        Origin {
            context: context(request).cloned(),
            identity: identity(request),
            grant: request.extensions().get::<Arc<Grant>>().cloned(),
            pre_authorized: request.extensions().get::<PreAuthorized>().is_some(),
            headers: kept,
        }
    }

    /// The same, in the cluster's own name: no ACL is asked.
    pub fn pre_authorized(&self) -> Self {
        let mut origin = self.clone();
        origin.pre_authorized = true;
        origin
    }

    /// The same, in the cluster's own name: no ACL is asked, and reserved names are allowed.
    pub fn privileged(&self) -> Self {
        let mut origin = self.pre_authorized();
        origin.headers.insert(
            HeaderName::from_static(header::X_BACKEND_ALLOW_RESERVED_NAMES),
            HeaderValue::from_static("true"),
        );
        origin
    }

    /// The same, by a signature instead of a user.
    pub fn granted(&self, grant: Grant) -> Self {
        Origin {
            identity: None,
            grant: Some(Arc::new(grant)),
            pre_authorized: false,
            ..self.clone()
        }
    }

    /// A request without a body, in the same user's name.
    pub fn request(&self, method: Method, target: Target, query: &str) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.headers_mut() = self.headers.clone();
        retarget(&mut request, target, query);
        if let Some(context) = &self.context {
            request.extensions_mut().insert(context.clone());
        }
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        if let Some(grant) = &self.grant {
            request.extensions_mut().insert(grant.clone());
        }
        if self.pre_authorized {
            request.extensions_mut().insert(PreAuthorized);
        }
        request
    }

    pub fn trans_id(&self) -> &str {
        self.context.as_ref().map_or("", Context::trans_id)
    }

    /// Headers that its requests carry.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Who asks, as a request of it says.
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            is_pre_authorized: self.pre_authorized,
            grant: self.grant.as_ref(),
            identity: self.identity.clone(),
            referer: headers::text(&self.headers, REFERER.as_str()),
        }
    }
}

/// Who stands behind a request: by this it is judged what it may do.
pub struct Asker<'a> {
    pub is_pre_authorized: bool,
    pub grant: Option<&'a Arc<Grant>>,
    /// `None` is nobody in particular.
    pub identity: Option<Arc<Identity>>,
    pub referer: Option<&'a str>,
}

impl<'a> Asker<'a> {
    pub fn of(request: &'a Request) -> Self {
        let extensions = request.extensions();
        Asker {
            is_pre_authorized: extensions.get::<PreAuthorized>().is_some(),
            grant: extensions.get::<Arc<Grant>>(),
            identity: identity(request),
            referer: headers::text(request.headers(), REFERER.as_str()),
        }
    }
}
