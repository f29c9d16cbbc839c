"""A real Glance: its API under WSGI, SQLite, and the store under test."""

import shutil

import requests

from cloud.keystone import REGION
from cloud.processes import WsgiService, run, service_environment

MB = 1000 * 1024
# Images from here on are stored in segments, in Glance's own megabytes.
LARGE_OBJECT_MB = 64
SEGMENT_MB = 16

COMMON = """\
[DEFAULT]
debug = false
use_stderr = true
enabled_import_methods = [glance-direct,copy-image]
node_staging_uri = file://{folder}/staging/
image_cache_dir = {folder}/cache
image_cache_driver = sqlite
worker_self_reference_url = http://127.0.0.1:{port}
show_multiple_locations = true
{stores}
[database]
connection = sqlite:///{folder}/glance.db
[paste_deploy]
flavor = {flavor}
config_file = {services}/etc/glance/glance-api-paste.ini
[oslo_policy]
policy_file = {folder}/policy.yaml
[oslo_limit]
[cors]
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
"""

SWIFT = """\
swift_store_create_container_on_put = true
swift_store_large_object_size = {large}
swift_store_large_object_chunk_size = {segment}
swift_store_retry_get_count = 2
swift_store_region = {region}
"""

# The user of the store: in a single-tenant store all images are his.
REFERENCE = """\
[martlet]
auth_version = 3
auth_address = {keystone}
user = service:glance
key = {password}
user_domain_id = default
project_domain_id = default
"""

STAGING = """\
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
"""

SINGLE = """\
enabled_backends = swift:swift,s3:s3
[glance_store]
default_backend = swift
[swift]
default_swift_reference = martlet
swift_store_config_file = {folder}/swift-store.conf
swift_store_container = glance
{swift}
[s3]
s3_store_host = {store}
s3_store_access_key = {access}
s3_store_secret_key = {secret}
s3_store_bucket = glance-s3
s3_store_create_bucket_on_put = true
s3_store_bucket_url_format = path
s3_store_region_name = us-east-1
s3_store_large_object_size = {large}
s3_store_large_object_chunk_size = {segment}
{staging}
"""

# Which is not to have a file of references: its one user stands here.
MULTI = """\
enabled_backends = swift:swift
[glance_store]
default_backend = swift
[swift]
swift_store_multi_tenant = true
swift_store_auth_version = 3
swift_store_auth_address = {keystone}
swift_store_user = service:glance
swift_store_key = {password}
swift_store_container = glance
{swift}
{staging}
"""


class Glance:
    """One Glance API with its data in `folder`."""

    def __init__(self, services, folder, keystone, cast, store, multi_tenant=False, cache=False):
        self.keystone, self.cast = keystone, cast
        self.folder = folder
        for part in ("staging", "tasks", "cache"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        environment = service_environment(OS_GLANCE_CONFIG_DIR=str(folder))
        self.service = WsgiService(
            services, "glance.wsgi.api", folder, folder.name, environment, threads=8
        )
        access, secret = cast.ec2("glance", "service")
        words = dict(
            folder=folder,
            services=services,
            port=self.service.port,
            keystone=keystone.url,
            password=cast.password,
            region=REGION,
            large=LARGE_OBJECT_MB,
            segment=SEGMENT_MB,
            store=store.url,
            access=access,
            secret=secret,
            flavor="keystone+cachemanagement" if cache else "keystone",
        )
        words["swift"] = SWIFT.format(**words)
        words["staging"] = STAGING.format(**words)
        words["stores"] = (MULTI if multi_tenant else SINGLE).format(**words)
        (folder / "glance-api.conf").write_text(COMMON.format(**words))
        (folder / "swift-store.conf").write_text(REFERENCE.format(**words))
        # What an operator opens up who lets his users name locations.
        (folder / "policy.yaml").write_text('"set_image_location": ""\n"get_image_location": ""\n')
        self.manage = [services / "bin/glance-manage", "--config-file", folder / "glance-api.conf"]

    def start(self, made_before=None):
        """Starts it; with the tables of another one where there is one, because making them takes longest."""
        if made_before:
            shutil.copy(made_before.folder / "empty.db", self.folder / "glance.db")
        else:
            run([*self.manage, "db_sync"], self.service.environment, self.folder / "manage.log")
            shutil.copy(self.folder / "glance.db", self.folder / "empty.db")
        self.service.start("/healthcheck")

    def stop(self):
        self.service.stop()


class Images:
    """What a user does with images, over Glance's API."""

    def __init__(self, glance, token):
        self.url = f"{glance.service.url}/v2"
        self.session = requests.Session()
        self.session.headers["X-Auth-Token"] = token

    def ask(self, method, path, wanted, **more):
        answer = self.session.request(method, self.url + path, timeout=300, **more)
        assert answer.status_code == wanted, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer

    def create(self, name):
        what = {"name": name, "disk_format": "raw", "container_format": "bare"}
        return self.ask("POST", "/images", 201, json=what).json()["id"]

    def patch(self, image, *changes):
        patch_type = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        self.ask("PATCH", f"/images/{image}", 200, json=list(changes), headers=patch_type)

    def upload(self, image, data, store=None):
        """`data` as bytes goes with its length, as an iterator without."""
        headers = {"Content-Type": "application/octet-stream"}
        if store:
            headers["X-Image-Meta-Store"] = store
        self.ask("PUT", f"/images/{image}/file", 204, data=data, headers=headers)

    def show(self, image):
        return self.ask("GET", f"/images/{image}", 200).json()

    def download(self, image, byte_range=None):
        headers = {"Range": byte_range} if byte_range else {}
        return self.ask("GET", f"/images/{image}/file", 206 if byte_range else 200, headers=headers).content

    def delete(self, image):
        self.ask("DELETE", f"/images/{image}", 204)
