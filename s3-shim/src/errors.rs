//! Every S3 error this door can give: its code, status and default words, and how it is written as XML.

use crate::xml::write::Xml;
use http::{HeaderValue, Method, StatusCode, header};
use martlet_service::{Body, Response};

macro_rules! codes {
    ($($variant:ident $status:literal $message:literal;)*) => {
        /// An S3 error code; the variant's name is the code on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant,)* }

        impl Code {
            /// The code as S3 writes it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => stringify!($variant),)* }
            }

            /// The HTTP status S3 gives with the code.
            pub fn status(self) -> StatusCode {
                let number: u16 = match self { $(Code::$variant => $status,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The words used when the place of the error has no better ones.
            pub fn message(self) -> &'static str {
                match self { $(Code::$variant => $message,)* }
            }
        }

        #[cfg(test)]
        const ALL: &[Code] = &[$(Code::$variant,)*];
    };
}

codes! {
    AccessDenied 403 "Access Denied.";
    AuthorizationHeaderMalformed 400 "The authorization header that you provided is not valid.";
    AuthorizationQueryParametersError 400 "The authorization query parameters that you provided are not valid.";
    BadDigest 400 "The Content-MD5 or checksum you specified did not match what we received.";
    BadRequest 400 "An error occurred when parsing the HTTP request.";
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty 409 "The bucket you tried to delete is not empty.";
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed object size.";
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed object size. Each part must be at least 5 MB in size, except the last part.";
    IllegalLocationConstraintException 400 "The specified location constraint is incompatible for the region specific endpoint this request was sent to.";
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    InternalError 500 "We encountered an internal error. Please try again.";
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.";
    InvalidArgument 400 "Invalid Argument.";
    InvalidBucketName 400 "The specified bucket is not valid.";
    InvalidChunkSizeError 403 "Only the last chunk is allowed to have a size less than 8192 bytes.";
    InvalidDigest 400 "The Content-MD5 you specified is not valid.";
    InvalidLocationConstraint 400 "The specified location constraint is not valid.";
    InvalidObjectName 400 "The specified key is not valid.";
    InvalidPart 400 "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber 416 "The requested partnumber is not satisfiable.";
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidRange 416 "The requested range is not satisfiable.";
    InvalidRequest 400 "Invalid Request.";
    InvalidStorageClass 400 "The storage class you specified is not valid.";
    InvalidTag 400 "The tag provided was not a valid tag.";
    InvalidURI 400 "Could not parse the specified URI.";
    KeyTooLongError 400 "Your key is too long.";
    MalformedACLError 400 "The XML you provided was not well-formed or did not validate against our published schema.";
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema.";
    MaxMessageLengthExceeded 400 "Your request was too large.";
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size.";
    MethodNotAllowed 405 "The specified method is not allowed against this resource.";
    MissingContentLength 411 "You must provide the Content-Length HTTP header.";
    MissingRequestBodyError 400 "Request body is empty.";
    MissingSecurityHeader 400 "Your request was missing a required header.";
    NoSuchBucket 404 "The specified bucket does not exist.";
    NoSuchBucketPolicy 404 "The bucket policy does not exist.";
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist.";
    NoSuchKey 404 "The specified key does not exist.";
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist.";
    NoSuchObjectLockConfiguration 404 "The specified object does not have a ObjectLock configuration.";
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found.";
    NoSuchTagSet 404 "The TagSet does not exist.";
    NoSuchUpload 404 "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload might have been aborted or completed.";
    NoSuchVersion 404 "The specified version does not exist.";
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration.";
    NotImplemented 501 "A header or query you provided implies functionality that is not implemented.";
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket";
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found.";
    PreconditionFailed 412 "At least one of the preconditions you specified did not hold.";
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found.";
    RequestTimeTooSkewed 403 "The difference between the request time and the server's time is too large.";
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period.";
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found.";
    ServiceUnavailable 503 "Service is unable to handle request. Please reduce your request rate.";
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown 503 "Please reduce your request rate.";
    UnexpectedContent 400 "This request does not support content.";
    UserKeyMustBeSpecified 400 "The bucket POST must contain the specified field name. If it is specified, please check the order of the fields.";
    TooManyBuckets 400 "You have attempted to create more buckets than allowed.";
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.";
}

/// An error on its way to the client: a code, words, and the elements S3 adds for that code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    pub code: Code,
    pub message: Option<String>,
    /// Elements written between the message and the resource, such as `BucketName`.
    pub details: Vec<(&'static str, String)>,
}

/// What every step of this room returns.
pub type S3Result<T> = Result<T, S3Error>;

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        S3Error {
            code,
            message: None,
            details: Vec::new(),
        }
    }
}

impl S3Error {
    /// A code with words of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        S3Error {
            code,
            message: Some(message.into()),
            details: Vec::new(),
        }
    }

    /// `InvalidArgument` with the argument's name and value.
    pub fn argument(name: &str, value: &str, message: impl Into<String>) -> Self {
        S3Error::new(Code::InvalidArgument, message)
            .with("ArgumentName", name)
            .with("ArgumentValue", value)
    }

    /// Adds an element.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// The words for the client.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(self.code.message())
    }

    /// The error document. It repeats nothing of the request but what its details are for.
    pub fn document(&self, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.within("Error", |xml| {
            xml.leaf("Code", self.code.as_str());
            xml.leaf("Message", self.message());
            for (name, value) in &self.details {
                xml.leaf(name, value);
            }
            xml.leaf("RequestId", request_id);
            xml.leaf("HostId", request_id);
        });
        xml.finish()
    }

    /// The whole answer; an answer to HEAD has no body, as HTTP asks.
    pub fn respond(&self, method: &Method, request_id: &str) -> Response {
        let document = self.document(request_id);
        let length = document.len();
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            Body::full(document)
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if method == Method::HEAD {
            // An answer to HEAD may announce the document it does not carry; some clients read it as the
            // object's size, so none is announced.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        } else {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_words() {
        for code in ALL {
            assert!(
                code.status().is_client_error() || code.status().is_server_error(),
                "{code:?}"
            );
            assert!(!code.message().is_empty());
        }
        assert_eq!(Code::NoSuchKey.as_str(), "NoSuchKey");
        assert_eq!(Code::InvalidRange.status(), 416);
    }

    #[test]
    fn the_document_is_escaped_and_complete() {
        let error = S3Error::argument("marker", "<&>", "No <such> thing");
        let text = error.document("tx1");
        assert_eq!(
            text,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidArgument</Code>\
             <Message>No &lt;such&gt; thing</Message><ArgumentName>marker</ArgumentName>\
             <ArgumentValue>&lt;&amp;&gt;</ArgumentValue>\
             <RequestId>tx1</RequestId><HostId>tx1</HostId></Error>"
        );
    }
}
