"""Stacks of the real Heat: a container that is a web site, and servers that tell by temporary URL that they are done."""

import json
import pathlib
import uuid

import pytest
import requests

from cloud.processes import wait_until
from cloud.program import Program

PROGRAM = pathlib.Path(__file__).with_name("heat_stack.py")

TEMPLATE = """\
heat_template_version: 2021-04-16
resources:
  site:
    type: OS::Swift::Container
    properties:
      name: {name}
      PurgeOnDelete: true
      X-Container-Read: ".r:*,.rlistings"
      X-Container-Meta: {{web-index: index.html}}
      X-Account-Meta: {{of-heat: "yes"}}
  handle:
    type: OS::Heat::SwiftSignalHandle
  done:
    type: OS::Heat::SwiftSignal
    properties:
      handle: {{get_resource: handle}}
      timeout: 200
      count: 2
outputs:
  website: {{value: {{get_attr: [site, WebsiteURL]}}}}
  objects: {{value: {{get_attr: [site, ObjectCount]}}}}
  data: {{value: {{get_attr: [done, data]}}}}
"""


@pytest.fixture(scope="module")
def heat(request, folder, keystone, cast, store):
    (folder / "heat").mkdir()
    environment = request.config.getoption("--heat").resolve()
    cast.add("heat", service=["service"])
    arguments = [keystone.url, folder / "heat", "heat", cast.password]
    heat = Program(environment, PROGRAM, arguments, folder / "heat" / "heat.log")
    yield heat
    heat.stop()


@pytest.fixture
def name():
    return f"heat-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def owner(cast):
    return {"X-Auth-Token": cast.token("alice", "demo")}


@pytest.fixture
def stack(heat, keystone, owner, name):
    """Begins to make one in alice's name: its id, and the URL that its servers signal to."""
    token = owner["X-Auth-Token"]
    identity = heat.do("create", token=token, about=keystone.about(token), name=name, text=TEMPLATE.format(name=name))
    url = wait_until(lambda: heat.do("reference", name="handle"), "the handle is made")
    return identity, url


def signal(url, **what):
    # As `curl -i -X PUT URL --data-binary ...` on a server.
    assert requests.put(url, data=json.dumps(what), timeout=60).status_code == 201


def test_a_stack_waits_for_the_signals_of_its_servers(heat, stack, owner, account, name):
    identity, url = stack
    signal(url, id="first", status="SUCCESS", data="from the first")
    assert heat.do("state")[0] == "CREATE_IN_PROGRESS"
    # The same once more is the same signal.
    signal(url, id="first", status="SUCCESS", data="from the first")
    signal(url, id="second", status="SUCCESS", data="from the second")
    made = wait_until(lambda: (state := heat.do("state"))[0] != "CREATE_IN_PROGRESS" and state, "it is made", 120)
    assert made[0] == "CREATE_COMPLETE", made
    data = json.loads(heat.do("output", name="data"))
    assert data == {"first": "from the first", "second": "from the second"}

    # The web site, for everybody.
    page = {"Content-Type": "text/html"}
    requests.put(f"{account('demo')}/{name}/index.html", data=b"<p>here</p>", headers=owner | page).raise_for_status()
    website = heat.do("output", name="website")
    assert website == f"{account('demo')}/{name}"
    assert requests.get(f"{website}/", timeout=60).text == "<p>here</p>"
    assert requests.head(account("demo"), headers=owner).headers["X-Account-Meta-Of-Heat"] == "yes"
    assert heat.do("output", name="objects") == "1"
    assert heat.do("check")[0] == "CHECK_COMPLETE"

    assert heat.do("delete")[0] == "DELETE_COMPLETE"
    for container in (name, identity):
        assert requests.head(f"{account('demo')}/{container}", headers=owner).status_code == 404


def test_a_server_that_failed_says_so(heat, stack):
    _, url = stack
    signal(url, id="first", status="FAILURE", reason="the disk is full")
    state, reason = wait_until(
        lambda: (state := heat.do("state"))[0] != "CREATE_IN_PROGRESS" and state, "it has failed", 120
    )
    assert state == "CREATE_FAILED" and "the disk is full" in reason
    assert heat.do("delete")[0] == "DELETE_COMPLETE"
