"""A `martlet dev` cluster that believes the cloud's Keystone."""

import json
import re
import subprocess
import threading
import tomllib

import requests

from cloud.processes import end, free_port, service_environment, wait_until_up


class Martlet:
    """The cluster: four devices, three replicas, Swift and S3 on one port that the system chooses."""

    def __init__(self, binary, folder, keystone_url, cast):
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        command = [binary, "dev", "--port", "0", "--data", self.data]
        command += ["--keystone", keystone_url, "--keystone-user", "swift"]
        command += ["--keystone-password", cast.password, "--keystone-project", "service"]
        self.out = open(folder / "martlet.out", "w")
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=self.out,
            text=True,
            env=service_environment(),
            start_new_session=True,
        )
        found = None
        for line in self.process.stdout:
            self.out.write(line)
            found = re.search(r"up at (http://[\d.]+:\d+)", line)
            if found:
                break
        if not found:
            self.stop()
            raise RuntimeError(f"the cluster did not come up; see {folder}/martlet.out:\n{self.complaints()}")
        self.url = found.group(1)
        # What it prints later must not fill the pipe and stop it.
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.process.stdout:
            self.out.write(line)

    def complaints(self):
        self.out.flush()
        return open(self.out.name).read()[-3000:]

    def stop(self):
        end(self.process, "martlet")
        self.out.close()


class Proxy:
    """One more proxy of a running dev cluster, from a configuration file as an operator writes it.

    `authtoken` and the others are tables of `[proxy.pipeline]`; what `authtoken` needs is there already.
    """

    def __init__(self, binary, folder, cluster, keystone_url, cast, certificate=None, **pipeline):
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self.authority = str(certificate.authority) if certificate else True
        self.log = folder / "proxy.log"
        node = next(path for path in sorted(cluster.data.glob("*/node.toml")))
        shared = tomllib.loads(node.read_text())["cluster"]
        for name in {"rings", "key_file"} & shared.keys():
            shared[name] = str((node.parent / shared[name]).resolve())
        authtoken = {
            "auth_url": keystone_url,
            "username": "swift",
            "password": cast.password,
            "project_name": "service",
        }
        authtoken |= pipeline.pop("authtoken", {})
        # What is given as None is left out.
        authtoken = {name: value for name, value in authtoken.items() if value is not None}
        tempauth = {"users": {"test:tester": {"key": "testing", "groups": [".admin"]}}}
        config = {
            "cluster": shared,
            "log": {"file": str(self.log)},
            "proxy": {
                "bind": f"127.0.0.1:{port}",
                "expose_metrics": True,
                "pipeline": {"authtoken": authtoken, "tempauth": tempauth, **pipeline},
                "s3": {"location": "us-east-1"},
            },
        }
        if certificate:
            config["proxy"]["tls"] = {"certificate": str(certificate.chain), "key": str(certificate.key)}
        path = folder / "martlet.toml"
        path.write_text("".join(f"{name} = {as_toml(value)}\n" for name, value in config.items()))
        self.out = open(folder / "proxy.out", "w")
        self.process = subprocess.Popen(
            [binary, "node", "--config", path],
            stdout=self.out,
            stderr=self.out,
            env=service_environment(),
            start_new_session=True,
        )
        wait_until_up(self.process, self.answers, "martlet's proxy", self.out.name)

    def answers(self):
        try:
            return requests.get(f"{self.url}/healthcheck", timeout=5, verify=self.authority).ok
        except requests.RequestException:
            return False

    def metrics(self, name):
        """The values of a metric added up, whatever their labels; 0 when nothing was counted yet."""
        lines = requests.get(f"{self.url}/metrics", timeout=5, verify=self.authority).text.splitlines()
        values = [line.rsplit(" ", 1)[1] for line in lines if re.match(rf"{name}[ {{]", line)]
        return sum(map(float, values))

    def stop(self):
        end(self.process, "martlet's proxy")
        self.out.close()


def as_toml(value):
    """A value as TOML writes it on one line; what is no table or list is written as in JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {as_toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(part) for part in value) + "]"
    return json.dumps(value)


class Deployed:
    """An object store that somebody else runs, for instance OpenStack Swift, to see what it answers."""

    def __init__(self, url):
        self.url = url

    def stop(self):
        pass
