"""Heat's own engine with one stack in this process, driven one order at a time. Runs with the Python of Heat's environment.

    heat_stack.py KEYSTONE_URL FOLDER USER PASSWORD     Heat's own user, whom people trust with their stacks

Reads one JSON order a line from standard input and answers each with one line, `{"ok": ...}` or `{"error": ...}`:

    {"do": "create", "token": T, "about": {...}, "name": N, "text": YAML}  begins to make a stack; `about`: what Keystone says of T
    {"do": "state"}                     [state, reason], `CREATE_COMPLETE` for instance
    {"do": "reference", "name": N}      what `get_resource` gives of a resource, or null as long as there is nothing
    {"do": "output", "name": N}         an output of the stack
    {"do": "check"}                     has the stack look after its resources, and waits until it has
    {"do": "delete"}                    and waits until it is gone

Around the stack there is what Heat's service gives it: the database, the plugins, a request's context. What a stack does
while it is made runs beside the orders, as signals come in between.
"""

import json
import pathlib
import sys
import threading

from heat.common import context, messaging, template_format
from heat.db import api as db_api
from heat.db import models
from heat.engine import environment, resources, stack, template
from oslo_config import cfg


CONFIG = """\
[DEFAULT]
convergence_engine = false
region_name_for_services = RegionOne
[database]
connection = sqlite:///{folder}/heat.db
[clients]
endpoint_type = publicURL
[clients_keystone]
auth_uri = {keystone}
[trustee]
auth_type = password
auth_url = {keystone}
username = {user}
password = {password}
user_domain_name = Default
"""


class Heat:
    def __init__(self, keystone, folder, user, password):
        self.keystone_url = keystone
        file = pathlib.Path(folder) / "heat.conf"
        file.write_text(CONFIG.format(folder=folder, keystone=keystone, user=user, password=password))
        cfg.CONF(["--config-file", str(file)], project="heat", prog="heat-engine")
        messaging.setup("fake://", optional=True)
        models.BASE.metadata.create_all(db_api.get_engine())
        resources.initialise()
        self.stack = self.making = None

    def create(self, token, about, name, text):
        said = about["token"]
        caller = context.RequestContext(
            auth_token=token,
            auth_token_info=about,
            auth_url=self.keystone_url,
            user_id=said["user"]["id"],
            user_name=said["user"]["name"],
            project_id=said["project"]["id"],
            project_name=said["project"]["name"],
            roles=[role["name"] for role in said["roles"]],
            is_admin=False,
        )
        parsed = template.Template(template_format.parse(text), env=environment.Environment())
        self.stack = stack.Stack(caller, name, parsed, timeout_mins=5)
        self.stack.validate()
        self.stack.store()
        self.making = threading.Thread(target=self.stack.create, daemon=True)
        self.making.start()
        return self.stack.id

    def state(self):
        if not self.making.is_alive():
            return ["_".join(self.stack.state), self.stack.status_reason]
        return ["CREATE_IN_PROGRESS", ""]

    def reference(self, name):
        resource = self.stack[name]
        return resource.FnGetRefId() if resource.state == (resource.CREATE, resource.COMPLETE) else None

    def output(self, name):
        # As whoever asks Heat's API for it has the stack read anew.
        read = stack.Stack.load(self.stack.context, stack_id=self.stack.id)
        read._update_all_resource_data(for_resources=False, for_outputs={name})
        return read.outputs[name].get_value()

    def check(self):
        self.stack.check()
        return ["_".join(self.stack.state), self.stack.status_reason]

    def delete(self):
        self.stack.delete()
        return ["_".join(self.stack.state), self.stack.status_reason]


def main():
    # Whatever a library prints is not an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    heat = Heat(*sys.argv[1:5])
    print(json.dumps({"ok": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("do")
        try:
            answer = {"ok": getattr(heat, what)(**order)}
        except Exception as error:  # The story decides what it means.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
