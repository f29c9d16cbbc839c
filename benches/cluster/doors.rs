//! The two doors of a cluster: how a request is said in the Swift API and in the S3 API.

use crate::load::Connection;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use std::time::Duration;

/// How long a presigned URL lasts: longer than any run.
const SIGNED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Rows that one page of an S3 listing may hold.
pub const S3_PAGE: usize = 1_000;

#[derive(Clone)]
pub enum Door {
    Swift {
        address: String,
        account: String,
        token: String,
    },
    S3 {
        address: String,
        credentials: Credentials,
    },
}

impl Door {
    /// Logs in.
    pub async fn swift(address: &str) -> Door {
        let request = Request::get("/auth/v1.0")
            .header("host", address)
            .header("x-auth-user", "test:tester")
            .header("x-auth-key", "testing")
            .body(Full::default())
            .expect("a request");
        let mut connection = Connection::open(address).await.expect("the proxy accepts");
        let (head, _) = connection.call(request).await.expect("the proxy answers");
        let header = |name| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .expect("a login answer")
        };
        let path = header("x-storage-url")
            .splitn(4, '/')
            .nth(3)
            .expect("a URL with a path");
        Door::Swift {
            address: address.to_owned(),
            account: format!("/{path}"),
            token: header("x-auth-token").to_owned(),
        }
    }

    pub fn s3(address: &str) -> Door {
        Door::S3 {
            address: address.to_owned(),
            credentials: Credentials::new("test:tester", "testing"),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Door::Swift { .. } => "swift",
            Door::S3 { .. } => "s3",
        }
    }

    /// Where this door's objects go.
    pub fn container(&self) -> &'static str {
        match self {
            Door::Swift { .. } => "bench-swift",
            Door::S3 { .. } => "bench-s3",
        }
    }

    /// Makes the container.
    pub async fn prepare(&self, address: &str) {
        self.create(address, self.container()).await;
    }

    pub async fn create(&self, address: &str, container: &str) {
        let request = match self {
            Door::Swift { account, .. } => {
                self.request(Method::PUT, format!("{account}/{container}"), Bytes::new())
            }
            Door::S3 { credentials, .. } => {
                let url = self.bucket(container).create_bucket(credentials).sign(SIGNED_FOR);
                self.request(Method::PUT, target(url.path(), url.query()), Bytes::new())
            }
        };
        let mut connection = Connection::open(address).await.expect("the proxy accepts");
        let (head, _) = connection.call(request).await.expect("the proxy answers");
        assert!(
            head.status.is_success(),
            "{container} was not made: {}",
            head.status
        );
    }

    pub fn object(&self, method: Method, container: &str, key: &str, body: Bytes) -> Request<Full<Bytes>> {
        let target = match self {
            Door::Swift { account, .. } => format!("{account}/{container}/{key}"),
            Door::S3 { credentials, .. } => {
                let bucket = self.bucket(container);
                let credentials = Some(credentials);
                let url = match method {
                    Method::PUT => bucket.put_object(credentials, key).sign(SIGNED_FOR),
                    Method::HEAD => bucket.head_object(credentials, key).sign(SIGNED_FOR),
                    Method::DELETE => bucket.delete_object(credentials, key).sign(SIGNED_FOR),
                    _ => bucket.get_object(credentials, key).sign(SIGNED_FOR),
                };
                target(url.path(), url.query())
            }
        };
        self.request(method, target, body)
    }

    /// The requests that together list `rows` rows named by `name`.
    pub fn listing(
        &self,
        container: &str,
        rows: usize,
        name: fn(usize) -> String,
    ) -> Vec<Request<Full<Bytes>>> {
        match self {
            Door::Swift { account, .. } => {
                let target = format!("{account}/{container}?format=json&limit={rows}");
                vec![self.request(Method::GET, target, Bytes::new())]
            }
            Door::S3 { credentials, .. } => {
                let bucket = self.bucket(container);
                let page = |first: usize| {
                    let mut action = bucket.list_objects_v2(Some(credentials));
                    if first > 0 {
                        action.query_mut().insert("start-after", name(first - 1));
                    }
                    let url = action.sign(SIGNED_FOR);
                    self.request(Method::GET, target(url.path(), url.query()), Bytes::new())
                };
                (0..rows).step_by(S3_PAGE).map(page).collect()
            }
        }
    }

    fn bucket(&self, name: &str) -> Bucket {
        let address = match self {
            Door::Swift { address, .. } | Door::S3 { address, .. } => address,
        };
        let endpoint = format!("http://{address}").parse().expect("a URL");
        Bucket::new(endpoint, UrlStyle::Path, name.to_owned(), "us-east-1").expect("a bucket")
    }

    fn request(&self, method: Method, target: String, body: Bytes) -> Request<Full<Bytes>> {
        let mut builder = Request::builder().uri(target);
        if method == Method::PUT {
            // An empty body would be announced by nothing, and a PUT of unknown length is 411.
            builder = builder.header("content-length", body.len());
        }
        let builder = builder.method(method);
        let builder = match self {
            Door::Swift { address, token, .. } => {
                builder.header("host", address).header("x-auth-token", token)
            }
            Door::S3 { address, .. } => builder.header("host", address),
        };
        builder.body(Full::new(body)).expect("a request")
    }
}

fn target(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}
