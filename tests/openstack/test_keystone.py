"""How often Keystone is asked, and what happens when tokens end, when they are revoked, and when Keystone is away."""

import http.client
import io
import uuid
from urllib.parse import urlsplit

import boto3
import pytest
import requests
import swiftclient

from cloud.crowd import at_the_same_moment
from cloud.processes import wait_until
from cloud.s3 import client_of

MIB = 1 << 20


@pytest.fixture
def bearer(cast):
    """Headers of a token that nobody has seen yet."""
    return {"X-Auth-Token": cast.token("alice", "demo")}


@pytest.fixture(scope="module")
def short_lived(keystone):
    """A Keystone on the same data whose tokens live for six seconds: long enough to begin something on a busy machine."""
    service = keystone.on(6, "keystone-six-seconds")
    service.start("/v3")
    yield service
    service.stop()


def test_a_thousand_requests_with_one_token_ask_keystone_once(martlet_only, keystone, account, bearer):
    since = len(keystone.service.asked())
    with requests.Session() as session:
        statuses = {session.head(account("demo"), headers=bearer).status_code for _ in range(1000)}
    # 200 as long as the account has nothing in it yet.
    assert statuses <= {200, 204}
    assert keystone.validations(since, bearer["X-Auth-Token"]) == 1


def test_a_thousand_at_the_same_moment_ask_keystone_once(martlet_only, keystone, account, bearer):
    assert requests.head(account("demo"), headers={"X-Auth-Token": "none"}).status_code == 401
    since = len(keystone.service.asked())
    statuses = at_the_same_moment("HEAD", account("demo"), bearer, 1000)
    assert statuses.keys() <= {200, 204} and statuses.total() == 1000
    assert keystone.validations(since, bearer["X-Auth-Token"]) == 1


def test_a_thousand_wrong_ones_at_the_same_moment_do_not_flood_keystone(martlet_only, keystone, account):
    wrong = "gAAAAA" + uuid.uuid4().hex * 5
    since = len(keystone.service.asked())
    assert at_the_same_moment("HEAD", account("demo"), {"X-Auth-Token": wrong}, 1000) == {401: 1000}
    assert keystone.validations(since, wrong) <= 2


def test_an_upload_ends_well_although_its_token_expires_in_the_middle(keystone, cast, account, short_lived):
    lasting = {"X-Auth-Token": cast.token("alice", "demo")}
    demo = urlsplit(account("demo"))
    container = f"{demo.path}/expiring-{uuid.uuid4().hex[:8]}"
    assert requests.put(f"http://{demo.netloc}{container}", headers=lasting).status_code == 201

    token = cast.token("alice", "demo", f"{short_lived.url}/v3")
    upload = http.client.HTTPConnection(demo.netloc, timeout=60)
    upload.putrequest("PUT", f"{container}/object")
    upload.putheader("X-Auth-Token", token)
    upload.putheader("Content-Length", str(8 * MIB))
    upload.endheaders()
    upload.send(b"a" * (4 * MIB))
    wait_until(lambda: not keystone.knows(token), "the token expires")
    upload.send(b"b" * (4 * MIB))
    assert upload.getresponse().status == 201

    # The next request is judged anew, and a token that is in a cache is not good for longer than it says.
    url = f"http://{demo.netloc}{container}/object"
    assert requests.head(url, headers={"X-Auth-Token": token}).status_code == 401
    whole = requests.get(url, headers=lasting)
    assert whole.content == b"a" * (4 * MIB) + b"b" * (4 * MIB)


def test_a_client_goes_on_with_a_new_token_between_two_segments(keystone, cast, store, short_lived):
    """swiftclient logs in again when it is told 401, as Glance's and Cinder's uploads do."""
    connection = swiftclient.Connection(
        authurl=f"{short_lived.url}/v3",
        user="alice",
        key=cast.password,
        auth_version="3",
        os_options={"project_name": "demo", "project_domain_name": "Default", "user_domain_name": "Default"},
        retries=2,
    )
    container = f"segments-{uuid.uuid4().hex[:8]}"
    connection.put_container(container)
    first = connection.token
    for number in range(3):
        before = connection.token
        connection.put_object(container, f"part-{number}", io.BytesIO(bytes([number]) * MIB))
        if number == 0:
            wait_until(lambda: not keystone.knows(before), "the token expires")
    assert connection.token != first
    connection.put_object(container, "whole", b"", headers={"X-Object-Manifest": f"{container}/part-"})
    _, whole = connection.get_object(container, "whole")
    assert whole == b"\0" * MIB + b"\1" * MIB + b"\2" * MIB


def test_the_service_user_logs_in_again_by_itself(keystone, cast, short_lived, start_proxy):
    """Martlet's own token ends as everybody's does."""
    martlet = start_proxy(keystone_url=f"{short_lived.url}/v3")
    url = f"{martlet.url}/v1/AUTH_{cast.projects['demo']}"
    assert requests.get(url, headers={"X-Auth-Token": cast.token("alice", "demo")}).status_code == 200
    witness = cast.token("alice", "demo", f"{short_lived.url}/v3")
    wait_until(lambda: not keystone.knows(witness), "a token made after Martlet's own expires")
    assert requests.get(url, headers={"X-Auth-Token": cast.token("alice", "demo")}).status_code == 200


def test_a_revoked_token_is_noticed(keystone, cast, start_proxy):
    martlet = start_proxy(authtoken={"token_cache_time": 2})
    url = f"{martlet.url}/v1/AUTH_{cast.projects['demo']}"
    bearer = {"X-Auth-Token": cast.token("alice", "demo")}
    assert requests.get(url, headers=bearer).status_code == 200
    keystone.revoke(bearer["X-Auth-Token"])
    wait_until(lambda: requests.get(url, headers=bearer).status_code == 401, "the token is refused", 30)


def test_keystone_away(keystone, cast, start_proxy):
    """Whoever is known is served, whoever is not hears 503, and all is well again when Keystone is back."""
    away = keystone.on(3600, "keystone-away")
    away.start("/v3")
    try:
        martlet = start_proxy(keystone_url=f"{away.url}/v3")
        demo = f"{martlet.url}/v1/AUTH_{cast.projects['demo']}"
        known = {"X-Auth-Token": cast.token("alice", "demo")}
        unknown = {"X-Auth-Token": cast.token("alice", "demo")}
        known_s3 = client_of(martlet.url, *cast.ec2("alice", "demo"))
        unknown_s3 = client_of(martlet.url, *cast.ec2("alice", "demo"))
        assert requests.put(f"{demo}/open", headers=known | {"X-Container-Read": ".r:*"}).status_code == 201
        assert requests.put(f"{demo}/open/object", data=b"content", headers=known).status_code == 201
        assert known_s3.get_object(Bucket="open", Key="object")["Body"].read() == b"content"

        away.stop()
        assert requests.get(f"{demo}/open", headers=known).status_code == 200
        assert requests.put(f"{demo}/open/another", data=b"more", headers=known).status_code == 201
        assert requests.get(f"{demo}/open", headers=unknown).status_code == 503
        # Not the client's fault, so not 401: a client that hears that throws its good token away.
        assert requests.get(f"{demo}/open/object").content == b"content"
        assert known_s3.get_object(Bucket="open", Key="object")["Body"].read() == b"content"
        with pytest.raises(boto3.exceptions.botocore.exceptions.ClientError) as refused:
            unknown_s3.get_object(Bucket="open", Key="object")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        # Users of tempauth do not need Keystone.
        login = requests.get(f"{martlet.url}/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"})
        own = {"X-Auth-Token": login.headers["X-Auth-Token"]}
        assert requests.get(login.headers["X-Storage-Url"], headers=own).status_code in (200, 204)

        away.start("/v3")
        again = wait_until(
            lambda: requests.get(f"{demo}/open", headers=unknown).status_code == 200, "the unknown token is good", 30
        )
        assert again
        assert unknown_s3.get_object(Bucket="open", Key="object")["Body"].read() == b"content"
    finally:
        away.stop()
