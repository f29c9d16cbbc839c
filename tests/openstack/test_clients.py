"""The clients of a cloud's people: `openstack`, `swift`, and what Horizon and Heat ask of an object store."""

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import uuid

import pytest
import requests
import swiftclient
from swiftclient.utils import generate_temp_url

from cloud.processes import person_environment

MIB = 1 << 20
BIN = pathlib.Path(sys.executable).parent
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "openstack.md"


@pytest.fixture(scope="module")
def login(keystone, cast, store):
    return person_environment(keystone.url, "alice", cast.password, "demo", "RegionOne")


@pytest.fixture
def name():
    return f"clients-{uuid.uuid4().hex[:8]}"


def run(command, environment, folder, wanted=0):
    ended = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == wanted, f"{' '.join(map(str, command))}: {ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture
def openstack(login, tmp_path):
    """Runs `openstack ...`; what it prints as JSON is given back."""

    def call(*words, json_wanted=False, wanted=0):
        shown = ["-f", "json"] if json_wanted else []
        out = run([BIN / "openstack", *words, *shown], login, tmp_path, wanted)
        return json.loads(out) if json_wanted else out

    return call


@pytest.fixture
def connection(keystone, cast, store):
    """swiftclient's connection in alice's name, which is what Horizon and Heat hold."""
    return swiftclient.Connection(
        authurl=keystone.url,
        user="alice",
        key=cast.password,
        auth_version="3",
        os_options={"project_name": "demo", "project_domain_name": "Default", "user_domain_name": "Default"},
        retries=0,
    )


def test_openstack_containers(openstack, name):
    created = openstack("container", "create", name, json_wanted=True)
    assert created[0]["container"] == name
    openstack("container", "set", "--property", "color=blue", name)
    shown = openstack("container", "show", name, json_wanted=True)
    assert (shown["container"], shown["object_count"], shown["properties"]) == (name, "0", {"Color": "blue"})
    listed = openstack("container", "list", "--prefix", name, "--long", json_wanted=True)
    assert listed == [{"Name": name, "Bytes": 0, "Count": 0}]
    openstack("container", "unset", "--property", "color", name)
    assert "properties" not in openstack("container", "show", name, json_wanted=True)
    openstack("container", "delete", name)
    assert openstack("container", "list", "--prefix", name, json_wanted=True) == []
    openstack("container", "show", name, wanted=1)


def test_openstack_objects(openstack, name, tmp_path):
    data = os.urandom(2 * MIB)
    (tmp_path / "file").write_bytes(data)
    openstack("container", "create", "--public", name)
    created = openstack("object", "create", name, "file", "--name", "a/file", json_wanted=True)
    assert (created[0]["object"], created[0]["container"]) == ("a/file", name)
    openstack("object", "set", "--property", "color=blue", name, "a/file")
    shown = openstack("object", "show", name, "a/file", json_wanted=True)
    assert (shown["content-length"], shown["properties"]) == (str(len(data)), {"Color": "blue"})
    listed = openstack("object", "list", "--long", name, json_wanted=True)
    assert [(found["Name"], found["Bytes"]) for found in listed] == [("a/file", len(data))]
    openstack("object", "save", "--file", "saved", name, "a/file")
    assert (tmp_path / "saved").read_bytes() == data
    openstack("container", "save", name)
    assert (tmp_path / "a" / "file").read_bytes() == data
    openstack("object", "unset", "--property", "color", name, "a/file")
    assert "properties" not in openstack("object", "show", name, "a/file", json_wanted=True)
    # Not empty, so it stays, until it is asked to go with everything in it.
    openstack("container", "delete", name, wanted=1)
    openstack("container", "delete", "--recursive", name)
    openstack("object", "show", name, "a/file", wanted=1)


def test_openstack_accounts(openstack):
    openstack("object", "store", "account", "set", "--property", "motto=whatever")
    shown = openstack("object", "store", "account", "show", json_wanted=True)
    assert shown["properties"]["Motto"] == "whatever"
    openstack("object", "store", "account", "unset", "--property", "motto")
    assert "Motto" not in openstack("object", "store", "account", "show", json_wanted=True).get("properties", {})


def test_what_the_operators_page_says_to_check(login, store, account, tmp_path):
    """The commands of docs/openstack.md, "What to check", as they stand there."""
    page = PAGE.read_text()
    section = page[page.index("## 9. What to check") :]
    commands = re.search(r"```sh\n(.*?)```", section, re.DOTALL).group(1)
    commands = commands.replace("https://objects.example.net", store.url)
    login = login | {"PATH": f"{BIN}:{login['PATH']}"}
    said = run(["bash", "-e", "-o", "pipefail", "-c", commands], login, tmp_path)
    for word in (account("demo"), pathlib.Path("/etc/hostname").read_text(), "HTTP/1.1 401 ", '"tempurl": {'):
        assert word in said, said


def test_swift_with_segments(login, name, tmp_path):
    data = os.urandom(5 * MIB + 17)
    (tmp_path / "file").write_bytes(data)
    swift = [BIN / "swift", "--auth-version", "3"]
    for kind, option in (("dynamic", []), ("static", ["--use-slo"])):
        container = f"{name}-{kind}"
        run([*swift, "upload", *option, "-S", str(MIB), container, "file"], login, tmp_path)
        run([*swift, "download", container, "file", "-o", kind], login, tmp_path)
        assert (tmp_path / kind).read_bytes() == data
        assert "file" in run([*swift, "list", container], login, tmp_path)
        assert len(run([*swift, "list", f"{container}_segments"], login, tmp_path).split()) == 6
        run([*swift, "delete", container, "file"], login, tmp_path)
        assert run([*swift, "list", f"{container}_segments"], login, tmp_path) == ""
    assert "Account: AUTH_" in run([*swift, "stat"], login, tmp_path)


def test_horizons_panel(connection, name):
    """The calls of openstack_dashboard.api.swift, in the order in which somebody clicks through the panel."""
    assert "swift" in connection.get_capabilities()
    connection.put_container(name, headers={"X-Container-Read": ".r:*,.rlistings"})
    head = connection.head_container(name)
    assert head["x-container-read"] == ".r:*,.rlistings"
    _, containers = connection.get_account(limit=1001, marker=None, prefix=name, full_listing=True)
    assert [found["name"] for found in containers] == [name]

    # A folder is an empty object whose name ends in a slash.
    connection.put_object(name, "folder/", None, headers={"X-Object-Meta-Orig-Filename": "folder"})
    data = os.urandom(100_000)
    headers = {"X-Object-Meta-Orig-Filename": "a%20file", "Content-Type": "application/octet-stream"}
    etag = connection.put_object(name, "folder/a file", io.BytesIO(data), content_length=len(data), headers=headers)
    assert etag == hashlib.md5(data, usedforsecurity=False).hexdigest()
    _, found = connection.get_container(name, limit=1001, prefix="", delimiter="/", full_listing=True)
    assert [entry.get("subdir") for entry in found] == ["folder/"]
    _, found = connection.get_container(name, limit=1001, prefix="folder/", delimiter="/", full_listing=True)
    assert [entry["name"] for entry in found] == ["folder/", "folder/a file"]

    copy = {"X-Copy-From": f"{name}/folder/a%20file"}
    connection.put_object(name, "copy", None, headers=copy)
    head, chunks = connection.get_object(name, "copy", resp_chunk_size=64 * 1024)
    assert b"".join(chunks) == data
    # swiftclient takes the escapes out itself.
    assert head["x-object-meta-orig-filename"] == "a file"

    connection.post_container(name, headers={"X-Container-Read": ""})
    assert "x-container-read" not in connection.head_container(name)
    with pytest.raises(swiftclient.ClientException) as refused:
        connection.delete_container(name)
    assert refused.value.http_status == 409
    for entry in ("copy", "folder/a file", "folder/"):
        connection.delete_object(name, entry)
    connection.delete_container(name)


def test_heats_containers(connection, name, account):
    """`OS::Swift::Container`: made with metadata and ACLs, judged by what HEAD says, deleted with its objects."""
    headers = {"X-Container-Meta-Web-Index": "index.html", "X-Container-Read": ".r:*,.rlistings"}
    connection.put_container(name, headers=headers)
    connection.post_account({"X-Account-Meta-Of-Heat": "yes"})
    assert connection.head_account()["x-account-meta-of-heat"] == "yes"
    connection.put_object(name, "index.html", b"<p>here</p>", content_type="text/html")
    head = connection.head_container(name)
    assert (head["x-container-object-count"], head["x-container-meta-web-index"]) == ("1", "index.html")
    # A web site, as the resource's attribute WebsiteURL says.
    assert requests.get(f"{account('demo')}/{name}/").text == "<p>here</p>"
    _, objects = connection.get_container(name)
    for entry in objects:
        connection.delete_object(name, entry["name"])
    connection.delete_container(name)


def test_heats_signals(connection, name, store, account):
    """A server that Heat starts puts its signal to a temporary URL; earlier ones stay as versions in the same container."""
    handle = "signal-handle"
    # Versioned onto itself, as Heat does it, so that no signal is lost.
    connection.put_container(name, headers={"x-versions-location": name})
    connection.put_object(name, handle, b"")
    key = connection.head_account().get("x-account-meta-temp-url-key") or uuid.uuid4().hex
    connection.post_account({"x-account-meta-temp-url-key": key})
    assert connection.head_account()["x-account-meta-temp-url-key"] == key

    path = f"/v1/{account('demo').rpartition('/')[2]}/{name}/{handle}"
    signed = generate_temp_url(path, 3600, key, "PUT")
    signals = [json.dumps({"id": str(number), "status": "SUCCESS", "data": "done"}) for number in range(3)]
    for signal in signals:
        assert requests.put(store.url + signed, data=signal).status_code == 201
    # It is good for this one thing.
    assert requests.get(store.url + signed).status_code == 401
    assert requests.put(f"{store.url}{signed}".replace(handle, "another"), data="{}").status_code == 401
    past = generate_temp_url(path, int(time.time()) - 1, key, "PUT", absolute=True)
    assert requests.put(store.url + past, data="{}").status_code == 401

    _, found = connection.get_container(name)
    seen = [connection.get_object(name, entry["name"])[1] for entry in found if handle in entry["name"]]
    assert sorted(body.decode() for body in seen) == sorted(["", *signals])
    for _ in range(len(signals) + 1):
        connection.delete_object(name, handle)
    connection.delete_container(name)
