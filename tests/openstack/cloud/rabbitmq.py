"""A real RabbitMQ with its data below a folder, and its port name service beside it, both on loopback."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

from cloud.processes import end, free_port, is_listened_on, service_environment, wait_until_up

# Debian's wrapper in /usr/sbin changes the user; the program itself is here.
SERVER = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMq:
    """One broker that keeps its ports while it is stopped and started. Everybody logs in as `guest`."""

    def __init__(self, folder, certificate):
        if not SERVER.exists() or not shutil.which("epmd"):
            raise RuntimeError("RabbitMQ is not here: sudo apt-get install -y --no-install-recommends rabbitmq-server")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port, self.tls_port, self.names_port, between_nodes = (free_port() for _ in range(4))
        self.names = self.process = None
        (folder / "plugins").write_text("[].")
        settings = {
            "loopback_users": "none",
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": certificate.authority,
            "ssl_options.certfile": certificate.chain,
            "ssl_options.keyfile": certificate.key,
        }
        (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        self.environment = service_environment(
            HOME=str(folder),
            ERL_EPMD_PORT=str(self.names_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME="stories@localhost",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_DIST_PORT=str(between_nodes),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "plugins"),
            RABBITMQ_MNESIA_BASE=str(folder / "mnesia"),
            RABBITMQ_LOG_BASE=str(folder / "log"),
            RABBITMQ_CONF_ENV_FILE=str(folder / "none"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(folder / "none"),
            RABBITMQ_PID_FILE=str(folder / "pid"),
        )

    @property
    def url(self):
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def start(self):
        log = self.folder / "rabbitmq.out"
        with open(log, "ab") as out:
            run = dict(env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            if self.names is None:
                # Started here, so that RabbitMQ does not leave one behind.
                self.names = subprocess.Popen(["epmd", "-port", str(self.names_port)], **run)
                wait_until_up(self.names, lambda: is_listened_on(self.names_port), "Erlang's name service", log)
            self.process = subprocess.Popen([SERVER], **run)
        wait_until_up(self.process, self.answers, "RabbitMQ", log)

    def answers(self):
        """Whether it goes on when a client begins as AMQP 0-9-1 says, on both of its ports."""
        if not is_listened_on(self.tls_port):
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(b"AMQP\0\0\x09\x01")
                return client.recv(1) == b"\1"
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            # The server is a child of a shell that waits for it, so all of the group is asked.
            end(self.process, "RabbitMQ", whole_group=True)
            self.process = None

    def freeze(self, is_frozen):
        """Stops it in the middle of everything, as a broker whose machine hangs; connections stay."""
        os.killpg(self.process.pid, signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def end(self):
        self.stop()
        if self.names is not None:
            end(self.names, "Erlang's name service")
