"""A real Keystone: SQLite, fernet tokens, and the few calls that make a cloud's people."""

import itertools
import os

import requests

from cloud.processes import WsgiService, run, service_environment

ADMIN_PASSWORD = "the admin of these stories"
REGION = "RegionOne"

CONFIG = """\
[DEFAULT]
debug = false
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
expiration = {expiration_s}
[fernet_tokens]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[fernet_receipts]
key_repository = {folder}/fernet-keys
[identity]
# The cheapest hash that Keystone has; these passwords guard nothing.
password_hash_algorithm = bcrypt
password_hash_rounds = 4
"""


class Keystone:
    """The service, and an administrator's view of it."""

    def __init__(self, services, folder, port=0, expiration_s=3600):
        self.services = services
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.service = self.on(expiration_s, "keystone", port)
        self.admin = None

    def on(self, expiration_s, name, port=0, certificate=None, shown=None):
        """A service on this Keystone's data. Several may run at once, with tokens of different lives, and behind TLS, where
        they may want a certificate of everybody, as the one that is `shown`.
        """
        config = self.folder / f"{name}.conf"
        config.write_text(CONFIG.format(folder=self.folder, expiration_s=expiration_s))
        environment = service_environment(OS_KEYSTONE_CONFIG_FILES=str(config))
        # As many threads as a busy Keystone would have workers: a thousand questions at once must not end in a queue.
        where = (self.services, "keystone.wsgi.api", self.folder, name, environment, port)
        return WsgiService(*where, threads=8, certificate=certificate, shown=shown)

    @property
    def url(self):
        return f"{self.service.url}/v3"

    def prepare(self):
        manage = [self.services / "bin/keystone-manage", "--config-file", self.folder / "keystone.conf"]
        endpoints = itertools.chain.from_iterable(
            (f"--bootstrap-{interface}-url", self.url) for interface in ("admin", "internal", "public")
        )
        owner = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
        for command in (
            ["db_sync"],
            ["fernet_setup", *owner],
            ["credential_setup", *owner],
            ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", REGION, *endpoints],
        ):
            run([*manage, *command], self.service.environment, self.folder / "manage.log")

    def start(self):
        self.service.start("/v3")
        self.admin = self.token("admin", ADMIN_PASSWORD, "admin")

    def stop(self):
        self.service.stop()

    # Tokens.

    def authenticate(self, user, password, project=None, url=None, domain="Default"):
        """The answer to a login, scoped to `project` or unscoped."""
        person = {"name": user, "password": password, "domain": {"name": domain}}
        auth = {"identity": {"methods": ["password"], "password": {"user": person}}}
        if project:
            auth["scope"] = {"project": {"name": project, "domain": {"name": domain}}}
        else:
            auth["scope"] = "unscoped"
        return requests.post(f"{url or self.url}/auth/tokens", json={"auth": auth}, timeout=60)

    def token(self, user, password, project=None, url=None):
        answer = self.authenticate(user, password, project, url)
        assert answer.status_code == 201, f"{user} of {project} may not log in: {answer.status_code} {answer.text}"
        return answer.headers["X-Subject-Token"]

    def knows(self, token):
        """Whether Keystone itself still takes this token."""
        headers = {"X-Auth-Token": self.admin, "X-Subject-Token": token}
        return requests.get(f"{self.url}/auth/tokens", headers=headers, timeout=60).status_code == 200

    def about(self, token):
        """What Keystone says of a token, with the catalogue, as services are told it."""
        headers = {"X-Auth-Token": self.admin, "X-Subject-Token": token}
        answer = requests.get(f"{self.url}/auth/tokens", headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def revoke(self, token):
        headers = {"X-Auth-Token": self.admin, "X-Subject-Token": token}
        answer = requests.delete(f"{self.url}/auth/tokens", headers=headers, timeout=60)
        assert answer.status_code == 204, answer.text

    # The people and their things. Each returns what Keystone says of it.

    def call(self, method, path, body=None, wanted=(200, 201, 204)):
        headers = {"X-Auth-Token": self.admin}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=60)
        assert answer.status_code in wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create(self, kind, **what):
        return self.call("POST", f"/{kind}s", {kind: what})[kind]

    def find(self, kind, name):
        found = self.call("GET", f"/{kind}s?name={name}")[f"{kind}s"]
        return found[0] if found else None

    def project(self, name):
        return self.find("project", name) or self.create("project", name=name, domain_id="default")

    def role(self, name):
        return self.find("role", name) or self.create("role", name=name)

    def user(self, name, password, **roles):
        """Makes a user with `project=[role, ...]`."""
        user = self.create("user", name=name, password=password, domain_id="default")
        for project, names in roles.items():
            for role in names:
                self.grant(user["id"], self.project(project)["id"], role)
        return user

    def grant(self, user, project, role):
        self.call("PUT", f"/projects/{project}/users/{user}/roles/{self.role(role)['id']}")

    def grant_on_system(self, user, *roles):
        for role in roles:
            self.call("PUT", f"/system/users/{user}/roles/{self.role(role)['id']}")

    def endpoints(self, kind, name, url, region=REGION):
        """Puts a service into the catalogue. Gives its id, by which it can be taken out."""
        service = self.create("service", type=kind, name=name)
        for interface in ("admin", "internal", "public"):
            self.create("endpoint", service_id=service["id"], interface=interface, url=url, region_id=region)
        return service["id"]

    def ec2_credentials(self, user, project):
        """A pair of S3 keys of `user` in `project`, both given by id."""
        made = self.call("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project})["credential"]
        return made["access"], made["secret"]

    # What was asked of it.

    def validations(self, since=0, subject=None):
        """How often somebody asked whether a token is good, from line `since` of the access log on."""
        lines = [line.split() for line in self.service.asked()[since:]]
        return sum(
            1
            for _, method, path, asked in lines
            if (method, path) == ("GET", "/v3/auth/tokens") and subject in (None, asked)
        )

    def s3_questions(self, since=0):
        """How often somebody asked about an S3 signature or an EC2 secret, from line `since` of the access log on."""
        lines = [line.split() for line in self.service.asked()[since:]]
        return sum(
            1
            for _, method, path, _ in lines
            if path.startswith(("/v3/s3tokens", "/v3/ec2tokens")) or (method == "GET" and "/OS-EC2/" in path)
        )
