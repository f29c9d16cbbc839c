//! `POST` or `DELETE ?bulk-delete`: the body lists what goes, objects before containers.

use super::names::{ListProblem, Names, quote};
use super::outcome::{GivenUp, Outcome};
use super::{Caller, max_path_length};
use crate::pipeline::Next;
use crate::steps::report::Report;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use martlet_protocol::name::{NameError, Target};
use martlet_service::{Body, BodyError, headers};
use std::time::Duration;

/// Each further attempt at a container waits this many times longer.
const RETRY_INTERVAL: f64 = 1.5;

/// Lists are plain text and nothing else.
pub fn refused_type(map: &HeaderMap) -> Option<StatusCode> {
    let given = map.get(CONTENT_TYPE).filter(|value| !value.is_empty())?;
    let is_text = headers::value_text(given).is_some_and(|text| text.starts_with("text/plain"));
    (!is_text).then_some(StatusCode::NOT_ACCEPTABLE)
}

pub async fn delete(
    next: Next,
    caller: Caller,
    target: Target,
    body: Body,
    patience: Duration,
    refusal: Option<StatusCode>,
) -> Report {
    let mut outcome = Outcome::default();
    let ended = match refusal {
        Some(status) => Err(GivenUp::from(status)),
        None => match gather(body, &next, patience).await {
            Ok(names) => delete_all(&next, &caller, &target, names, &mut outcome).await,
            Err(given_up) => Err(given_up),
        },
    };
    outcome.of_deletion(ended)
}

async fn gather(mut body: Body, next: &Next, patience: Duration) -> Result<Vec<Vec<u8>>, GivenUp> {
    let config = &next.edge().config;
    let max_names = config.bulk.max_deletes_per_request;
    let say = |problem| match problem {
        ListProblem::TooMany => GivenUp::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Maximum Bulk Deletes: {max_names} per request"),
        ),
        ListProblem::LongLine => GivenUp::bad("Invalid File Name"),
    };
    let mut names = Names::new(max_names, max_path_length(&config.constraints) * 2);
    loop {
        let chunk = match tokio::time::timeout(patience, body.next()).await {
            Ok(None) => return names.finish().map_err(say),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(BodyError::Timeout))) | Err(_) => return Err(StatusCode::REQUEST_TIMEOUT.into()),
            Ok(Some(Err(_))) => return Err(GivenUp::bad("The list broke off")),
        };
        names.read(&chunk).map_err(say)?;
    }
}

async fn delete_all(
    next: &Next,
    caller: &Caller,
    target: &Target,
    names: Vec<Vec<u8>>,
    outcome: &mut Outcome,
) -> Result<(), GivenUp> {
    let config = &next.edge().config.bulk;
    let (objects, containers): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|name| slashless(name).contains(&b'/'));
    for names in [objects, containers] {
        let deletions = names.into_iter().map(|name| {
            let chosen = choose(target, &name);
            let (next, caller) = (next.clone(), caller.clone());
            async move {
                let status = match chosen {
                    Ok(chosen) => delete_one(&next, &caller, chosen).await,
                    Err(status) => status,
                };
                (name, status)
            }
        });
        let mut deletions = stream::iter(deletions).buffered(config.delete_concurrency.clamp(1, 1_000));
        while let Some((name, status)) = deletions.next().await {
            match status {
                StatusCode::NOT_FOUND => outcome.not_found += 1,
                status if status.is_success() => outcome.done += 1,
                status => outcome.fail(quote(&name), status),
            }
            if outcome.failures.len() >= config.max_failed_deletes {
                return Err(GivenUp::bad("Max delete failures exceeded"));
            }
        }
    }
    Ok(())
}

fn slashless(name: &[u8]) -> &[u8] {
    let begin = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
    let end = name
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(begin, |at| at + 1);
    &name[begin..end]
}

/// What a name means in the account; else the status that its deletion would have had.
fn choose(target: &Target, name: &[u8]) -> Result<Target, StatusCode> {
    let name = std::str::from_utf8(name).map_err(|_| StatusCode::PRECONDITION_FAILED)?;
    if name.contains('\0') {
        return Err(StatusCode::PRECONDITION_FAILED);
    }
    let path = format!("{}/{}", target.account(), name.trim_start_matches('/'));
    match Target::parse(&path) {
        // Slashes alone would name the account itself: nobody deletes that by a list.
        Ok(Target::Account(_)) | Err(NameError::Empty) => Err(StatusCode::BAD_REQUEST),
        Ok(chosen) => Ok(chosen),
        // Nothing of such a name can be.
        Err(NameError::TooLong | NameError::Slash) => Err(StatusCode::NOT_FOUND),
    }
}

async fn delete_one(next: &Next, caller: &Caller, target: Target) -> StatusCode {
    let retries = match target {
        Target::Container(_) => next.edge().config.bulk.delete_container_retry_count,
        _ => 0,
    };
    let mut attempt = 0;
    loop {
        let request = caller.request(Method::DELETE, target.clone(), "BulkDelete");
        let status = next.clone().run(request).await.status();
        if status != StatusCode::CONFLICT || attempt >= retries {
            return status;
        }
        attempt += 1;
        let seconds = RETRY_INTERVAL.powi(attempt.min(20) as i32);
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_objects_and_containers_of_the_account() {
        let target = Target::parse("AUTH_a/ignored").unwrap();
        let long = "x".repeat(5_000);
        for (name, expected) in [
            (&b"/c/o"[..], Ok("/AUTH_a/c/o")),
            (b"c/o/p/", Ok("/AUTH_a/c/o/p/")),
            (b"//c", Ok("/AUTH_a/c")),
            (b"c/", Ok("/AUTH_a/c")),
            ("c/ü".as_bytes(), Ok("/AUTH_a/c/%C3%BC")),
            (b"/", Err(400)),
            (b"///", Err(400)),
            (b"c/\xff", Err(412)),
            (b"\0versions\0c/o", Err(412)),
            (long.as_bytes(), Err(404)),
        ] {
            let found = choose(&target, name)
                .map(|target| target.path())
                .map_err(|status| status.as_u16());
            assert_eq!(found.as_deref(), expected.as_deref(), "{name:?}");
        }
    }

    #[test]
    fn objects_have_a_slash_within() {
        for (name, is_object) in [
            ("/c", false),
            ("c/", false),
            ("/c/o", true),
            ("c//o", true),
            ("//", false),
        ] {
            assert_eq!(slashless(name.as_bytes()).contains(&b'/'), is_object, "{name}");
        }
    }

    #[test]
    fn lists_are_plain_text() {
        for (given, expected) in [
            (None, None),
            (Some(""), None),
            (Some("text/plain"), None),
            (Some("text/plain; charset=utf-8"), None),
            (Some("text/xml"), Some(406)),
            (Some("application/json"), Some(406)),
        ] {
            let mut map = HeaderMap::new();
            if let Some(given) = given {
                headers::set(&mut map, "content-type", given);
            }
            assert_eq!(refused_type(&map).map(|status| status.as_u16()), expected);
        }
    }
}
