"""pytest plugin: the worst outcome of each test, one `id TAB outcome` line a test, into the file named by OUTCOMES_FILE.

A test has several reports (set-up, call, tear-down, subtests); one that did not pass decides. Beside the file, its name
with the ending `.reasons` holds what a failed test said.
"""

import os

WORSE = ["passed", "skipped", "failed"]


class Outcomes:
    def __init__(self, path):
        self.path = path
        self.outcomes = {}
        self.reasons = {}

    def note(self, test, outcome, reason):
        known = self.outcomes.get(test, "passed")
        if WORSE.index(outcome) >= WORSE.index(known):
            self.outcomes[test] = outcome
        if outcome == "failed":
            self.reasons.setdefault(test, " ".join(str(reason).split())[-600:])

    def pytest_runtest_logreport(self, report):
        self.note(report.nodeid, report.outcome, report.longrepr)

    def pytest_collectreport(self, report):
        # A file that cannot be read has no tests to fail: it fails itself.
        if report.failed:
            self.note(report.nodeid, "failed", report.longrepr)

    def pytest_sessionfinish(self):
        with open(self.path, "w") as out:
            out.writelines(f"{test}\t{outcome}\n" for test, outcome in sorted(self.outcomes.items()))
        with open(self.path + ".reasons", "w") as out:
            out.writelines(f"{test}\t{reason}\n" for test, reason in sorted(self.reasons.items()))


def pytest_configure(config):
    config.pluginmanager.register(Outcomes(os.environ["OUTCOMES_FILE"]))
