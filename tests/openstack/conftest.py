"""The stories of Martlet in an OpenStack cloud. `make test-openstack` runs them; `tools/deps openstack` lays out the
environments they need.

    pytest --martlet BINARY --services ENVIRONMENT --heat ENVIRONMENT --horizon ENVIRONMENT [-k WORDS]

Keystone, Glance, the Cinder backup drivers and ceilometermiddleware are the real ones of the services' environment, Heat and
Horizon those of their own; RabbitMQ and memcached are the system's. All run on loopback, on free ports, below one temporary folder that
is removed at the end, or kept with `--keep FOLDER`. With `--object-store URL` the stories run against an object store that is
already there, for instance OpenStack Swift, whose Keystone is then started on `--keystone-port`: this is how the pinned
statuses were found.
"""

import pathlib
import resource
import shutil
import tempfile

import pytest

from cloud.cast import Cast
from cloud.certificates import Authority
from cloud.keystone import Keystone
from cloud.martlet import Deployed, Martlet, Proxy

# A thousand clients at once, each with a socket, on both sides.
resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)


def pytest_addoption(parser):
    parser.addoption("--martlet", help="the binary")
    parser.addoption("--services", required=True, type=pathlib.Path, help="the environment with Keystone, Glance, Cinder")
    parser.addoption("--horizon", required=True, type=pathlib.Path, help="the environment with Horizon")
    parser.addoption("--heat", required=True, type=pathlib.Path, help="the environment with Heat")
    parser.addoption("--keep", type=pathlib.Path, help="a folder for all data and logs, which stays")
    parser.addoption("--object-store", help="use the one at this URL in place of Martlet")
    parser.addoption("--keystone-port", type=int, default=0)
    parser.addoption("--pin", action="store_true", help="write what is seen into statuses.tsv")


@pytest.fixture(scope="session")
def folder(request):
    kept = request.config.getoption("--keep")
    where = kept or pathlib.Path(tempfile.mkdtemp(prefix="martlet-openstack-"))
    where.mkdir(parents=True, exist_ok=True)
    yield where
    if not kept:
        shutil.rmtree(where, ignore_errors=True)


@pytest.fixture(scope="session")
def services(request):
    return request.config.getoption("--services").resolve()


@pytest.fixture(scope="session")
def keystone(request, services, folder):
    keystone = Keystone(services, folder / "keystone", request.config.getoption("--keystone-port"))
    keystone.prepare()
    try:
        keystone.start()
        yield keystone
    finally:
        keystone.stop()


@pytest.fixture(scope="session")
def cast(keystone):
    return Cast(keystone)


@pytest.fixture(scope="session")
def store(request, folder, keystone, cast):
    """The object store of the catalogue."""
    deployed = request.config.getoption("--object-store")
    if deployed:
        store = Deployed(deployed)
    else:
        store = Martlet(request.config.getoption("--martlet"), folder / "martlet", keystone.url, cast)
    try:
        keystone.endpoints("object-store", "swift", f"{store.url}/v1/AUTH_%(project_id)s")
        keystone.endpoints("identity", "keystone", keystone.url)
        yield store
    finally:
        store.stop()


@pytest.fixture
def start_proxy(request, folder, keystone, cast, store):
    """Starts another proxy of the cluster, of this test's own: `start_proxy(keystone_url=..., authtoken={...})`."""
    if request.config.getoption("--object-store"):
        pytest.skip("says how Martlet is run")
    started = []

    def start(keystone_url=None, **pipeline):
        name = folder / f"proxy-{request.node.name}-{len(started)}"
        binary = request.config.getoption("--martlet")
        started.append(Proxy(binary, name, store, keystone_url or keystone.url, cast, **pipeline))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture(scope="session")
def certificates(folder):
    """Certificates of an authority that no system knows: `certificates("keystone")`, all for 127.0.0.1."""
    authority = Authority(folder / "certificates")
    return authority.certificate


@pytest.fixture(scope="session")
def account(store, cast):
    """The URL of a project's account: `account("demo")`."""
    return lambda project: f"{store.url}/v1/AUTH_{cast.projects[project]}"


@pytest.fixture(scope="session")
def martlet_only(request):
    if request.config.getoption("--object-store"):
        pytest.skip("says how Martlet is run")
