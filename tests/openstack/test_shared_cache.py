"""Proxies share what Keystone said through a real memcached, and do without it when it is away."""

import hashlib

import pytest
import requests

from cloud.memcached import Memcached
from cloud.processes import wait_until

# What a proxy has asked Keystone itself.
QUESTIONS = "martlet_keystone_requests_total"


@pytest.fixture
def memcached(martlet_only, folder):
    memcached = Memcached(folder / "memcached")
    try:
        memcached.start()
        yield memcached
    finally:
        memcached.stop()


@pytest.fixture
def two_proxies(start_proxy, memcached):
    shared = {"memcached_servers": [memcached.address], "memcache_secret_key": "the same on all proxies"}
    return [start_proxy(authtoken=shared) for _ in range(2)]


@pytest.fixture
def ask(cast):
    """Asks a proxy for an account with a token: the status."""

    def send(proxy, token, project="demo"):
        url = f"{proxy.url}/v1/AUTH_{cast.projects[project]}"
        return requests.head(url, headers={"X-Auth-Token": token}, timeout=30).status_code

    return send


def test_one_asks_keystone_and_the_other_finds_it_there(keystone, cast, memcached, two_proxies, ask):
    first, second = two_proxies
    token = cast.token("alice", "demo")
    since = len(keystone.service.asked())
    assert ask(first, token) in (200, 204)
    assert memcached.count("cmd_set") == 1
    # The same user with the same rights: her own account, nobody else's.
    before = second.metrics(QUESTIONS)
    assert ask(second, token) in (200, 204)
    assert ask(second, token, "other") == 403
    assert second.metrics(QUESTIONS) == before
    assert memcached.count("get_hits") == 1
    assert keystone.validations(since, token) == 1


def test_what_stands_there_shows_no_token_and_is_believed_only_with_the_key(cast, memcached, start_proxy, ask):
    """Who can read memcached finds no token; who has another key finds nothing at all."""
    servers = [memcached.address]
    ours = start_proxy(authtoken={"memcached_servers": servers, "memcache_secret_key": "ours"})
    theirs = start_proxy(authtoken={"memcached_servers": servers, "memcache_secret_key": "another"})
    token = cast.token("alice", "demo")
    assert ask(ours, token) in (200, 204)
    assert ask(theirs, token) in (200, 204)
    assert (memcached.count("cmd_set"), memcached.count("get_hits")) == (2, 0)
    held = memcached.everything()
    # It is told who the user is, and not with which token he came, nor the token's hash.
    assert cast.users["alice"] in held
    assert token not in held and hashlib.sha256(token.encode()).hexdigest() not in held


def test_memcached_away(keystone, cast, memcached, two_proxies, ask):
    """Requests go on, each proxy with what it remembers itself; when memcached is back they share again."""
    first, second = two_proxies
    known = cast.token("alice", "demo")
    assert ask(first, known) in (200, 204)
    memcached.stop()
    fresh = cast.token("alice", "demo")
    since = len(keystone.service.asked())
    for proxy in two_proxies:
        for token in (known, fresh):
            assert ask(proxy, token) in (200, 204)
        assert ask(proxy, "gAAAAABm" + "x" * 100) == 401
    # The first knows the first token still.
    assert keystone.validations(since, known) == 1
    assert keystone.validations(since, fresh) == 2

    memcached.start()

    def do_share():
        token, before = cast.token("alice", "demo"), second.metrics(QUESTIONS)
        assert {ask(proxy, token) for proxy in two_proxies} <= {200, 204}
        return second.metrics(QUESTIONS) == before

    # A server that failed is left alone for ten seconds.
    wait_until(do_share, "the second finds there what the first was told", 60)
