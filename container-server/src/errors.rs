//! What a request is refused with, and the one place where storage's errors become statuses.

use http::{HeaderMap, StatusCode};
use martlet_protocol::listing::ListingError;
use martlet_service::{NoSeat, Response, respond};
use martlet_storage::{StorageError, Unavailable};

/// Why a request is not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request is malformed; the text says how.
    BadRequest(String),
    /// 412: a limit is asked over the maximum, or a path is not UTF-8.
    PreconditionFailed(String),
    /// 406: no listing format the caller accepts.
    NotAcceptable,
    /// 405, with the methods there are.
    MethodNotAllowed,
    /// 404 with what is known about the thing that is not there.
    NotFound(HeaderMap),
    /// 507: the device is not here.
    Unmounted(String),
    /// 503: the device has as much to do as it may.
    Busy,
    /// Storage could not do it.
    Storage { status: StatusCode, text: String },
}

/// The methods both servers know, as `Allow` shows them.
pub const ALLOWED_METHODS: &str = "DELETE, GET, HEAD, OPTIONS, POST, PUT";

impl Refusal {
    /// 404 of something that was never here.
    pub fn missing() -> Self {
        Refusal::NotFound(HeaderMap::new())
    }

    /// The answer the caller gets. Inside text stays inside: storage's errors are logged, not sent.
    pub fn into_response(self) -> Response {
        match self {
            Refusal::BadRequest(text) => respond::text(StatusCode::BAD_REQUEST, text),
            Refusal::PreconditionFailed(text) => respond::text(StatusCode::PRECONDITION_FAILED, text),
            Refusal::NotAcceptable => respond::empty(StatusCode::NOT_ACCEPTABLE),
            Refusal::MethodNotAllowed => {
                let mut response = respond::empty(StatusCode::METHOD_NOT_ALLOWED);
                martlet_service::headers::set(response.headers_mut(), "allow", ALLOWED_METHODS);
                response
            }
            Refusal::NotFound(headers) => {
                let mut response = respond::empty(StatusCode::NOT_FOUND);
                response.headers_mut().extend(headers);
                response
            }
            Refusal::Unmounted(text) => {
                tracing::warn!(error = text, "a device is not available");
                respond::empty(StatusCode::INSUFFICIENT_STORAGE)
            }
            Refusal::Busy => respond::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests for this device",
            ),
            Refusal::Storage { status, text } => {
                tracing::error!(error = text, status = status.as_u16(), "storage failed a request");
                respond::empty(status)
            }
        }
    }
}

impl From<NoSeat> for Refusal {
    fn from(NoSeat: NoSeat) -> Self {
        Refusal::Busy
    }
}

impl From<ListingError> for Refusal {
    fn from(error: ListingError) -> Self {
        match error {
            ListingError::LimitTooLarge(_) => Refusal::PreconditionFailed(error.to_string()),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        Refusal::Unmounted(unavailable.to_string())
    }
}

impl From<StorageError> for Refusal {
    /// Exhaustive on purpose: a new error has no status until someone chooses one.
    fn from(error: StorageError) -> Self {
        let status = match &error {
            // Another device takes it.
            StorageError::Full | StorageError::Unavailable(_) => StatusCode::INSUFFICIENT_STORAGE,
            // The queue is full, or the device is being closed: the caller tries another replica.
            StorageError::Busy | StorageError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            StorageError::Corrupt(_) | StorageError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::Storage {
            status,
            text: error.to_string(),
        }
    }
}
