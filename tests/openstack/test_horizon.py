"""Horizon's object-store panel, clicked through: the real Horizon between the clicks and Martlet."""

import uuid

import pytest
import requests

from cloud.horizon import Browser, Horizon
from cloud.processes import wait_until


@pytest.fixture(scope="module")
def browser(request, folder, keystone, cast, store):
    environment = request.config.getoption("--horizon")
    horizon = Horizon(environment.resolve(), folder / "horizon", keystone)
    horizon.start()
    browser = Browser(horizon)
    try:
        assert browser.login("alice", cast.password) == "/"
        yield browser
    finally:
        horizon.stop()


@pytest.fixture
def ask(browser):
    """The panel's own API; the answer's status is what is wanted, its content is given back."""

    def call(method, path, data=None, wanted=200, **more):
        answer = browser.ask(method, path, json=data, **more)
        assert answer.status_code == wanted, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if "json" in answer.headers.get("Content-Type", "") and answer.content else answer.text

    return call


@pytest.fixture
def upload(ask):
    """A form with a file, or an empty one for a folder."""

    def call(path, content=None):
        # Without a file it is a form all the same, as a browser sends it.
        part = ("a file.txt", content) if content is not None else (None, "")
        ask("POST", path, files={"file" if content is not None else "none": part}, wanted=201)

    return call


def names(said):
    return [(item["name"], item["is_subdir"]) for item in said["items"]]


def test_the_panel_is_there_for_an_operator(browser, ask):
    assert browser.page("/project/containers/") == 200
    assert "swift" in ask("GET", "info/")["info"]
    policies = {policy["name"] for policy in ask("GET", "policies/")["policies"]}
    assert policies >= {"gold"}


def test_a_container_is_made_opened_to_all_and_closed(ask, upload, account):
    name = f"panel-{uuid.uuid4().hex[:8]}"
    ask("POST", f"containers/{name}/metadata/", {"is_public": False}, wanted=201)
    ask("POST", f"containers/{name}/metadata/", {"is_public": False}, wanted=409)
    upload(f"containers/{name}/object/open", "for all")

    def counted():
        listed = ask("GET", f"containers/?prefix={name}")["items"]
        return [(item["name"], item["count"], item["bytes"]) for item in listed]

    # An account hears of what is in its containers a moment later, as in Swift.
    wait_until(lambda: counted() == [(name, 1, 7)], "the account's listing counts what is there")

    shown = ask("GET", f"containers/{name}/metadata/")
    assert (shown["is_public"], shown["container_object_count"], shown["container_bytes_used"]) == (False, "1", "7")
    url = f"{account('demo')}/{name}/open"
    assert requests.get(url).status_code == 401
    ask("PUT", f"containers/{name}/metadata/", {"is_public": True}, wanted=204)
    shown = ask("GET", f"containers/{name}/metadata/")
    assert shown["is_public"] and shown["public_url"] == f"{account('demo')}/{name}"
    assert requests.get(url).text == "for all"
    ask("PUT", f"containers/{name}/metadata/", {"is_public": False}, wanted=204)
    assert requests.get(url).status_code == 401

    # Not while there is something in it.
    ask("DELETE", f"containers/{name}/metadata/", wanted=409)
    ask("DELETE", f"containers/{name}/object/open", wanted=204)
    ask("DELETE", f"containers/{name}/metadata/", wanted=204)
    ask("GET", f"containers/{name}/metadata/", wanted=404)


def test_objects_in_folders_are_uploaded_copied_and_deleted(ask, upload):
    name = f"panel-{uuid.uuid4().hex[:8]}"
    ask("POST", f"containers/{name}/metadata/", {"is_public": False, "storage_policy": "silver"}, wanted=201)
    upload(f"containers/{name}/object/folder/")
    upload(f"containers/{name}/object/folder/a file", "what is in it")
    upload(f"containers/{name}/object/loose", "x")
    assert names(ask("GET", f"containers/{name}/objects/")) == [("folder", True), ("loose", False)]
    inside = ask("GET", f"containers/{name}/objects/?path=folder/")["items"]
    assert [(item["path"], item["bytes"]) for item in inside] == [("folder/a file", 13)]

    shown = ask("GET", f"containers/{name}/metadata/folder/a file")
    assert (shown["bytes"], shown["content_type"]) == ("13", "application/octet-stream")
    assert ask("GET", f"containers/{name}/object/folder/a file") == "what is in it"

    to = {"dest_container": name, "dest_name": "folder/copy"}
    ask("POST", f"containers/{name}/copy/folder/a file", to, wanted=201)
    ask("POST", f"containers/{name}/copy/folder/a file", to, wanted=409)
    assert ask("GET", f"containers/{name}/object/folder/copy") == "what is in it"

    # A folder goes when it is empty.
    ask("DELETE", f"containers/{name}/object/folder/", wanted=409)
    for entry in ("folder/copy", "folder/a file", "folder/", "loose"):
        ask("DELETE", f"containers/{name}/object/{entry}", wanted=204)
    assert names(ask("GET", f"containers/{name}/objects/")) == []
    ask("DELETE", f"containers/{name}/metadata/", wanted=204)
