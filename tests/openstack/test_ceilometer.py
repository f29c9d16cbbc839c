"""Ceilometer hears of requests as it does from ceilometermiddleware: a real RabbitMQ between, and the real middleware and
oslo.messaging's own listener beside it."""

import json
import pathlib
import re
import uuid

import pytest
import requests

from cloud.processes import wait_until
from cloud.program import Program
from cloud.rabbitmq import RabbitMq
from cloud.s3 import client_of

PROGRAM = pathlib.Path(__file__).with_name("ceilometer_reader.py")
MIB = 1 << 20

# What is different each time, and the form it must have.
CHANGING = {
    "id": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "metricId": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "message_id": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "_unique_id": "[0-9a-f]{32}",
    "eventTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}",
    "timestamp": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}",
}


@pytest.fixture(scope="module")
def rabbitmq(martlet_only, folder, certificates):
    rabbitmq = RabbitMq(folder / "rabbitmq", certificates("rabbitmq"))
    try:
        rabbitmq.start()
        yield rabbitmq
    finally:
        rabbitmq.end()


@pytest.fixture(scope="module")
def reader(rabbitmq, services, folder):
    # The policies of a dev cluster, as ceilometermiddleware reads them.
    swift_conf = folder / "rabbitmq" / "swift.conf"
    swift_conf.write_text("[storage-policy:0]\nname = gold\ndefault = yes\n[storage-policy:1]\nname = silver\n")
    reader = Program(services, PROGRAM, [rabbitmq.url, swift_conf], folder / "rabbitmq" / "reader.log")
    yield reader
    reader.stop()


@pytest.fixture
def topic():
    """A topic of this story's own, so that nobody else's notifications come in between."""
    return f"story-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def take(reader, topic):
    """The next notification of this story's topic."""
    return lambda: wait_until(lambda: reader.do("take", queue=f"{topic}.info"), "a notification comes")


def opened(taken):
    envelope = json.loads(taken["body"])
    assert envelope.keys() == {"oslo.version", "oslo.message"}
    return json.loads(envelope["oslo.message"])


def without_changing(value):
    """The same with a word for each part that is another each time, if it has the form it must have."""
    if isinstance(value, list):
        return [without_changing(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: name
        if isinstance(part, str) and re.fullmatch(CHANGING.get(name, "(?!)"), part)
        else without_changing(part)
        for name, part in value.items()
    }


def summary(taken):
    """What was asked, by whom, and how many bytes went: in, out."""
    payload = opened(taken)["payload"]
    measured = {one["metric"]["name"]: one["result"] for one in payload["measurements"]}
    bytes_in = measured.get("storage.objects.incoming.bytes", 0)
    bytes_out = measured.get("storage.objects.outgoing.bytes", 0)
    return payload["target"]["action"], payload["target"]["metadata"]["path"], bytes_in, bytes_out


def test_each_request_reads_as_from_ceilometermiddleware(start_proxy, cast, rabbitmq, reader, topic, take):
    options = {"metadata_headers": "X-Object-Meta-Color, X-Story", "topic": topic}
    proxy = start_proxy(ceilometer=options | {"url": rabbitmq.url})
    account = f"/v1/AUTH_{cast.projects['demo']}"
    container = f"{account}/met-{uuid.uuid4().hex[:8]}"
    user = {"HTTP_X_USER_ID": cast.users["alice"], "HTTP_X_PROJECT_ID": cast.projects["demo"]}
    token = cast.token("alice", "demo")

    def same(method, path, body="", headers=(), who=user, wanted=200, policy=None):
        """Asks Martlet, shows the real middleware what was asked and answered, and compares what the two tell."""
        headers = dict(headers)
        sent = headers | ({"X-Auth-Token": token} if who else {})
        answer = requests.request(method, proxy.url + path, data=body.encode(), headers=sent, timeout=60)
        assert answer.status_code == wanted, answer.text
        environ = {"REQUEST_METHOD": method, "PATH_INFO": requests.utils.unquote(path.partition("?")[0])} | who
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        answered = []
        if policy and path.partition("?")[0].count("/") > 3:
            environ["HTTP_X_BACKEND_STORAGE_POLICY_INDEX"] = policy
        elif policy:
            answered = [("X-Backend-Storage-Policy-Index", policy)]
        content = "" if method == "HEAD" else answer.text
        ours = take()
        told = [f"{answer.status_code} {answer.reason}", answered, content]
        reader.do("tell", environ=environ, body=body, answer=told, options=options)
        theirs = take()
        assert without_changing(opened(ours)) == without_changing(opened(theirs))
        assert opened(ours).keys() == opened(theirs).keys()
        assert (ours["properties"], ours["place"]) == (theirs["properties"], theirs["place"])

    silver = {"X-Storage-Policy": "silver", "X-Container-Read": ".r:*", "X-Story": "first"}
    same("PUT", container, headers=silver, wanted=201, policy="1")
    # As JSON, which listings are made of behind authentication: it is this that counts, in Swift as well.
    same("GET", f"{account}?format=json")
    blue = {"X-Object-Meta-Color": "blue"}
    same("PUT", f"{container}/an%20object/x", "twelve bytes", blue, wanted=201, policy="1")
    same("GET", f"{container}/an%20object/x", policy="1")
    same("HEAD", f"{container}/an%20object/x", policy="1")
    same("GET", f"{container}/an%20object/x", headers={"Range": "bytes=0-4"}, wanted=206, policy="1")
    same("POST", f"{container}/an%20object/x", headers=blue, wanted=202, policy="1")
    same("GET", f"{container}?format=json", policy="1")
    same("HEAD", container, wanted=204, policy="1")
    same("GET", f"{container}/missing", wanted=404, policy="1")
    # A visitor without a user, and one who may not.
    same("GET", f"{container}/an%20object/x", who={}, policy="1")
    same("GET", account, who={}, wanted=401)
    same("DELETE", f"{container}/an%20object/x", wanted=204, policy="1")
    same("DELETE", container, wanted=204)


def test_oslo_messagings_listener_hears_whole_requests(start_proxy, cast, rabbitmq, reader, topic):
    """As Ceilometer's notification agent listens. A large object counts with all its bytes, its parts as uploads."""
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic})
    reader.do("listen", exchange="swift", topic=topic)
    account = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
    name, owner = f"whole-{uuid.uuid4().hex[:8]}", {"X-Auth-Token": cast.token("alice", "demo")}
    requests.put(f"{account}/{name}", headers=owner).raise_for_status()
    for number in (1, 2):
        requests.put(f"{account}/{name}/part-{number}", data=bytes(MIB), headers=owner).raise_for_status()
    manifest = {"X-Object-Manifest": f"{name}/part-"}
    requests.put(f"{account}/{name}/whole", data=b"", headers=owner | manifest).raise_for_status()
    assert len(requests.get(f"{account}/{name}/whole", headers=owner).content) == 2 * MIB

    heard = wait_until(lambda: len(told := reader.do("heard")) == 5 and told, "all five are heard")
    assert {one["event_type"] for one in heard} == {"objectstore.http.request"}
    assert {one["publisher_id"] for one in heard} == {"ceilometermiddleware"}
    assert all(one["metadata"].keys() >= {"message_id", "timestamp"} for one in heard)
    measured = [[(one["metric"]["name"], one["result"]) for one in told["payload"]["measurements"]] for told in heard]
    assert ("storage.objects.incoming.bytes", MIB) in measured[1]
    assert ("storage.objects.outgoing.bytes", 2 * MIB) in measured[4]


def test_requests_over_s3_and_in_bulk_count(start_proxy, cast, rabbitmq, topic, take):
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic})
    name = f"s3-{uuid.uuid4().hex[:8]}"
    path = f"v1/AUTH_{cast.projects['demo']}/{name}/key"
    s3 = client_of(proxy.url, *cast.ec2("alice", "demo"))
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="key", Body=b"x" * 1000)
    assert len(s3.get_object(Bucket=name, Key="key")["Body"].read()) == 1000
    token = {"X-Auth-Token": cast.token("alice", "demo"), "Content-Type": "text/plain"}
    account = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
    requests.post(f"{account}?bulk-delete", data=f"{name}/key".encode(), headers=token).raise_for_status()
    seen = []
    while not seen or seen[-1][:2] != ("delete", path):
        seen.append(summary(take()))
    assert ("put", path, 1000) in [one[:3] for one in seen]
    assert ("get", path, 0, 1000) in seen


def test_projects_that_are_ignored(start_proxy, cast, rabbitmq, topic, take):
    """By name as by id; a service that acts for a user is judged by its own project."""
    ignored = f"service, {cast.projects['other']}"
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic, "ignore_projects": ignored})

    def ask(user, project, **more):
        url = f"{proxy.url}/v1/AUTH_{cast.projects[project]}"
        assert requests.get(url, headers={"X-Auth-Token": cast.token(user, project)} | more).ok

    ask("glance", "service")
    ask("carol", "other")
    ask("alice", "demo", **{"X-Service-Token": cast.token("cinder", "service")})
    ask("alice", "demo")
    assert opened(take())["payload"]["initiator"]["project_id"] == cast.projects["demo"]
    wait_until(lambda: proxy.metrics("martlet_ceilometer_sent_total") == 1, "one was told, and one only")


def test_what_another_service_has_declared_is_used_as_it_is(start_proxy, cast, rabbitmq, reader, topic, take):
    exchange = f"{topic}-exchange"
    reader.do("declare", exchange=exchange, queue=f"{topic}.info")
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic, "control_exchange": exchange})
    requests.get(f"{proxy.url}/v1/AUTH_{cast.projects['demo']}")
    assert take()["place"] == {"exchange": exchange, "routing_key": f"{topic}.info"}


def test_the_broker_behind_tls(start_proxy, cast, rabbitmq, certificates, topic, take):
    """Several brokers, of which the first is not there; options of the driver stand in the URL, as for Swift."""
    hosts = f"guest:guest@127.0.0.1:1,guest:guest@127.0.0.1:{rabbitmq.tls_port}"
    url = f"rabbit://{hosts}/?ssl=1&ssl_ca_file={certificates('rabbitmq-client').authority}"
    proxy = start_proxy(ceilometer={"url": url, "topic": topic})
    assert requests.get(f"{proxy.url}/v1/AUTH_{cast.projects['demo']}").status_code == 401
    assert summary(take())[0] == "get"


def test_the_broker_away(start_proxy, cast, rabbitmq, topic, take):
    """Requests go on as if nothing was; what waits comes later, what does not fit is counted."""
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic, "send_queue_size": 5})
    account = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
    name, owner = f"away-{uuid.uuid4().hex[:8]}", {"X-Auth-Token": cast.token("alice", "demo")}
    assert requests.put(f"{account}/{name}", headers=owner).status_code == 201
    assert summary(take())[0] == "put"

    rabbitmq.stop()
    try:
        for number in range(50):
            assert requests.put(f"{account}/{name}/{number}", data=b"content", headers=owner).status_code == 201
        lost = proxy.metrics("martlet_ceilometer_dropped_total")
        assert 0 < lost < 50
    finally:
        rabbitmq.start()
    seen = {summary(take())[1].rpartition("/")[2] for _ in range(50 - int(lost))}
    # The first that came while it was away are the ones that waited.
    assert {"0", "1", "2", "3", "4"} <= seen
    assert proxy.metrics("martlet_ceilometer_sent_total") == 1 + len(seen)
    wait_until(lambda: "takes notifications for Ceilometer again" in proxy.log.read_text(), "the log says so")
    assert proxy.log.read_text().count("the message broker is away") == 1


def test_a_broker_that_hangs_holds_up_nobody(start_proxy, cast, rabbitmq, topic, take):
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic})
    account = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
    owner = {"X-Auth-Token": cast.token("alice", "demo")}
    assert requests.head(account, headers=owner).ok
    assert summary(take())[0] == "head"
    rabbitmq.freeze(True)
    try:
        for _ in range(200):
            assert requests.get(account, headers=owner, timeout=30).ok
    finally:
        rabbitmq.freeze(False)
    assert {summary(take())[0] for _ in range(200)} == {"get"}


def test_what_waits_at_the_end_is_sent(start_proxy, cast, rabbitmq, topic, take):
    """A proxy that is stopped tells of its last requests first."""
    proxy = start_proxy(ceilometer={"url": rabbitmq.url, "topic": topic})
    url = f"{proxy.url}/v1/AUTH_{cast.projects['demo']}"
    assert requests.head(url, timeout=30).status_code == 401
    assert summary(take())[0] == "head"
    # So that they wait until it is asked to end.
    rabbitmq.freeze(True)
    try:
        for _ in range(100):
            assert requests.get(url, timeout=30).status_code == 401
    finally:
        rabbitmq.freeze(False)
    proxy.stop()
    assert {summary(take())[0] for _ in range(100)} == {"get"}
