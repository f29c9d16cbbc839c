//! Amazon's published Signature V4 examples for S3, and what must be refused.

use super::super::{Authenticated, Checker, Payload};
use super::*;
use crate::Credential;
use martlet_protocol::identity::Identity;

pub(crate) const ACCESS: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const MAY_24_2013: u64 = 1_369_353_600;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

fn one() -> Credential {
    Credential {
        secret: Some(SECRET.into()),
        identity: Identity {
            user: "test:tester".into(),
            account: "AUTH_test".into(),
            groups: vec![],
            is_reseller_admin: false,
            is_reseller_reader: false,
            keystone: None,
        },
    }
}

fn check_at(
    now_secs: u64,
    region: &str,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
) -> S3Result<Authenticated> {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let parts = builder.body(()).unwrap().into_parts().0;
    let checker = Checker {
        region,
        now_secs,
        host_bucket: None,
    };
    let claim = checker.read(&parts)?;
    if claim.access_key != ACCESS {
        return Err(Code::InvalidAccessKeyId.into());
    }
    claim.prove(one())
}

fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> S3Result<Authenticated> {
    check_at(MAY_24_2013, "us-east-1", method, uri, headers)
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
    )
}

const GET_SIGNED: &str = "host;range;x-amz-content-sha256;x-amz-date";
const GET_SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

fn get_headers(authorization: &str) -> Vec<(&'static str, String)> {
    vec![
        ("host", HOST.1.to_owned()),
        ("range", "bytes=0-9".to_owned()),
        ("x-amz-content-sha256", EMPTY.to_owned()),
        ("x-amz-date", "20130524T000000Z".to_owned()),
        ("authorization", authorization.to_owned()),
    ]
}

fn get(headers: &[(&'static str, String)]) -> S3Result<Authenticated> {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    check("GET", "/test.txt", &headers)
}

#[test]
fn get_object() {
    let found = get(&get_headers(&authorization(GET_SIGNED, GET_SIGNATURE))).unwrap();
    assert_eq!(found.identity.account, "AUTH_test");
    assert_eq!(
        found.payload,
        Payload::Sha256(hex::decode(EMPTY).unwrap().try_into().unwrap())
    );
}

#[test]
fn put_object() {
    let header = authorization(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let headers = [
        HOST,
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        (
            "x-amz-content-sha256",
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        ),
        ("authorization", &header),
    ];
    check("PUT", "/test%24file.text", &headers).unwrap();
    check("PUT", "/test$file.text", &headers).unwrap();
}

#[test]
fn get_lifecycle_and_list() {
    let signed = "host;x-amz-content-sha256;x-amz-date";
    for (uri, signature) in [
        (
            "/?lifecycle",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "/?prefix=J&max-keys=2",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let header = authorization(signed, signature);
        let headers = [
            HOST,
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-content-sha256", EMPTY),
            ("authorization", &header),
        ];
        check("GET", uri, &headers).unwrap();
    }
}

#[test]
fn streaming_seed() {
    let header = authorization(
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
    let headers = [
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("content-length", "66824"),
        ("authorization", &header),
    ];
    let found = check("PUT", "/examplebucket/chunkObject.txt", &headers).unwrap();
    let Payload::SignedChunks { seed, trailer: false } = found.payload else {
        panic!("not chunked")
    };
    let data = canonical::sha256_hex(&[b'a'; 65_536]);
    assert_eq!(
        seed.chunk_signature(&seed.signature, &data),
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    );
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[test]
fn presigned_get() {
    let found = check("GET", PRESIGNED, &[HOST]).unwrap();
    assert_eq!(found.payload, Payload::Unsigned);
    check_at(MAY_24_2013 + 86_400, "us-east-1", "GET", PRESIGNED, &[HOST]).unwrap();
}

fn code(result: S3Result<Authenticated>) -> Code {
    result.expect_err("must be refused").code
}

#[test]
fn presigned_urls_expire_and_their_numbers_are_checked() {
    let late = check_at(MAY_24_2013 + 86_401, "us-east-1", "GET", PRESIGNED, &[HOST]).expect_err("expired");
    assert_eq!(
        (late.code, late.message()),
        (Code::AccessDenied, "Request has expired")
    );
    assert_eq!(
        code(check_at(
            MAY_24_2013 - 901,
            "us-east-1",
            "GET",
            PRESIGNED,
            &[HOST]
        )),
        Code::AccessDenied
    );
    for bad in [
        "604801",
        "-1",
        "0",
        "x",
        "",
        "99999999999999999999999999999999999999999",
    ] {
        let url = PRESIGNED.replace("Expires=86400", &format!("Expires={bad}"));
        assert_eq!(
            code(check("GET", &url, &[HOST])),
            Code::AuthorizationQueryParametersError,
            "{bad}"
        );
    }
    for (from, to, wanted) in [
        (
            "X-Amz-Expires=86400",
            "X-Amz-Expires=86401",
            Code::SignatureDoesNotMatch,
        ),
        ("test.txt", "other.txt", Code::SignatureDoesNotMatch),
        (
            "&X-Amz-Date=20130524T000000Z",
            "",
            Code::AuthorizationQueryParametersError,
        ),
        (
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Date=20130524",
            Code::AuthorizationQueryParametersError,
        ),
        (
            "X-Amz-Date=20130524T",
            "X-Amz-Date=20130523T",
            Code::AuthorizationQueryParametersError,
        ),
        (
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA512",
            Code::AuthorizationQueryParametersError,
        ),
        ("us-east-1", "eu-west-1", Code::AuthorizationQueryParametersError),
        ("AKIAIOSFODNN7EXAMPLE", "nobody", Code::InvalidAccessKeyId),
        (
            "SignedHeaders=host",
            "SignedHeaders=Host",
            Code::AuthorizationQueryParametersError,
        ),
        (
            "&X-Amz-Expires=86400",
            "&X-Amz-Expires=86400&X-Amz-Expires=86400",
            Code::AuthorizationQueryParametersError,
        ),
    ] {
        assert_eq!(
            code(check("GET", &PRESIGNED.replace(from, to), &[HOST])),
            wanted,
            "{to}"
        );
    }
    let extra = [HOST, ("x-amz-acl", "public-read")];
    assert_eq!(code(check("GET", PRESIGNED, &extra)), Code::AccessDenied);
}

#[test]
fn what_is_wrong_is_refused_with_its_code() {
    let good = authorization(GET_SIGNED, GET_SIGNATURE);
    let cases = [
        (good.replace("f0e8", "f0e9"), Code::SignatureDoesNotMatch),
        (good.replace(GET_SIGNATURE, ""), Code::SignatureDoesNotMatch),
        (
            good.replace("us-east-1", "us-west-2"),
            Code::AuthorizationHeaderMalformed,
        ),
        (good.replace("/s3/", "/sqs/"), Code::AuthorizationHeaderMalformed),
        (
            good.replace("aws4_request", "aws4"),
            Code::AuthorizationHeaderMalformed,
        ),
        (
            good.replace("/20130524/", "/20130525/"),
            Code::AuthorizationHeaderMalformed,
        ),
        (
            good.replace("/20130524/", "//"),
            Code::AuthorizationHeaderMalformed,
        ),
        (good.replace(ACCESS, "AKIANOBODY"), Code::InvalidAccessKeyId),
        (
            good.replace("host;range", "range;host"),
            Code::AuthorizationHeaderMalformed,
        ),
        (good.replace("host;", ""), Code::AuthorizationHeaderMalformed),
        (
            good.replace(",Signature=", ",Signatur="),
            Code::AuthorizationHeaderMalformed,
        ),
        (
            good.replace("Credential=", "Credential"),
            Code::AuthorizationHeaderMalformed,
        ),
        (format!("{good},Signature=0"), Code::AuthorizationHeaderMalformed),
        (
            good.replace("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA1 "),
            Code::InvalidArgument,
        ),
        ("AWS4-HMAC-SHA256".to_owned(), Code::InvalidArgument),
        (
            "AWS4-HMAC-SHA256 Credential=a".to_owned(),
            Code::AuthorizationHeaderMalformed,
        ),
        ("Basic abc".to_owned(), Code::InvalidArgument),
        ("AWS nocolon".to_owned(), Code::InvalidArgument),
    ];
    for (header, wanted) in cases {
        assert_eq!(code(get(&get_headers(&header))), wanted, "{header}");
    }
    assert_eq!(code(check("GET", "/test.txt", &[HOST])), Code::AccessDenied);
}

#[test]
fn unsigned_amz_headers_and_wrong_clocks_are_refused() {
    let mut headers = get_headers(&authorization(GET_SIGNED, GET_SIGNATURE));
    headers.push(("x-amz-copy-source", "/other/secret".to_owned()));
    let refused = get(&headers).expect_err("unsigned header");
    assert_eq!(refused.code, Code::AccessDenied);
    assert!(refused.message().contains("not signed"));
    assert!(
        refused
            .details
            .contains(&("HeadersNotSigned", "x-amz-copy-source".to_owned()))
    );

    let headers = get_headers(&authorization(GET_SIGNED, GET_SIGNATURE));
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for now in [MAY_24_2013 - 901, MAY_24_2013 + 901] {
        assert_eq!(
            code(check_at(now, "us-east-1", "GET", "/test.txt", &headers)),
            Code::RequestTimeTooSkewed
        );
    }
    check_at(MAY_24_2013 + 900, "us-east-1", "GET", "/test.txt", &headers).unwrap();
    assert_eq!(
        code(check_at(
            MAY_24_2013,
            "eu-central-1",
            "GET",
            "/test.txt",
            &headers
        )),
        Code::AuthorizationHeaderMalformed
    );
    assert_eq!(code(check("GET", PRESIGNED, &headers)), Code::InvalidArgument);
}
