//! GET and HEAD of static large objects: the manifest itself, or the bytes it stands for.

use super::stored::{self, Content, Segment};
use super::{MULTIPART, SLO_ETAG, SLO_SIZE, drop_header, etag_is_at, ignore_range_if, is_slo, plan};
use crate::context::{Origin, retarget};
use crate::pipeline::Next;
use crate::steps::answer;
use crate::steps::segments::{self, Joined, ObjectPiece, Piece, Pieces, SegmentError};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, RANGE};
use http::{Method, StatusCode};
use martlet_protocol::conditions::Verdict;
use martlet_protocol::header;
use martlet_protocol::name::{AccountName, ObjectPath, Target};
use martlet_protocol::range::ByteRange;
use martlet_service::{Body, Request, Response, collect, headers, respond};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of a kept manifest: 10,000 segments with the longest names.
const MAX_MANIFEST_BYTES: usize = 48 << 20;
/// Manifests within manifests.
const MAX_DEPTH: usize = 10;

/// `?multipart-manifest=get`: the manifest, as it is kept or (`raw`) as a client could send it again.
pub async fn manifest(request: Request, next: Next, raw: bool) -> Response {
    let mut response = next.run(request).await;
    if !is_slo(response.headers()) || response.status() != StatusCode::OK {
        return response;
    }
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if !raw {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Some(segments) = read(body).await else {
        return answer::status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let body = stored::raw(&segments);
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.headers.remove(ETAG);
    respond::with(StatusCode::OK, parts.headers, Body::full(body))
}

pub async fn read(body: Body) -> Option<Vec<Segment>> {
    let bytes = collect(body, MAX_MANIFEST_BYTES).await.ok()?;
    stored::parse(&bytes)
}

/// The segments of the manifest under a path, asked for in `origin`'s name. `None`: there is no manifest, or no answer.
pub async fn segments_of(path: &ObjectPath, next: &Next, origin: &Origin) -> Option<Vec<Segment>> {
    let request = origin.request(
        Method::GET,
        Target::Object(path.clone()),
        "multipart-manifest=get",
    );
    let response = next.clone().at("slo").run(request).await;
    if !response.status().is_success() || !is_slo(response.headers()) {
        return None;
    }
    read(response.into_body()).await
}

/// The object itself. What is no large object passes through as it is.
pub async fn object(mut request: Request, next: Next, path: ObjectPath) -> Response {
    ignore_range_if(request.headers_mut(), header::X_STATIC_LARGE_OBJECT);
    etag_is_at(request.headers_mut(), SLO_ETAG);
    let origin = Origin::of(&request);
    let is_head = *request.method() == Method::HEAD;
    let range = headers::text(request.headers(), RANGE.as_str()).map(str::to_owned);
    let again = is_head.then(|| {
        (
            origin.request(Method::GET, Target::Object(path.clone()), ""),
            next.clone(),
        )
    });
    let response = next.clone().run(request).await;
    if !is_slo(response.headers()) || response.status() != StatusCode::OK {
        return with_own_etag(response);
    }
    let (mut parts, body) = response.into_parts();
    drop_header(&mut parts.headers, "accept-ranges");
    let known = |name: &str| headers::text(&parts.headers, name).map(str::to_owned);
    let (etag, size) = (
        known(SLO_ETAG),
        known(SLO_SIZE).and_then(|size| size.parse::<u64>().ok()),
    );
    let is_multipart = parts.headers.contains_key(MULTIPART);
    let segments = match (&etag, size, again) {
        // A HEAD needs only what stands in the metadata.
        (Some(_), Some(_), Some(_)) => Some(Vec::new()),
        (_, _, None) => read(body).await,
        (_, _, Some((mut request, next))) => {
            retarget(
                &mut request,
                Target::Object(path.clone()),
                "multipart-manifest=get",
            );
            read(next.run(request).await.into_body()).await
        }
    };
    let contents = segments.as_ref().and_then(|segments| {
        let contents = segments.iter().map(|segment| segment.content(&path.account));
        contents.collect::<Option<Vec<Content>>>()
    });
    let (Some(segments), Some(contents)) = (segments, contents) else {
        return answer::words(StatusCode::INTERNAL_SERVER_ERROR, "Unable to load SLO manifest");
    };
    let total = size.unwrap_or_else(|| contents.iter().map(Content::len).sum());
    let config = &next.edge().config.slo;
    let joined = Joined {
        headers: parts.headers,
        etag: etag.unwrap_or_else(|| stored::etag(&segments)),
        length: Some(total),
        known_length: total,
        // Judged by the storage nodes, which were told where the ETag stands.
        verdict: Verdict::Proceed,
        is_head,
        range,
        read_ahead: config.read_ahead,
        max_time: Duration::from_secs(config.max_get_time),
        next: next.at("slo"),
        // Parts of an upload are in a container that only the cluster may read.
        origin: if is_multipart { origin.privileged() } else { origin },
    };
    let (walk_next, walk_origin) = (joined.next.clone(), joined.origin.clone());
    segments::answer(joined, |window| {
        let window = window.unwrap_or(ByteRange { start: 0, end: total });
        let walk = Walk {
            account: path.account.clone(),
            next: walk_next.clone(),
            origin: walk_origin.clone(),
            frames: vec![frame(contents.clone(), window)],
        };
        pieces(walk)
    })
    .await
}

/// A refusal by conditions names the large object's ETag, not the manifest's.
fn with_own_etag(mut response: Response) -> Response {
    if is_slo(response.headers())
        && let Some(etag) = headers::text(response.headers(), SLO_ETAG).map(|etag| format!("\"{etag}\""))
    {
        headers::set(response.headers_mut(), ETAG.as_str(), &etag);
    }
    response
}

type Frame = VecDeque<(Content, ByteRange)>;

/// The parts of a manifest that lie in a window, each with its own part of the window.
fn frame(contents: Vec<Content>, window: ByteRange) -> Frame {
    let lengths: Vec<u64> = contents.iter().map(Content::len).collect();
    let slices = plan::slices(lengths.into_iter(), window);
    slices
        .map(|slice| (contents[slice.index].clone(), slice.range))
        .collect()
}

/// A walk through a manifest and those within it.
struct Walk {
    account: AccountName,
    next: Next,
    origin: Origin,
    frames: Vec<Frame>,
}

fn pieces(walk: Walk) -> Pieces {
    Box::pin(stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        match walk.next_piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Walk {
    async fn next_piece(&mut self) -> Result<Option<Piece>, SegmentError> {
        loop {
            let Some(top) = self.frames.last_mut() else {
                return Ok(None);
            };
            let Some((content, window)) = top.pop_front() else {
                self.frames.pop();
                continue;
            };
            match content {
                Content::Data(bytes) => {
                    return Ok(Some(Piece::Data(
                        bytes.slice(window.start as usize..window.end as usize),
                    )));
                }
                Content::Object {
                    path,
                    etag,
                    size,
                    range,
                    is_manifest,
                } => {
                    let range = ByteRange {
                        start: range.start + window.start,
                        end: range.start + window.end,
                    };
                    if !is_manifest {
                        return Ok(Some(Piece::Object(ObjectPiece {
                            path,
                            etag,
                            size,
                            range,
                        })));
                    }
                    self.enter(&path, range).await?;
                }
            }
        }
    }

    async fn enter(&mut self, path: &ObjectPath, window: ByteRange) -> Result<(), SegmentError> {
        if self.frames.len() > MAX_DEPTH {
            return Err(SegmentError::Invalid("manifests are nested too deeply".into()));
        }
        let gone = || SegmentError::Invalid(format!("nested manifest {} cannot be read", path.path()));
        let segments = segments_of(path, &self.next, &self.origin)
            .await
            .ok_or_else(gone)?;
        let contents = segments.iter().map(|segment| segment.content(&self.account));
        let contents = contents.collect::<Option<Vec<Content>>>().ok_or_else(gone)?;
        self.frames.push(frame(contents, window));
        Ok(())
    }
}
