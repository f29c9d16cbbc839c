"""A real memcached on loopback."""

import itertools
import shutil
import socket
import subprocess
from urllib.parse import unquote

from cloud.processes import end, free_port, service_environment, wait_until_up

# As root it gives its rights to somebody; Debian's package makes nobody for that.
USER = "nobody"


class Memcached:
    """One that keeps its port while it is stopped and started, empty each time."""

    def __init__(self, folder):
        self.program = shutil.which("memcached")
        if not self.program:
            raise RuntimeError("memcached is not here: sudo apt-get install -y --no-install-recommends memcached")
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "memcached.out"
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        command = [self.program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", USER, "-m", "64", "-t", "1"]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=service_environment(), start_new_session=True
            )
        wait_until_up(self.process, self.answers, "memcached", self.log)

    def answers(self):
        try:
            return self.lines("version", 1)[0].startswith("VERSION")
        except (OSError, IndexError):
            return False

    def lines(self, order, wanted=None):
        """What comes back for a line of memcached's text protocol: so many lines, or all before END."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(f"{order}\r\n".encode())
            with client.makefile("r", encoding="latin-1") as answer:
                lines = (line.rstrip() for line in answer)
                return list(itertools.islice(itertools.takewhile("END".__ne__, lines), wanted))

    def count(self, what):
        """One of its own counters, since it was started: `cmd_set`, `get_hits`."""
        return next(int(line.split()[2]) for line in self.lines("stats") if line.startswith(f"STAT {what} "))

    def everything(self):
        """All names and values, one after the other."""
        found = [line.split()[0].removeprefix("key=") for line in self.lines("lru_crawler metadump all")]
        names = [unquote(name) for name in found]
        return "\n".join(itertools.chain.from_iterable([name, *self.lines(f"get {name}")] for name in names))

    def stop(self):
        if self.process is not None:
            end(self.process, "memcached")
            self.process = None
