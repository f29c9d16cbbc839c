//! Uploads in parts, as S3 clients make them.

use super::http::request;
use rusty_s3::actions::{CreateMultipartUpload, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use std::time::Duration;

/// Uploads an object in one part, as `test:tester`.
pub async fn upload(address: &str, bucket: &str, key: &str, content: &str) {
    let endpoint = format!("http://{address}").parse().expect("a URL");
    let bucket = Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), "us-east-1").expect("a bucket");
    let credentials = Credentials::new("test:tester", "testing");
    let send = async |method: &str, path: &str, query: Option<&str>, body: String| {
        let target = format!("{path}?{}", query.unwrap_or(""));
        let answer = request(address, method, &target, &[], body)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        answer
    };
    let an_hour = Duration::from_secs(3_600);
    let url = bucket
        .create_multipart_upload(Some(&credentials), key)
        .sign(an_hour);
    let begun = send("POST", url.path(), url.query(), String::new()).await;
    let begun = CreateMultipartUpload::parse_response(&begun.text()).expect("an upload's id");
    let id = begun.upload_id();
    let url = bucket.upload_part(Some(&credentials), key, 1, id).sign(an_hour);
    let part = send("PUT", url.path(), url.query(), content.to_owned()).await;
    let etags = [part.header("etag").trim_matches('"')];
    let end = bucket.complete_multipart_upload(Some(&credentials), key, id, etags.into_iter());
    let url = end.sign(an_hour);
    send("POST", url.path(), url.query(), end.body()).await;
}
