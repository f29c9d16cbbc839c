"""How a program takes orders from the stories: one JSON line each on standard input, `{"do": "name", ...}`, and one line
back, `{"ok": ...}` or `{"error": ...}`. The other end is `cloud/program.py`. Runs with the Python of any environment.
"""

import json
import sys


def obey(make):
    """Makes what has a method for each order, says that it is ready, and obeys until the orders end. Returns it."""
    # Whatever a library prints is not an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    servant = make()
    print(json.dumps({"ok": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        what = order.pop("do")
        try:
            answer = {"ok": getattr(servant, what)(**order)}
        except Exception as error:  # The story decides what it means.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), file=answers, flush=True)
    return servant
