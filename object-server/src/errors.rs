//! Where what went wrong becomes a status: one exhaustive mapping, so that a new error does not compile unchosen.

use http::{HeaderMap, StatusCode};
use martlet_protocol::header;
use martlet_protocol::timestamp::Timestamp;
use martlet_service::{Body, BodyError, Response, headers};
use martlet_storage::{StorageError, Unavailable};
use std::borrow::Cow;

/// A request that is not done, as the caller sees it, and for the log why.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// What the caller reads; in Swift's words where Swift has words.
    pub text: Cow<'static, str>,
    /// The moment that stands in the way: `X-Backend-Timestamp`.
    pub timestamp: Option<Timestamp>,
    /// What only the log shows.
    pub cause: Option<String>,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Refusal {
            status,
            text: text.into(),
            timestamp: None,
            cause: None,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404; `newest` is the tombstone's moment when there is a tombstone.
    pub fn not_found(newest: Option<Timestamp>) -> Self {
        Refusal {
            timestamp: newest,
            ..Refusal::new(StatusCode::NOT_FOUND, "")
        }
    }

    /// 409: something as new or newer is there.
    pub fn conflict(existing: Timestamp) -> Self {
        Refusal {
            timestamp: Some(existing),
            ..Refusal::new(StatusCode::CONFLICT, "")
        }
    }

    /// 412.
    pub fn precondition_failed(text: impl Into<Cow<'static, str>>) -> Self {
        Refusal::new(StatusCode::PRECONDITION_FAILED, text)
    }

    /// 499: the body did not come whole. Nothing is stored.
    pub fn body_incomplete(cause: impl Into<String>) -> Self {
        Refusal {
            cause: Some(cause.into()),
            ..Refusal::new(client_disconnect(), "")
        }
    }

    pub fn into_response(self) -> Response {
        let mut response = Response::new(match self.text {
            Cow::Borrowed("") => Body::empty(),
            text => Body::full(text.into_owned()),
        });
        *response.status_mut() = self.status;
        set_refusal_headers(response.headers_mut(), self.timestamp);
        response
    }
}

fn set_refusal_headers(map: &mut HeaderMap, timestamp: Option<Timestamp>) {
    headers::set(map, "content-type", "text/plain");
    if let Some(timestamp) = timestamp {
        headers::set(map, header::X_BACKEND_TIMESTAMP, &timestamp.internal());
    }
}

/// Swift's (and nginx's) status for a client that left before its body was whole.
fn client_disconnect() -> StatusCode {
    StatusCode::from_u16(499).expect("499 is within the range of statuses")
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let status = match &error {
            // The caller takes another device, as for a missing mount.
            StorageError::Full => StatusCode::INSUFFICIENT_STORAGE,
            StorageError::Unavailable(_) => StatusCode::INSUFFICIENT_STORAGE,
            StorageError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            StorageError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            // The copy is quarantined: here the object is not, another copy may be whole.
            StorageError::Corrupt(_) => StatusCode::NOT_FOUND,
            StorageError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal {
            cause: Some(error.to_string()),
            ..Refusal::new(status, "")
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        Refusal {
            cause: Some(error.to_string()),
            ..Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "")
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let status = match &error {
            BodyError::Disconnected | BodyError::Aborted | BodyError::Corrupt | BodyError::Io(_) => {
                client_disconnect()
            }
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            BodyError::Protocol(_) => StatusCode::BAD_REQUEST,
        };
        Refusal {
            cause: Some(error.to_string()),
            ..Refusal::new(status, "")
        }
    }
}
