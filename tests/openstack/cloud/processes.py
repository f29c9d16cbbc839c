"""Processes of the cloud: started with a log of their own, waited for, and ended."""

import os
import pathlib
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time

import requests

# One line for each request, which the stories count: status, method, path, and the token that is asked about.
ACCESS_LOG = "%(s)s %(m)s %(U)s %({x-subject-token}i)s"
# For a machine that does other work at the same time; what is up sooner is not waited for.
START_PATIENCE_S = 180
STOP_PATIENCE_S = 30


def wait_until(condition, what, patience_s=60):
    """Asks `condition` again and again until it gives something true, which is returned.

    For what a service says: each question takes a service its time, so nothing runs wild.
    """
    end = time.monotonic() + patience_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"after {patience_s} s still not so: {what}")


def wait_until_up(process, answers, name, log):
    """Waits until a process that was started answers, or has ended, which raises what it wrote."""
    end = time.monotonic() + START_PATIENCE_S
    while not answers():
        try:
            # Whichever comes first: its end, or the time for another question.
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() < end:
                continue
        tail = pathlib.Path(log).read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{name} does not answer, and has ended with {process.poll()} (see {log}):\n{tail}")


def free_port():
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def is_listened_on(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(command, environment, log):
    """Runs a command to its end. Shows what it printed if it fails."""
    with open(log, "ab") as out:
        ended = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        tail = pathlib.Path(log).read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{tail}")


def service_environment(**more):
    """Of a service: nothing of the caller's own cloud, and no proxy between processes of one machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "AWS_", "ST_"))}
    kept.update(no_proxy="127.0.0.1,localhost", NO_PROXY="127.0.0.1,localhost", PYTHONWARNINGS="ignore")
    kept.update(more)
    return kept


def person_environment(auth_url, user, password, project, region, **more):
    """Of a person's clients, as `openrc` sets it."""
    return service_environment(
        OS_AUTH_URL=auth_url,
        OS_IDENTITY_API_VERSION="3",
        OS_USERNAME=user,
        OS_PASSWORD=password,
        OS_PROJECT_NAME=project,
        OS_USER_DOMAIN_NAME="Default",
        OS_PROJECT_DOMAIN_NAME="Default",
        OS_REGION_NAME=region,
        **more,
    )


class WsgiService:
    """A WSGI application under gunicorn, in a process group of its own. Its port is chosen once and kept.

    Gunicorn and not a server that reads a whole body first: what comes in pieces must reach the service in pieces.
    """

    def __init__(self, services, module, folder, name, environment, port=0, threads=8, certificate=None, shown=None):
        self.services = services
        self.module = module
        self.name = name
        self.environment = environment
        self.threads = threads
        self.certificate = certificate
        # Given, the service wants a certificate of everybody, and this is the one that we show.
        self.shown = shown
        self.log = folder / f"{name}.log"
        self.settings = folder / f"{name}.gunicorn.py"
        self.access_log = folder / f"{name}.access"
        self.process = None
        # Bound from now on, so that nobody else takes the port; listened on by the service alone.
        self.listener = self.bind(port)
        self.port = self.listener.getsockname()[1]

    @property
    def url(self):
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @staticmethod
    def bind(port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def start(self, healthy="/healthcheck"):
        listener = self.listener or self.bind(self.port)
        self.listener = None
        settings = {
            "wsgi_app": f"{self.module}:application",
            "bind": f"fd://{listener.fileno()}",
            "workers": 1,
            "threads": self.threads,
            "worker_connections": 2000,
            "timeout": 0,
            "graceful_timeout": 5,
            "accesslog": str(self.access_log),
            "access_log_format": ACCESS_LOG,
            "control_socket_disable": True,
        }
        if self.certificate:
            settings |= {"certfile": str(self.certificate.chain), "keyfile": str(self.certificate.key)}
        if self.shown:
            settings |= {"ca_certs": str(self.shown.authority), "cert_reqs": int(ssl.CERT_REQUIRED)}
        self.settings.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.services / "bin/gunicorn"],
                # Not on the command line, which the services read as their own.
                env=self.environment | {"GUNICORN_CMD_ARGS": f"--config {shlex.quote(str(self.settings))}"},
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # The service alone has it now: when it ends, connections are refused.
        listener.close()
        wait_until_up(self.process, lambda: self.answers(healthy), self.name, self.log)

    def answers(self, path):
        try:
            authority = str(self.certificate.authority) if self.certificate else True
            shown = (str(self.shown.chain), str(self.shown.key)) if self.shown else None
            return requests.get(self.url + path, timeout=5, verify=authority, cert=shown).status_code < 500
        except requests.RequestException:
            return False

    def stop(self):
        if self.process is None:
            return
        end(self.process, self.name)
        self.process = None

    def asked(self):
        """The lines of the access log so far."""
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []


def end(process, name, whole_group=False):
    """Asks a process to end, or its whole group; kills what does not."""

    def send(what):
        if whole_group:
            os.killpg(process.pid, what)
        else:
            process.send_signal(what)

    if process.poll() is None:
        send(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"{name} does not end and is killed", file=sys.stderr)
            send(signal.SIGKILL)
            process.wait()
