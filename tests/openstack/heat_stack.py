"""Heat's own engine with one stack in this process, driven one order at a time. Runs with the Python of Heat's environment.

    heat_stack.py KEYSTONE_URL FOLDER USER PASSWORD     Heat's own user, whom people trust with their stacks

Its orders (`orders.py`):

    {"do": "create", "token": T, "about": {...}, "name": N, "text": YAML}  begins to make a stack; `about`: what Keystone says of T
    {"do": "state"}                     [state, reason], `CREATE_COMPLETE` or `UPDATE_IN_PROGRESS` for instance
    {"do": "update", "text": YAML}      begins to make of it what the text says
    {"do": "reference", "name": N}      what `get_resource` gives of a resource, or null as long as there is nothing
    {"do": "output", "name": N}         an output of the stack
    {"do": "check"}                     has the stack look after its resources, and waits until it has
    {"do": "delete"}                    and waits until it is gone

Around the stack there is what Heat's service gives it: the database, the plugins, a request's context, and the engine's
service at the other end of oslo.messaging, which stacks ask about their deployments. What a stack does while it is made runs
beside the orders, as signals come in between.
"""

import pathlib
import sys
import threading

from heat.common import context, messaging, template_format
from heat.db import api as db_api
from heat.db import models
from heat.engine import environment, stack, template
from heat.engine.service import EngineService
from heat.rpc import api as rpc_api
from oslo_config import cfg
from oslo_messaging import Target

from orders import obey


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
        # Makes the resources' plugins known too.
        service = EngineService("here", rpc_api.ENGINE_TOPIC)
        # As its `start` does, which would begin much else.
        service.target = Target(version=service.RPC_API_VERSION, server=service.host, topic=service.topic)
        messaging.get_rpc_server(service.target, service).start()
        self.stack = self.making = self.doing = None

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
        self.stack = self.parse(caller, name, text)
        self.stack.store()
        self.begin("CREATE", self.stack.create)
        return self.stack.id

    def update(self, text):
        new = self.parse(self.stack.context, self.stack.name, text)
        self.begin("UPDATE", self.stack.update, new)

    def parse(self, caller, name, text):
        parsed = template.Template(template_format.parse(text), env=environment.Environment())
        made = stack.Stack(caller, name, parsed, timeout_mins=5)
        made.validate()
        return made

    def begin(self, what, action, *arguments):
        self.doing = what
        self.making = threading.Thread(target=action, args=arguments, daemon=True)
        self.making.start()

    def state(self):
        if not self.making.is_alive():
            return ["_".join(self.stack.state), self.stack.status_reason]
        return [f"{self.doing}_IN_PROGRESS", ""]

    def reference(self, name):
        resource = self.stack[name]
        return resource.FnGetRefId() if resource.state == (resource.CREATE, resource.COMPLETE) else None

    def output(self, name):
        read = self.anew()
        read._update_all_resource_data(for_resources=False, for_outputs={name})
        return read.outputs[name].get_value()

    def anew(self):
        """The stack as each request to Heat's API has it read."""
        return stack.Stack.load(self.stack.context, stack_id=self.stack.id)

    def check(self):
        self.stack.check()
        return ["_".join(self.stack.state), self.stack.status_reason]

    def delete(self):
        self.stack = self.anew()
        self.stack.delete()
        return ["_".join(self.stack.state), self.stack.status_reason]


def main():
    obey(lambda: Heat(*sys.argv[1:5]))


if __name__ == "__main__":
    main()
