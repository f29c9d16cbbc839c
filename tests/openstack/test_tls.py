"""TLS on both sides of Martlet: a Keystone with a certificate of a private authority, and clients on Martlet's own port."""

import io
import os
import pathlib
import subprocess
import sys
import uuid

import pytest
import requests

from cloud.certificates import Authority
from cloud.processes import person_environment, wait_until
from cloud.s3 import client_of

MIB = 1 << 20
BIN = pathlib.Path(sys.executable).parent
REGION = "BehindTls"


@pytest.fixture(scope="module")
def secured(martlet_only, keystone, certificates):
    """A Keystone on the same data, over https only."""
    service = keystone.on(3600, "keystone-tls", certificate=certificates("keystone"))
    service.start("/v3")
    yield service
    service.stop()


@pytest.fixture
def asked(cast):
    """What a proxy says to the owner of an account, by token and over S3."""

    def ask(proxy):
        url = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
        by_token = requests.head(url, headers={"X-Auth-Token": cast.token("alice", "demo")}, timeout=60).status_code
        s3 = client_of(proxy.url, *cast.ec2("alice", "demo"))
        try:
            return by_token, s3.list_buckets()["ResponseMetadata"]["HTTPStatusCode"]
        except s3.exceptions.ClientError as error:
            return by_token, error.response["ResponseMetadata"]["HTTPStatusCode"]

    return ask


GOOD = [(200, 200), (204, 200)]


def test_a_keystone_with_a_certificate_of_a_private_authority(secured, start_proxy, asked):
    proxy = start_proxy(f"{secured.url}/v3", authtoken={"cafile": str(secured.certificate.authority)})
    assert asked(proxy) in GOOD


def test_a_keystone_whose_authority_nobody_knows(secured, start_proxy, asked, folder):
    """It is as if it was not there: 503 and not 401, and the log says why. Another authority's word is no better."""
    strangers = Authority(folder / "strangers").pem
    for cafile in (None, str(strangers)):
        proxy = start_proxy(f"{secured.url}/v3", authtoken={"cafile": cafile})
        assert asked(proxy) == (503, 503)
        wait_until(lambda: "certificate" in proxy.log.read_text(), "the log says why")


def test_a_keystone_that_is_not_checked(secured, start_proxy, asked):
    """`insecure`, for trying things out; the log warns of it."""
    proxy = start_proxy(f"{secured.url}/v3", authtoken={"insecure": True})
    assert asked(proxy) in GOOD
    wait_until(lambda: "insecure is on" in proxy.log.read_text(), "the log warns")


def test_a_keystone_that_wants_a_certificate(martlet_only, keystone, certificates, start_proxy, asked, folder):
    """`certfile` and `keyfile`. Without one, or with a stranger's, Keystone is as if it was not there, and the log says why."""
    demanding = keystone.on(3600, "keystone-demanding", certificate=certificates("keystone"), shown=certificates("story"))
    demanding.start("/v3")
    try:
        own, stranger = certificates("swift"), Authority(folder / "strangers").certificate("swift")
        together = folder / "together.pem"
        together.write_bytes(own.key.read_bytes() + own.chain.read_bytes())
        for shown, works in (
            ({"certfile": str(own.chain), "keyfile": str(own.key)}, True),
            ({"certfile": str(together)}, True),
            ({}, False),
            ({"certfile": str(stranger.chain), "keyfile": str(stranger.key)}, False),
        ):
            proxy = start_proxy(f"{demanding.url}/v3", authtoken={"cafile": str(demanding.certificate.authority)} | shown)
            answers = asked(proxy)
            if works:
                assert answers in GOOD
            else:
                assert answers == (503, 503)
                wait_until(lambda: "alert" in proxy.log.read_text(), "the log says why")  # noqa: B023
    finally:
        demanding.stop()


@pytest.fixture(scope="module")
def door(request, folder, keystone, cast, store, secured, certificates):
    """A proxy that speaks TLS, in the catalogue of a region of its own."""
    from cloud.martlet import Proxy

    binary = request.config.getoption("--martlet")
    cafile = {"cafile": str(secured.certificate.authority)}
    where = (binary, folder / "proxy-tls", store, f"{secured.url}/v3", cast)
    proxy = Proxy(*where, certificate=certificates("martlet"), authtoken=cafile)
    keystone.create("region", id=REGION)
    service = keystone.endpoints("object-store", "swift-tls", f"{proxy.url}/v1/AUTH_%(project_id)s", REGION)
    yield proxy
    # Stories of the other region must not find this one.
    keystone.call("DELETE", f"/services/{service}")
    proxy.stop()


@pytest.fixture
def run(secured, door, cast, tmp_path):
    """Runs a client as alice, who logs in over https as well; whom she believes stands in `OS_CACERT`."""
    login = person_environment(
        f"{secured.url}/v3", "alice", cast.password, "demo", REGION, OS_CACERT=door.authority
    )

    def call(*words, wanted=0, **more):
        command = [BIN / words[0], *words[1:]]
        ended = subprocess.run(command, env=login | more, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert (ended.returncode == 0) == (wanted == 0), f"{words}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr

    return call


@pytest.fixture
def name():
    return f"tls-{uuid.uuid4().hex[:8]}"


def test_openstack_over_tls(run, name, tmp_path):
    data = os.urandom(2 * MIB)
    (tmp_path / "file").write_bytes(data)
    run("openstack", "container", "create", name)
    run("openstack", "object", "create", name, "file")
    run("openstack", "object", "save", "--file", "saved", name, "file")
    assert (tmp_path / "saved").read_bytes() == data


def test_swift_over_tls(run, door, name, tmp_path):
    data = os.urandom(3 * MIB + 5)
    (tmp_path / "file").write_bytes(data)
    swift = ("swift", "--auth-version", "3")
    run(*swift, "upload", "--use-slo", "-S", str(MIB), name, "file")
    run(*swift, "download", name, "file", "-o", "saved")
    assert (tmp_path / "saved").read_bytes() == data
    assert door.url in run(*swift, "stat", "-v", name, "file")
    run(*swift, "delete", name)
    # Who knows another authority, or none, does not talk to it.
    assert "certificate" in run(*swift, "stat", wanted=1, OS_CACERT="").lower()


def test_boto3_over_tls(door, cast, name):
    """Over TLS it sends checksums behind the body, and signs chunks with nothing."""
    s3 = client_of(door.url, *cast.ec2("alice", "demo"), authority=door.authority)
    s3.create_bucket(Bucket=name)
    data = os.urandom(MIB)
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket=name, Key=algorithm, Body=io.BytesIO(data), ChecksumAlgorithm=algorithm)
        found = s3.get_object(Bucket=name, Key=algorithm, ChecksumMode="ENABLED")
        assert found["Body"].read() == data
    s3.upload_fileobj(io.BytesIO(data * 20), name, "parts")
    assert s3.head_object(Bucket=name, Key="parts")["ContentLength"] == 20 * MIB
    url = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "CRC32"})
    assert url.startswith("https://") and requests.get(url, verify=door.authority, timeout=60).content == data
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, timeout=60)


def test_http_on_the_tls_port_is_no_way_in(door):
    """Nothing is answered that a client could take for an answer."""
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(door.url.replace("https:", "http:"), timeout=60)
