"""S3 in the cloud: boto3's client, and requests signed by hand where boto3 does not send what the story needs."""

import datetime
import hashlib
import hmac
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

REGION = "us-east-1"


def client_of(url, access, secret, authority=None, **options):
    """boto3's client, which tries each request once, so that a story sees the first answer. `authority`: whom it believes
    over TLS."""
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options)
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name=REGION,
        verify=authority,
        config=config,
    )


def hashed(text):
    return hashlib.sha256(text).hexdigest()


class Signer:
    """Signature version 4 of requests without a query, after "Authenticating Requests" in the S3 API reference."""

    def __init__(self, access, secret, region=REGION):
        self.now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.now[:8]}/{region}/s3/aws4_request"
        self.access = access
        key = ("AWS4" + secret).encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self.key = key

    def sign(self, what):
        return hmac.digest(self.key, what.encode(), "sha256").hex()

    def headers(self, method, url, payload, more=()):
        """The headers of a signed request. `payload` is the value of `x-amz-content-sha256`. The path is sent as it is."""
        parts = urlsplit(url)
        signed = {"host": parts.netloc, "x-amz-date": self.now, "x-amz-content-sha256": payload, **dict(more)}
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{parts.path}\n\n{lines}\n{names}\n{payload}"
        self.seed = self.sign(f"AWS4-HMAC-SHA256\n{self.now}\n{self.scope}\n{hashed(canonical.encode())}")
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{self.scope}, SignedHeaders={names}, Signature={self.seed}"
        )
        return signed

    def chunks(self, data, size):
        """The body of a streaming upload: each chunk signed after the one before, the last one empty."""
        before = self.seed
        for start in [*range(0, len(data), size), len(data)]:
            chunk = data[start : start + size]
            before = self.sign(
                f"AWS4-HMAC-SHA256-PAYLOAD\n{self.now}\n{self.scope}\n{before}\n{hashed(b'')}\n{hashed(chunk)}"
            )
            yield f"{len(chunk):x};chunk-signature={before}\r\n".encode() + chunk + b"\r\n"
