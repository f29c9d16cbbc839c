"""A program in the services' environment that takes orders, one JSON line each, and answers each with one."""

import json
import pathlib
import subprocess

from cloud.processes import end, service_environment


class Program:
    """Each order raises what the program raised, as text."""

    def __init__(self, services, script, arguments, log):
        self.name = script.stem
        self.log = open(log, "w")
        self.process = subprocess.Popen(
            [services / "bin/python", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=service_environment(),
            start_new_session=True,
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {pathlib.Path(self.log.name).read_text()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def do(self, what, **order):
        self.process.stdin.write(json.dumps({"do": what} | order, default=str) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        end(self.process, self.name)
        self.log.close()
