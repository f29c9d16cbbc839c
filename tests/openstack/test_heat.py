"""Stacks of the real Heat: a container that is a web site, and servers that tell by temporary URL that they are done, and
learn by another one what there is to do.
"""

import json
import pathlib
import uuid
from email.utils import parsedate_to_datetime

import pytest
import requests

from cloud.processes import wait_until
from cloud.program import Program
from cloud.server import Server

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

# A server that somebody else has made: one of Nova's would poll and signal in the same way.
DEPLOYMENT = """\
heat_template_version: 2021-04-16
resources:
  script:
    type: OS::Heat::SoftwareConfig
    properties:
      group: script
      inputs: [{{name: whom}}]
      outputs: [{{name: greeting}}]
      config: |
        echo "for $whom"
        echo "with $deploy_action" >&2
        printf 'hello %s' "$whom" > $heat_outputs_path.greeting
        [ "$whom" != nobody ]
  server:
    type: OS::Heat::DeployedServer
    properties:
      name: {name}
      software_config_transport: POLL_TEMP_URL
  greeted:
    type: OS::Heat::SoftwareDeployment
    properties:
      config: {{get_resource: script}}
      server: {{get_resource: server}}
      input_values: {{whom: {whom}}}
      signal_transport: TEMP_URL_SIGNAL
outputs:
  agent: {{value: {{get_attr: [server, os_collect_config]}}}}
  greeting: {{value: {{get_attr: [greeted, greeting]}}}}
  stdout: {{value: {{get_attr: [greeted, deploy_stdout]}}}}
  stderr: {{value: {{get_attr: [greeted, deploy_stderr]}}}}
"""


@pytest.fixture(scope="module")
def heat(request, folder, keystone, cast, store):
    (folder / "heat").mkdir()
    environment = request.config.getoption("--heat").resolve()
    cast.add("heat", service=["service"])
    # Deployments want Heat in the catalogue, whichever way their servers take; nobody in these stories asks there.
    apis = {"orchestration": "heat", "cloudformation": "heat-cfn"}
    apis = [keystone.endpoints(kind, name, "http://127.0.0.1:9/v1") for kind, name in apis.items()]
    arguments = [keystone.url, folder / "heat", "heat", cast.password]
    heat = Program(environment, PROGRAM, arguments, folder / "heat" / "heat.log")
    yield heat
    heat.stop()
    for api in apis:
        keystone.call("DELETE", f"/services/{api}")


@pytest.fixture
def name():
    return f"heat-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def owner(cast):
    return {"X-Auth-Token": cast.token("alice", "demo")}


@pytest.fixture
def create(heat, keystone, owner, name):
    """Begins to make a stack in alice's name: its id."""

    def begin(text):
        token = owner["X-Auth-Token"]
        return heat.do("create", token=token, about=keystone.about(token), name=name, text=text)

    return begin


@pytest.fixture
def stack(heat, create, name):
    """The one with the web site: its id, and the URL that its servers signal to."""
    identity = create(TEMPLATE.format(name=name))
    url = wait_until(lambda: heat.do("reference", name="handle"), "the handle is made")
    return identity, url


@pytest.fixture
def settled(heat):
    """[state, reason] of the stack once nothing is under way any more."""

    def wait():
        return wait_until(lambda: not (state := heat.do("state"))[0].endswith("_IN_PROGRESS") and state, "all is done", 120)

    return wait


@pytest.fixture
def deploy(request, heat, create, name, tmp_path):
    """Begins to make the stack with a deployment: its id, its server once that is there, and what the server finds to do."""

    def begin(whom):
        identity = create(DEPLOYMENT.format(name=name, whom=whom))
        wait_until(lambda: heat.do("reference", name="server"), "the server is known")
        environment = request.config.getoption("--heat").resolve()
        server = Server(environment, tmp_path, heat.do("output", name="agent"))
        [found] = wait_until(server.deployments, "there is something to do")
        return identity, server, found

    return begin


def signal(url, **what):
    # As `curl -i -X PUT URL --data-binary ...` on a server.
    assert requests.put(url, data=json.dumps(what), timeout=60).status_code == 201


def test_a_stack_waits_for_the_signals_of_its_servers(heat, stack, settled, owner, account, name):
    identity, url = stack
    signal(url, id="first", status="SUCCESS", data="from the first")
    assert heat.do("state")[0] == "CREATE_IN_PROGRESS"
    # The same once more is the same signal.
    signal(url, id="first", status="SUCCESS", data="from the first")
    signal(url, id="second", status="SUCCESS", data="from the second")
    made = settled()
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


def test_a_server_that_failed_says_so(heat, stack, settled):
    _, url = stack
    signal(url, id="first", status="FAILURE", reason="the disk is full")
    state, reason = settled()
    assert state == "CREATE_FAILED" and "the disk is full" in reason
    assert heat.do("delete")[0] == "DELETE_COMPLETE"


def test_a_server_is_told_what_to_do_and_tells_what_came_of_it(heat, deploy, settled, owner, account, name):
    """`software_config_transport: POLL_TEMP_URL` and `signal_transport: TEMP_URL_SIGNAL`."""
    identity, server, found = deploy("alice")
    assert heat.do("state")[0] == "CREATE_IN_PROGRESS"
    signalled = server.deploy(found)
    assert signalled.status_code == 201
    made = settled()
    assert made[0] == "CREATE_COMPLETE", made
    outputs = {part: heat.do("output", name=part) for part in ("greeting", "stdout", "stderr")}
    assert outputs == {"greeting": "hello alice", "stdout": "for alice\n", "stderr": "with CREATE\n"}

    # Heat tells a new signal from the last one by its second.
    last = parsedate_to_datetime(signalled.headers["Last-Modified"])
    now = lambda: parsedate_to_datetime(requests.head(server.metadata_url, timeout=60).headers["Date"])  # noqa: E731
    wait_until(lambda: now() > last, "the second of the first signal is over")
    heat.do("update", text=DEPLOYMENT.format(name=name, whom="bob"))
    [changed] = wait_until(lambda: (new := server.deployments()) != [found] and new, "there is something new to do")
    assert server.deploy(changed).status_code == 201
    made = settled()
    assert made[0] == "UPDATE_COMPLETE", made
    outputs = {part: heat.do("output", name=part) for part in ("greeting", "stdout", "stderr")}
    assert outputs == {"greeting": "hello bob", "stdout": "for bob\n", "stderr": "with UPDATE\n"}

    assert heat.do("delete")[0] == "DELETE_COMPLETE"
    # With the signals. What the server polled stays: Heat 27 looks for a service of type `swift` before it deletes that.
    assert requests.head(f"{account('demo')}/{identity}", headers=owner, timeout=60).status_code == 404


def test_a_deployment_that_fails_fails_its_stack(heat, deploy, settled):
    _, server, found = deploy("nobody")
    assert server.deploy(found).status_code == 201
    state, reason = settled()
    assert state == "CREATE_FAILED" and "non-zero status code: 1" in reason
    assert heat.do("delete")[0] == "DELETE_COMPLETE"
