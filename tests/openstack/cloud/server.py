"""A server that Heat deploys to: its agent is the real os-collect-config, which polls a temporary URL."""

import json
import os
import subprocess

import requests

from cloud.processes import service_environment


class Server:
    def __init__(self, environment, folder, agent):
        """`agent` is what the stack says of `os_collect_config`, as a server is given it when it is set up."""
        self.environment, self.folder = environment, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.metadata_url = agent["request"]["metadata_url"]
        lines = ["[DEFAULT]", *(f"collectors = {name}" for name in agent["collectors"])]
        lines += ["[request]", f"metadata_url = {self.metadata_url}", "[local]", f"path = {folder}/none"]
        self.config = folder / "os-collect-config.conf"
        self.config.write_text("\n".join(lines) + "\n")

    def deployments(self):
        """What the agent finds to be deployed."""
        command = [self.environment / "bin/os-collect-config", "--config-file", self.config, "--print"]
        # It sets the locale that it takes for ours, which must be one that every machine has.
        variables = service_environment(LC_ALL="C")
        ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout).get("request")
        assert found is not None, f"the agent finds nothing: {ended.stderr}"
        return found["deployments"]

    def deploy(self, deployment):
        """What the hook for scripts does, and then the one that notifies Heat. Gives the answer to the signal."""
        inputs = {one["name"]: one["value"] for one in deployment["inputs"]}
        script = self.folder / deployment["id"]
        script.write_text(deployment["config"])
        variables = os.environ | inputs | {"heat_outputs_path": str(script)}
        ended = subprocess.run(["sh", script], env=variables, capture_output=True, text=True, timeout=60)
        said = {"deploy_stdout": ended.stdout, "deploy_stderr": ended.stderr, "deploy_status_code": ended.returncode}
        for output in deployment["outputs"]:
            written = script.with_name(f"{script.name}.{output['name']}")
            if written.exists():
                said[output["name"]] = written.read_text()
        return requests.request(inputs["deploy_signal_verb"], inputs["deploy_signal_id"], data=json.dumps(said), timeout=60)
