"""The S3 API with EC2 credentials of Keystone."""

import concurrent.futures
import hashlib
import http.client
import os
import uuid
from urllib.parse import urlsplit

import pytest
import requests
from botocore.exceptions import ClientError

from cloud.processes import wait_until
from cloud.s3 import Signer, client_of, hashed

MIB = 1 << 20
# What the log says when the service user may not read EC2 secrets.
HIDDEN = "Keystone does not show the secrets"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@pytest.fixture(scope="module")
def keys(cast):
    return cast.ec2("alice", "demo")


@pytest.fixture(scope="module")
def s3(store, keys):
    return client_of(store.url, *keys)


@pytest.fixture
def bucket(s3):
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    return name


def status_of(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["ResponseMetadata"]["HTTPStatusCode"], refused.value.response["Error"]["Code"]


def test_a_bucket_is_a_container_of_the_project(s3, bucket, cast, account):
    data = os.urandom(3 * MIB)
    s3.put_object(Bucket=bucket, Key="a/key", Body=data, Metadata={"color": "blue"})
    owner = {"X-Auth-Token": cast.token("alice", "demo")}
    seen = requests.get(f"{account('demo')}/{bucket}/a/key", headers=owner)
    assert seen.content == data
    assert seen.headers["X-Object-Meta-Color"] == "blue"
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]

    requests.put(f"{account('demo')}/{bucket}/by-swift", data=b"content", headers=owner).raise_for_status()
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["a/key", "by-swift"]
    part = s3.get_object(Bucket=bucket, Key="a/key", Range="bytes=1000000-1999999")["Body"].read()
    assert part == data[1000000:2000000]
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)
    assert requests.head(f"{account('demo')}/{bucket}", headers=owner).status_code == 404


def test_a_large_upload_goes_in_parts(s3, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    data = os.urandom(20 * MIB + 123)
    source.write_bytes(data)
    s3.upload_file(str(source), bucket, "large")
    s3.download_file(bucket, "large", str(target))
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_streaming_upload_is_checked_chunk_by_chunk(store, s3, bucket, keys):
    data = os.urandom(MIB + 17)
    url = f"{store.url}/{bucket}/streamed"
    more = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}

    signer = Signer(*keys)
    headers = signer.headers("PUT", url, STREAMING, more)
    body = b"".join(signer.chunks(data, 64 * 1024))
    answer = requests.put(url, data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert s3.get_object(Bucket=bucket, Key="streamed")["Body"].read() == data

    # One byte of the data is another than was signed.
    signer = Signer(*keys)
    headers = signer.headers("PUT", url, STREAMING, more)
    body = bytearray(b"".join(signer.chunks(data, 64 * 1024)))
    body[len(body) // 2] ^= 1
    answer = requests.put(url, data=bytes(body), headers=headers)
    assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True), answer.text
    assert s3.get_object(Bucket=bucket, Key="streamed")["Body"].read() == data


def test_a_presigned_url_is_good_for_whoever_has_it(s3, bucket):
    s3.put_object(Bucket=bucket, Key="lent", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "lent"})
    assert requests.get(url).content == b"content"
    assert requests.get(url.replace("Signature=", "Signature=0")).status_code == 403


def test_wrong_secrets_and_unknown_keys_are_refused(store, bucket, keys):
    access, secret = keys
    wrong = client_of(store.url, access, secret[::-1])
    assert status_of(wrong.list_objects_v2, Bucket=bucket) == (403, "SignatureDoesNotMatch")
    # Keystone says only that it does not match, and so does Swift.
    unknown = client_of(store.url, uuid.uuid4().hex, secret)
    assert status_of(unknown.list_objects_v2, Bucket=bucket) == (403, "SignatureDoesNotMatch")


def test_a_member_without_a_role_and_a_stranger_are_refused(store, bucket, cast):
    for name, project in (("bob", "demo"), ("carol", "other")):
        client = client_of(store.url, *cast.ec2(name, project))
        status, code = status_of(client.put_object, Bucket=bucket, Key="theirs", Body=b"no")
        assert status in (403, 404), (name, status, code)


def test_ten_thousand_gets_ask_keystone_once(martlet_only, store, cast, keystone):
    access, secret = cast.ec2("alice", "demo")
    owner = client_of(store.url, *cast.ec2("alice", "demo"))
    bucket = f"asked-{uuid.uuid4().hex[:8]}"
    owner.create_bucket(Bucket=bucket)
    for number in range(10):
        owner.put_object(Bucket=bucket, Key=f"key-{number}", Body=b"content")
    since = len(keystone.service.asked())
    address = urlsplit(store.url).netloc

    def thousand(number):
        signer = Signer(access, secret)
        path = f"/{bucket}/key-{number}"
        connection = http.client.HTTPConnection(address, timeout=60)
        seen = set()
        for _ in range(1000):
            headers = signer.headers("GET", store.url + path, hashed(b""))
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            seen.add((answer.status, answer.read()))
        connection.close()
        return seen

    # Ten at a time, so that the first of each come at the same moment.
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        seen = set().union(*pool.map(thousand, range(10)))
    assert seen == {(200, b"content")}
    # One question about the signature, and one about the secret by which all others are checked.
    assert keystone.s3_questions(since) <= 2


def test_a_service_user_of_the_system_needs_no_admin(keystone, cast, start_proxy):
    """With `service` and `reader` on the system it may check tokens and read secrets, and nothing else."""
    name = f"system-{uuid.uuid4().hex[:8]}"
    cast.add(name)
    keystone.grant_on_system(cast.users[name], "service", "reader")
    martlet = start_proxy(authtoken={"username": name, "project_name": None, "system_scope": "all"})
    token = {"X-Auth-Token": cast.token("alice", "demo")}
    assert requests.get(f"{martlet.url}/v1/AUTH_{cast.projects['demo']}", headers=token).ok
    access, secret = cast.ec2("alice", "demo")
    s3 = client_of(martlet.url, access, secret)
    since = len(keystone.service.asked())
    for _ in range(20):
        s3.list_buckets()
    assert keystone.s3_questions(since) == 2
    assert HIDDEN not in martlet.log.read_text()


def test_a_service_user_that_may_not_read_secrets(keystone, cast, start_proxy):
    """The log says so before anybody is served; S3 works on, and Keystone is asked about all but the very same requests."""
    name = f"poor-{uuid.uuid4().hex[:8]}"
    cast.add(name, service=["service"])
    martlet = start_proxy(authtoken={"username": name})
    wait_until(lambda: HIDDEN in martlet.log.read_text(), "the log warns")
    s3 = client_of(martlet.url, *cast.ec2("alice", "demo"))
    bucket = f"hidden-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
    since = len(keystone.service.asked())
    assert {requests.get(url).content for _ in range(20)} == {b"content"}
    assert keystone.s3_questions(since) == 1
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"key-{number}", Body=b"content")
    assert keystone.s3_questions(since) == 6
    assert martlet.log.read_text().count(HIDDEN) == 1


def test_a_deleted_credential_is_noticed(keystone, cast, start_proxy):
    martlet = start_proxy(authtoken={"token_cache_time": 2}, s3token={"secret_cache_duration": 2})
    access, secret = cast.ec2("alice", "demo")
    client = client_of(martlet.url, access, secret)
    client.list_buckets()
    keystone.call("DELETE", f"/users/{cast.users['alice']}/credentials/OS-EC2/{access}")

    def refused():
        try:
            client.list_buckets()
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return False

    wait_until(refused, "the key is refused", 30)
