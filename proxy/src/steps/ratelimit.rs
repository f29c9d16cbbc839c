//! Slows clients down to the rates that an operator allows: changes of an account's containers, changes of a container's
//! objects, listings, and all changes of an account.
//!
//! See "Rate Limiting" in Swift's documentation. A request above its rate waits; one that would wait too long is 498.
//! Swift counts in memcache for all proxies together; here each proxy counts for itself, so that with several proxies an
//! operator divides the rates.

use super::answer;
use crate::Edge;
use crate::context::target;
use crate::pipeline::Next;
use http::{Method, StatusCode};
use martlet_protocol::name::{AccountName, Target};
use martlet_service::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

/// Rates are requests a second; 0 or none: no limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatelimitConfig {
    /// PUT and DELETE of an account's containers.
    pub account_ratelimit: f64,
    /// The longest a request may be made to wait; above it, 498.
    pub max_sleep_time_seconds: f64,
    /// Waits longer than this are logged; 0: none.
    pub log_sleep_time_seconds: f64,
    /// How far a client that was slow may go above its rate to catch up.
    pub rate_buffer_seconds: f64,
    pub account_whitelist: Vec<String>,
    pub account_blacklist: Vec<String>,
    /// Changes of objects, by the container's number of objects (Swift's `container_ratelimit_SIZE`).
    pub container_ratelimit: Rates,
    /// Listings, by the container's number of objects (Swift's `container_listing_ratelimit_SIZE`).
    pub container_listing_ratelimit: Rates,
}

impl Default for RatelimitConfig {
    fn default() -> Self {
        RatelimitConfig {
            account_ratelimit: 0.0,
            max_sleep_time_seconds: 60.0,
            log_sleep_time_seconds: 0.0,
            rate_buffer_seconds: 5.0,
            account_whitelist: Vec::new(),
            account_blacklist: Vec::new(),
            container_ratelimit: Rates::default(),
            container_listing_ratelimit: Rates::default(),
        }
    }
}

/// Rates by size; between two sizes the rate lies on the line between theirs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>", into = "BTreeMap<String, f64>")]
pub struct Rates(Vec<(u64, f64)>);

impl Rates {
    /// The rate at a size; `None`: no limit.
    fn at(&self, size: u64) -> Option<f64> {
        if size == 0 {
            return None;
        }
        let after = self.0.iter().position(|(from, _)| *from > size);
        let last = after.unwrap_or(self.0.len()).checked_sub(1)?;
        let (from, rate) = self.0[last];
        let rate = match self.0.get(last + 1) {
            Some((to, rate_there)) => rate + (rate_there - rate) * (size - from) as f64 / (to - from) as f64,
            None => rate,
        };
        Some(rate).filter(|rate| *rate > 0.0)
    }
}

impl TryFrom<BTreeMap<String, f64>> for Rates {
    type Error = String;
    fn try_from(map: BTreeMap<String, f64>) -> Result<Self, String> {
        let mut rates = Vec::new();
        for (size, rate) in map {
            let size = size
                .parse()
                .map_err(|_| format!("{size}: not a number of objects"))?;
            if !rate.is_finite() || rate < 0.0 {
                return Err(format!("{rate}: not a rate"));
            }
            rates.push((size, rate));
        }
        rates.sort_by_key(|(size, _)| *size);
        Ok(Rates(rates))
    }
}

impl From<Rates> for BTreeMap<String, f64> {
    fn from(rates: Rates) -> Self {
        rates
            .0
            .into_iter()
            .map(|(size, rate)| (size.to_string(), rate))
            .collect()
    }
}

/// Adds what `/info` says of this step.
pub fn describe(edge: &Edge, sections: &mut Map<String, Value>) {
    let config = &edge.config.ratelimit;
    let section = json!({
        "account_ratelimit": config.account_ratelimit,
        "max_sleep_time_seconds": config.max_sleep_time_seconds,
        "container_ratelimits": config.container_ratelimit.0,
        "container_listing_ratelimits": config.container_listing_ratelimit.0,
    });
    sections.insert("ratelimit".into(), section);
}

/// How long a blacklisted client waits for its refusal.
const BLACKLIST_WAIT: Duration = Duration::from_secs(1);

pub async fn run(request: Request, next: Next) -> Response {
    let Some(target) = target(&request) else {
        return next.run(request).await;
    };
    let edge = next.edge();
    let is_change = is_change(request.method());
    let standing = standing(edge, target.account(), is_change).await;
    let of_account = match standing {
        Standing::Free => return next.run(request).await,
        Standing::Barred => {
            tracing::warn!(
                account = target.account().as_str(),
                "497: the account is blacklisted"
            );
            tokio::time::sleep(BLACKLIST_WAIT).await;
            return refuse(497, "Blacklisted", "Your account has been blacklisted");
        }
        Standing::Limited(rate) => rate,
    };
    for (key, rate) in limits(edge, request.method(), &target, of_account).await {
        let now_us = edge.core.clock().now().raw() * 10;
        match edge.limiter.claim(&key, rate, now_us, &edge.config.ratelimit) {
            Ok(wait) => {
                let logged = edge.config.ratelimit.log_sleep_time_seconds;
                if logged > 0.0 && wait.as_secs_f64() > logged {
                    tracing::warn!(seconds = wait.as_secs_f64(), path = target.path(), "slowed down");
                }
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
            }
            Err(TooLong) => {
                tracing::warn!(method = %request.method(), path = target.path(), "498: above its rate for too long");
                return refuse(498, "Rate Limited", "Slow down");
            }
        }
    }
    next.run(request).await
}

fn refuse(status: u16, reason: &'static str, words: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut response = answer::words(status, words);
    let reason = hyper::ext::ReasonPhrase::from_static(reason.as_bytes());
    response.extensions_mut().insert(reason);
    response
}

fn is_change(method: &Method) -> bool {
    matches!(method.as_str(), "PUT" | "DELETE" | "POST" | "COPY")
}

/// How an account is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Free,
    Barred,
    /// With a rate for all its changes together, perhaps.
    Limited(Option<f64>),
}

/// Reads ask only what is remembered of an account anyway: they shall not fail with its servers.
async fn standing(edge: &Edge, account: &AccountName, is_change: bool) -> Standing {
    let config = &edge.config.ratelimit;
    let is_in = |list: &[String]| list.iter().any(|name| name == account.as_str());
    let info = if is_change {
        Some(edge.core.account_info(account).await)
    } else {
        edge.core.remembered_account(account).await
    };
    let mark = info
        .as_ref()
        .and_then(|info| info.sysmeta.get("global-write-ratelimit"))
        .map(String::as_str);
    judge(
        is_in(&config.account_whitelist),
        is_in(&config.account_blacklist),
        mark,
    )
}

fn judge(is_whitelisted: bool, is_blacklisted: bool, mark: Option<&str>) -> Standing {
    match mark {
        _ if is_whitelisted => Standing::Free,
        Some("WHITELIST") => Standing::Free,
        Some("BLACKLIST") => Standing::Barred,
        _ if is_blacklisted => Standing::Barred,
        mark => {
            let rate = mark.and_then(|text| text.trim().parse::<f64>().ok());
            Standing::Limited(rate.filter(|rate| rate.is_finite() && *rate > 0.0))
        }
    }
}

/// The limits that hold for a request, each with the name it is counted under.
async fn limits(
    edge: &Edge,
    method: &Method,
    target: &Target,
    of_account: Option<f64>,
) -> Vec<(String, f64)> {
    let config = &edge.config.ratelimit;
    let mut limits = Vec::new();
    match target {
        Target::Container(path)
            if config.account_ratelimit > 0.0 && matches!(*method, Method::PUT | Method::DELETE) =>
        {
            limits.push((format!("containers/{}", path.account), config.account_ratelimit));
        }
        Target::Container(path)
            if *method == Method::GET && !config.container_listing_ratelimit.0.is_empty() =>
        {
            let size = edge.core.container_info(path).await.object_count;
            if let Some(rate) = config.container_listing_ratelimit.at(size) {
                limits.push((format!("listings/{}/{}", path.account, path.container), rate));
            }
        }
        Target::Object(path) if is_change(method) && !config.container_ratelimit.0.is_empty() => {
            let container = path.container_path();
            let size = edge.core.container_info(&container).await.object_count;
            if let Some(rate) = config.container_ratelimit.at(size) {
                limits.push((format!("objects/{}/{}", path.account, path.container), rate));
            }
        }
        _ => {}
    }
    if let Some(rate) = of_account.filter(|_| is_change(method)) {
        limits.push((format!("changes/{}", target.account()), rate));
    }
    limits
}

/// A request would have to wait longer than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Remembers, for each thing that is limited, up to when its time is spoken for.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<String, u64>>);

/// Things remembered. When there are more, those that are idle are forgotten; what still finds no place is let through.
const MAX_REMEMBERED: usize = 100_000;

impl Limiter {
    /// Takes the next free moment of `key`; how long until then. Microseconds since 1970.
    fn claim(
        &self,
        key: &str,
        rate: f64,
        now_us: u64,
        config: &RatelimitConfig,
    ) -> Result<Duration, TooLong> {
        let each_us = (1e6 / rate).round().clamp(1.0, 1e12) as u64;
        let buffer_us = (config.rate_buffer_seconds.max(0.0) * 1e6) as u64;
        let most_us = config.max_sleep_time_seconds.max(0.0) * 1e6;
        let mut spoken_for = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if spoken_for.len() >= MAX_REMEMBERED && !spoken_for.contains_key(key) {
            spoken_for.retain(|_, until| *until + buffer_us >= now_us);
            if spoken_for.len() >= MAX_REMEMBERED {
                return Ok(Duration::ZERO);
            }
        }
        let until = spoken_for.entry(key.to_owned()).or_insert(0);
        // A client that was idle may use what it left, but no more than the buffer.
        if *until + each_us + buffer_us < now_us {
            *until = now_us + each_us;
            return Ok(Duration::ZERO);
        }
        let wait_us = until.saturating_sub(now_us);
        // A hundredth of a second short of the longest wait is too long already, as in Swift.
        if most_us - wait_us as f64 <= 1e4 {
            return Err(TooLong);
        }
        *until += each_us;
        Ok(Duration::from_micros(wait_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(pairs: &[(&str, f64)]) -> Rates {
        let map: BTreeMap<String, f64> = pairs
            .iter()
            .map(|(size, rate)| ((*size).to_owned(), *rate))
            .collect();
        Rates::try_from(map).unwrap()
    }

    #[test]
    fn rates_lie_on_lines_between_sizes() {
        let rates = rates(&[("10", 100.0), ("75", 30.0), ("50", 50.0)]);
        for (size, expected) in [
            (0, None),
            (9, None),
            (10, Some(100.0)),
            (30, Some(75.0)),
            (50, Some(50.0)),
            (60, Some(42.0)),
            (75, Some(30.0)),
            (1_000_000, Some(30.0)),
        ] {
            assert_eq!(rates.at(size), expected, "{size}");
        }
        assert_eq!(Rates::default().at(5), None);
        for bad in [("x", 1.0), ("-1", 1.0), ("5", -1.0), ("5", f64::NAN)] {
            let map = BTreeMap::from([(bad.0.to_owned(), bad.1)]);
            assert!(Rates::try_from(map).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn marks_and_lists() {
        for (white, black, mark, expected) in [
            (false, false, None, Standing::Limited(None)),
            (true, true, Some("BLACKLIST"), Standing::Free),
            (false, true, Some("WHITELIST"), Standing::Free),
            (false, false, Some("BLACKLIST"), Standing::Barred),
            (false, true, None, Standing::Barred),
            (false, false, Some("2.5"), Standing::Limited(Some(2.5))),
            (false, false, Some("0"), Standing::Limited(None)),
            (false, false, Some("-1"), Standing::Limited(None)),
            (false, false, Some("inf"), Standing::Limited(None)),
            (false, false, Some("junk"), Standing::Limited(None)),
        ] {
            assert_eq!(judge(white, black, mark), expected, "{white} {black} {mark:?}");
        }
    }

    #[test]
    fn requests_are_spread_over_time() {
        let config = RatelimitConfig {
            max_sleep_time_seconds: 2.0,
            ..RatelimitConfig::default()
        };
        let limiter = Limiter::default();
        let begin = 1_700_000_000_000_000;
        let wait = |at: u64| {
            let wait = limiter.claim("k", 2.0, begin + at, &config);
            wait.map(|wait| wait.as_millis())
        };
        // Two a second: each further one waits half a second longer.
        assert_eq!(wait(0), Ok(0));
        assert_eq!(wait(0), Ok(500));
        assert_eq!(wait(0), Ok(1_000));
        assert_eq!(wait(0), Ok(1_500));
        assert_eq!(wait(0), Err(TooLong));
        // One refused takes no time from the others.
        assert_eq!(wait(500_000), Ok(1_500));
        // After a pause shorter than the buffer, what was left may be used at once.
        for _ in 0..4 {
            assert_eq!(wait(4_500_000), Ok(0));
        }
        assert_eq!(wait(4_500_000), Ok(0));
        assert_eq!(wait(4_500_000), Ok(500));
        // After a long one nothing is saved up.
        assert_eq!(wait(60_000_000), Ok(0));
        assert_eq!(wait(60_000_000), Ok(500));
        // Others are not concerned.
        assert_eq!(limiter.claim("other", 2.0, begin, &config), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let config = RatelimitConfig::default();
        let limiter = Limiter::default();
        let now = 1_700_000_000_000_000;
        for at in 0..MAX_REMEMBERED + 10 {
            limiter.claim(&at.to_string(), 1.0, now, &config).unwrap();
        }
        let count = || limiter.0.lock().unwrap().len();
        assert_eq!(count(), MAX_REMEMBERED);
        limiter.claim("later", 1.0, now + 60_000_000, &config).unwrap();
        assert_eq!(count(), 1);
    }
}
