"""Good and bad tokens: what each may do, in the statuses that OpenStack Swift gives.

`statuses.tsv` was written by this file against Swift 2.38.3 with keystonemiddleware 13.0.1 and tempauth beside it, as in
Martlet (`--object-store URL --pin`).
"""

import pathlib
import uuid

import pytest
import requests

from cloud.processes import wait_until

PINNED = pathlib.Path(__file__).with_name("statuses.tsv")

BEARERS = [
    "owner",
    "reseller admin",
    "nobody",
    "wrong",
    "wrong, in tempauth's form",
    "expired",
    "expired, with a service's token",
    "revoked",
    "of a foreign project",
    "of a project without a role",
    "unscoped",
    "of a disabled user",
    "of a deleted user",
    "of a disabled project",
]

REQUESTS = [
    "HEAD account",
    "GET account",
    "POST account",
    "PUT container",
    "GET private container",
    "PUT private object",
    "GET private object",
    "GET public object",
    "GET missing object",
    "GET object shared with the foreign project",
    "GET object shared with a user by name",
    "OPTIONS private object",
]


def pinned():
    rows = (line.split("\t") for line in PINNED.read_text().splitlines()) if PINNED.exists() else ()
    return {(bearer, what): int(status) for bearer, what, status in rows}


@pytest.fixture(scope="module")
def short_keystone(keystone):
    """A Keystone on the same data whose tokens live for two seconds."""
    service = keystone.on(2, "keystone-short")
    service.start("/v3")
    yield f"{service.url}/v3"
    service.stop()


@pytest.fixture(scope="module")
def bearers(keystone, cast, short_keystone):
    """The headers of everybody in the table."""
    tokens = {
        "owner": cast.token("alice", "demo"),
        "reseller admin": cast.token("rita", "demo"),
        "wrong": "gAAAAABm" + "x" * 180,
        "wrong, in tempauth's form": "AUTH_tk" + uuid.uuid4().hex,
        "of a foreign project": cast.token("carol", "other"),
        "of a project without a role": cast.token("bob", "demo"),
        "unscoped": cast.token("alice"),
    }
    expired = cast.token("alice", "demo", short_keystone)
    tokens["expired"] = expired
    tokens["revoked"] = cast.token("alice", "demo")
    keystone.revoke(tokens["revoked"])
    for name, change in (("disabled", "PATCH"), ("deleted", "DELETE")):
        who = f"{name}-{uuid.uuid4().hex[:8]}"
        cast.add(who, demo=["swiftoperator"])
        tokens[f"of a {name} user"] = cast.token(who, "demo")
        body = {"user": {"enabled": False}} if change == "PATCH" else None
        keystone.call(change, f"/users/{cast.users[who]}", body)
    closing = f"closing-{uuid.uuid4().hex[:8]}"
    cast.add(f"of-{closing}", **{closing: ["swiftoperator"], "demo": ["swiftoperator"]})
    tokens["of a disabled project"] = cast.token(f"of-{closing}", closing)
    keystone.call("PATCH", f"/projects/{keystone.project(closing)['id']}", {"project": {"enabled": False}})
    wait_until(lambda: not keystone.knows(expired), "the token expires")

    headers = {bearer: {"X-Auth-Token": token} for bearer, token in tokens.items()}
    headers["nobody"] = {}
    # What Glance and Cinder send for a user whose token ended while they worked for him.
    headers["expired, with a service's token"] = {
        "X-Auth-Token": expired,
        "X-Service-Token": cast.token("cinder", "service"),
    }
    return headers


@pytest.fixture(scope="module")
def requests_of(cast, account):
    """What is asked, as functions of the bearer's headers."""
    demo, owner = account("demo"), {"X-Auth-Token": cast.token("alice", "demo")}
    names = {kind: f"tokens-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("private", "public", "foreign", "named")}
    acls = {
        "private": {},
        "public": {"X-Container-Read": ".r:*"},
        "foreign": {"X-Container-Read": f"{cast.projects['other']}:*"},
        "named": {"X-Container-Read": "demo:bob"},
    }
    for kind, name in names.items():
        assert requests.put(f"{demo}/{name}", headers=owner | acls[kind]).status_code == 201
        assert requests.put(f"{demo}/{name}/object", data=b"content", headers=owner).status_code == 201

    def ask(method, path, **more):
        def send(headers):
            return requests.request(method, demo + path, headers=headers | more, data=b"" if method == "PUT" else None)

        return send

    private = f"/{names['private']}"
    table = {
        "HEAD account": ask("HEAD", ""),
        "GET account": ask("GET", ""),
        "POST account": ask("POST", "", **{"X-Account-Meta-Color": "blue"}),
        "PUT container": lambda headers: requests.put(f"{demo}/tokens-{uuid.uuid4().hex}", headers=headers),
        "GET private container": ask("GET", private),
        "PUT private object": ask("PUT", f"{private}/another"),
        "GET private object": ask("GET", f"{private}/object"),
        "GET public object": ask("GET", f"/{names['public']}/object"),
        "GET missing object": ask("GET", f"{private}/missing"),
        "GET object shared with the foreign project": ask("GET", f"/{names['foreign']}/object"),
        "GET object shared with a user by name": ask("GET", f"/{names['named']}/object"),
        "OPTIONS private object": ask("OPTIONS", f"{private}/object"),
    }
    assert list(table) == REQUESTS
    return table


@pytest.fixture(scope="module")
def pins(request):
    """The table; rewritten at the end of a run with --pin."""
    seen = pinned()
    yield seen
    if request.config.getoption("--pin"):
        rows = (f"{bearer}\t{what}\t{seen[bearer, what]}\n" for bearer in BEARERS for what in REQUESTS)
        PINNED.write_text("".join(rows))


@pytest.mark.parametrize("bearer", BEARERS)
def test_a_token_may_do_what_swift_allows(request, bearer, bearers, requests_of, pins):
    seen = {what: requests_of[what](bearers[bearer]).status_code for what in REQUESTS}
    if request.config.getoption("--pin"):
        pins.update({(bearer, what): status for what, status in seen.items()})
    assert seen == {what: pins.get((bearer, what)) for what in REQUESTS}


def test_a_clients_own_identity_headers_are_nothing(cast, account):
    """Whoever says that he is the operator is asked for a token all the same."""
    claims = {
        "X-Identity-Status": "Confirmed",
        "X-Service-Identity-Status": "Confirmed",
        "X-User-Id": cast.users["alice"],
        "X-User-Name": "alice",
        "X-Project-Id": cast.projects["demo"],
        "X-Tenant-Id": cast.projects["demo"],
        "X-Project-Name": "demo",
        "X-Roles": "admin,swiftoperator,ResellerAdmin",
        "X-Service-Roles": "service",
    }
    assert requests.get(account("demo"), headers=claims).status_code == 401
    foreign = {"X-Auth-Token": cast.token("carol", "other")}
    assert requests.get(account("demo"), headers=claims | foreign).status_code == 403


def test_a_token_of_seven_thousand_bytes_is_refused(account):
    answer = requests.get(account("demo"), headers={"X-Auth-Token": "x" * 7000})
    assert answer.status_code == 401


def test_application_credentials(keystone, cast, account):
    """Their tokens are as good as any; but one that is for some requests alone is for none, as by a Swift that was not told its
    `service_type`."""
    alice = {"X-Auth-Token": cast.token("alice", "demo")}

    def login(**limits):
        what = {"name": uuid.uuid4().hex, "roles": [{"name": "swiftoperator"}]} | limits
        where = f"{keystone.url}/users/{cast.users['alice']}/application_credentials"
        made = requests.post(where, json={"application_credential": what}, headers=alice, timeout=60)
        assert made.status_code == 201, made.text
        made = made.json()["application_credential"]
        who = {"id": made["id"], "secret": made["secret"]}
        identity = {"methods": ["application_credential"], "application_credential": who}
        answer = requests.post(f"{keystone.url}/auth/tokens", json={"auth": {"identity": identity}}, timeout=60)
        return {"X-Auth-Token": answer.headers["X-Subject-Token"]}

    assert requests.head(account("demo"), headers=login(), timeout=60).status_code in (200, 204)
    assert requests.head(account("other"), headers=login(), timeout=60).status_code == 403
    limited = login(access_rules=[{"service": "object-store", "method": "HEAD", "path": "/v1/**"}])
    assert requests.head(account("demo"), headers=limited, timeout=60).status_code == 401
