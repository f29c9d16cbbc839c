//! The one list of steps every request passes, in order, and how a step calls the rest.

use crate::Edge;
use crate::steps;
use martlet_service::{Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a step returns.
pub type StepFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One step: its name in `/info` and logs, and its function.
pub struct Step {
    pub name: &'static str,
    /// Whether a request could concern the step at all; it is passed by otherwise, which costs nothing.
    concerns: fn(&Request, &Edge) -> bool,
    run: fn(Request, Next) -> StepFuture,
}

macro_rules! step {
    ($name:literal, $function:path) => {
        step!($name, $function, when | _, _ | true)
    };
    ($name:literal, $function:path, when $concerns:expr) => {
        Step {
            name: $name,
            concerns: $concerns,
            run: |request, next| Box::pin($function(request, next)),
        }
    };
}

/// Every request from outside begins at the top.
pub static PIPELINE: &[Step] = &[
    // Outermost: gives the transaction id that all others log, and turns a panic of any of them into a 500.
    step!("catch_errors", steps::catch_errors::run),
    // Before anyone could act on a header that only the cluster itself may set, and after everyone could leak one.
    step!("gatekeeper", steps::gatekeeper::run),
    // Load balancers ask often: answered before the log and the metrics.
    step!("healthcheck", steps::healthcheck::run, when steps::healthcheck::concerns),
    // Sees the request as the client sent it and the answer as the client gets it.
    step!("proxy-logging", steps::logging::run),
    // Looks at paths as clients wrote them, S3's too.
    step!("name_check", steps::name_check::run, when steps::name_check::concerns),
    // S3 requests are signed over their original host and path, so they leave before anything rewrites those.
    step!("s3api", steps::s3::run, when steps::s3::concerns),
    // Names of other domains become names of ours, which the next step reads.
    step!("cname_lookup", steps::cname_lookup::run, when steps::cname_lookup::concerns),
    // Rewrites host names to paths; all below read the path.
    step!("domain_remap", steps::domain_remap::run, when steps::domain_remap::concerns),
    // Needs no account and no token.
    step!("info", steps::info::run, when steps::info::concerns),
    step!("list_endpoints", steps::list_endpoints::run, when steps::list_endpoints::concerns),
    step!("crossdomain", steps::crossdomain::run, when steps::crossdomain::concerns),
    // Refuses what is no path of Swift's, and says to all below what the request is about.
    step!("paths", steps::paths::run),
    // Quotes the ETag of whatever answer comes, and reads the path to know whose it is.
    step!("etag-quoter", steps::etag_quoter::run),
    // Above authentication, so that refusals of listings come in one shape; all below speak JSON.
    step!("listing_formats", steps::listing_formats::run, when steps::listing_formats::concerns),
    // Above authentication: another cluster shows a signature and no token.
    step!("container_sync", steps::container_sync::run, when steps::container_sync::concerns),
    // Above authentication: what it asks for is judged request by request, with the client's own token.
    step!("bulk", steps::bulk::run, when steps::bulk::concerns),
    // A signature in the query stands in for a user, so it comes before anyone asks for a token.
    step!("tempurl", steps::tempurl::run, when steps::tempurl::concerns),
    // Below bulk, so that each thing a bulk request does counts; above authentication, which costs more than a refusal.
    step!("ratelimit", steps::ratelimit::run),
    // Who is asking. All below may make requests in this user's name.
    step!("tempauth", steps::tempauth::run),
    // Below tempauth, so that Keystone is not asked about tempauth's tokens; above all that acts for a user.
    step!("authtoken", steps::authtoken::run, when steps::authtoken::concerns),
    // Signed forms stand in for a user too, but only once their fields have come; each file goes on as a PUT.
    step!("formpost", steps::formpost::run, when steps::formpost::concerns),
    // Shows a container as a web site, to visitors without a user; what it reads passes all below as the visitor's own.
    step!("staticweb", steps::staticweb::run, when steps::staticweb::concerns),
    // One notification for each request of a client, with all its bytes: behind every door, above large objects.
    step!("ceilometer", steps::ceilometer::run, when steps::ceilometer::concerns),
    // A browser reads an answer, refusals too, only with these headers; preflights carry no token.
    step!("cors", steps::cors::run, when steps::cors::concerns),
    // Behind every door.
    step!("read_only", steps::read_only::run, when steps::read_only::concerns),
    // Copies read and write through the large-object steps, so that a large object can be the source.
    step!("copy", steps::copy::run, when steps::copy::concerns),
    // Below copies, whose destinations count too; above large objects, whose manifests are uploads like any other.
    step!("container_quotas", steps::container_quotas::run, when steps::container_quotas::concerns),
    step!("account_quotas", steps::account_quotas::run, when steps::account_quotas::concerns),
    // A static manifest may hold segments that are dynamic manifests, not the other way round.
    step!("slo", steps::slo::run),
    step!("dlo", steps::dlo::run),
    // Below large objects, whose manifests have versions as any object; above links, which have versions as any object too.
    step!("versioned_writes", steps::versioned_writes::run),
    // Looks for a container where the large-object steps would look for it, just before it is judged.
    step!("s3_segments", steps::s3_segments::run, when steps::s3_segments::concerns),
    // Next to the storage nodes: whatever is read above, a segment or a version, may be a link.
    step!("symlink", steps::symlink::run),
    // Here it is certain which object is really replaced or deleted, versions and archived copies included.
    step!("upload-parts", steps::slo::parts::run, when steps::slo::parts::concerns),
    // What is left goes to the storage nodes; who may do it is decided here, with the container's ACLs in hand.
    step!("proxy-server", steps::dispatch::run),
];

/// Where the inside enters: requests of the S3 door, whose user its signature has proved.
const INNER: &str = "ceilometer";

/// The rest of the pipeline, as seen from a step.
#[derive(Clone)]
pub struct Next {
    edge: Arc<Edge>,
    at: usize,
}

impl Next {
    /// The whole pipeline.
    pub fn outer(edge: Arc<Edge>) -> Self {
        Next { edge, at: 0 }
    }

    /// The pipeline after authentication.
    pub fn inner(edge: Arc<Edge>) -> Self {
        Next { edge, at: 0 }.at(INNER)
    }

    /// The pipeline from a named step on; the last one if the name is unknown.
    pub fn at(&self, name: &str) -> Self {
        let found = PIPELINE.iter().position(|step| step.name == name);
        debug_assert!(found.is_some(), "no step {name}");
        Next {
            edge: self.edge.clone(),
            at: found.unwrap_or(PIPELINE.len() - 1),
        }
    }

    /// Runs the rest.
    pub fn run(self, request: Request) -> StepFuture {
        let last = PIPELINE.len() - 1;
        let mut at = self.at;
        while at < last && !(PIPELINE[at].concerns)(&request, &self.edge) {
            at += 1;
        }
        let step = &PIPELINE[at];
        let next = Next {
            edge: self.edge,
            at: (at + 1).min(last),
        };
        (step.run)(request, next)
    }

    /// What all steps share.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_that_correctness_rests_on() {
        let at = |name: &str| PIPELINE.iter().position(|step| step.name == name).unwrap();
        for (before, after) in [
            ("catch_errors", "gatekeeper"),
            ("gatekeeper", "s3api"),
            ("proxy-logging", "s3api"),
            ("s3api", "domain_remap"),
            ("domain_remap", "paths"),
            ("paths", "tempauth"),
            ("listing_formats", "tempurl"),
            ("tempurl", "tempauth"),
            ("tempauth", "authtoken"),
            ("authtoken", "formpost"),
            ("formpost", "staticweb"),
            ("staticweb", INNER),
            ("tempauth", INNER),
            ("bulk", "ratelimit"),
            ("ratelimit", "tempauth"),
            (INNER, "cors"),
            ("cors", "read_only"),
            ("read_only", "copy"),
            ("copy", "container_quotas"),
            ("account_quotas", "slo"),
            ("copy", "slo"),
            ("slo", "dlo"),
            ("dlo", "versioned_writes"),
            ("versioned_writes", "symlink"),
            ("symlink", "upload-parts"),
        ] {
            assert!(at(before) < at(after), "{before} must come before {after}");
        }
        assert_eq!(PIPELINE.last().unwrap().name, "proxy-server");
    }

    /// Segments are asked of the core past these: a step that is new here must be looked at in `segments/direct.rs`.
    #[test]
    fn steps_that_reads_of_segments_pass_by() {
        let names: Vec<&str> = PIPELINE.iter().map(|step| step.name).collect();
        let from = names.iter().position(|name| *name == "slo").unwrap();
        let expected = [
            "slo",
            "dlo",
            "versioned_writes",
            "s3_segments",
            "symlink",
            "upload-parts",
            "proxy-server",
        ];
        assert_eq!(names[from..], expected);
    }

    /// Each step's future is boxed, and what it carries is moved there: rare and roomy parts of a step are boxed apart.
    #[test]
    fn steps_that_concern_every_request_carry_little() {
        fn room<F: Future>(_: impl Fn(Request, Next) -> F) -> usize {
            size_of::<F>()
        }
        for (name, room) in [
            ("proxy-logging", room(steps::logging::run)),
            ("s3api", room(steps::s3::run)),
            ("domain_remap", room(steps::domain_remap::run)),
            ("info", room(steps::info::run)),
            ("paths", room(steps::paths::run)),
            ("etag_quoter", room(steps::etag_quoter::run)),
            ("listing_formats", room(steps::listing_formats::run)),
            ("ratelimit", room(steps::ratelimit::run)),
            ("tempauth", room(steps::tempauth::run)),
            ("authtoken", room(steps::authtoken::run)),
            ("ceilometer", room(steps::ceilometer::run)),
            ("slo", room(steps::slo::run)),
            ("dlo", room(steps::dlo::run)),
            ("versioned_writes", room(steps::versioned_writes::run)),
            ("symlink", room(steps::symlink::run)),
            ("proxy-server", room(steps::dispatch::run)),
        ] {
            assert!(room < 4_000, "{name}: {room} bytes");
        }
    }
}
