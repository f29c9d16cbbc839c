#!/usr/bin/env python3
"""Runs OpenStack Swift's own functional suite on a dev cluster and compares every test with its pinned outcome.

    swift.py --martlet BINARY [--processes] [--only PATH] [--out FOLDER] [-- pytest arguments]

The suite comes from the source archive of the `swift` package on PyPI, in the version that `requirements.txt` names.
A difference in either direction fails: a test that does not do what `swift-outcomes.tsv` says, one that is missing, one
that is new. Prints what differs and closes with `N passed, N failed, N skipped`.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PINNED = HERE / "swift-outcomes.tsv"
# No test needs longer on an idle machine than some seconds; this is for one that hangs.
TEST_TIMEOUT_S = 180

# The users are those of `martlet dev`.
CONFIG = """\
[func_test]
auth_uri = http://{address}/auth/v1.0
s3_storage_url = http://{address}/
s3_region = us-east-1
account = test
username = tester
password = testing
account2 = test2
username2 = tester2
password2 = testing2
username3 = tester3
password3 = testing3
account5 = test5
username5 = tester5
password5 = testing5
service_prefix = SERVICE
account6 = admin
username6 = admin
password6 = admin
s3_access_key = test:tester
s3_secret_key = testing
s3_access_key2 = test:tester2
s3_secret_key2 = testing2
s3_access_key3 = test:tester3
s3_secret_key3 = testing3
collate = C
insecure = no
storage_domain = example.net

[s3api_test]
endpoint = http://{address}
region = us-east-1
access_key1 = test:tester
secret_key1 = testing
access_key2 = test:tester2
secret_key2 = testing2
access_key3 = test:tester3
secret_key3 = testing3
s3_acl_tests_enabled = True

[unit_test]
fake_syslog = False
"""


def swift_version():
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if line.startswith("swift=="):
            return line.removeprefix("swift==").strip()
    sys.exit("requirements.txt names no version of swift")


def sources(cache):
    """The unpacked source archive; fetched once."""
    version = swift_version()
    folder = cache / f"swift-{version}"
    if (folder / "test/functional").is_dir():
        return folder
    print(f"martlet: fetching the source archive of swift {version} from PyPI", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--no-binary", ":all:", "-d", work, f"swift=={version}"], check=True)
        archive = next(pathlib.Path(work).glob("*.tar.gz"))
        subprocess.run(["tar", "xzf", archive, "-C", work], check=True)
        shutil.move(pathlib.Path(work) / f"swift-{version}", folder)
    return folder


class Cluster:
    """A `martlet dev` of this run's own, on a free port."""

    def __init__(self, binary, data, processes):
        command = [binary, "dev", "--port", "0", "--data", data] + (["--processes"] if processes else [])
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        found = None
        for line in self.child.stdout:
            found = re.search(r"up at http://([\d.]+:\d+)", line)
            if found:
                break
        if not found:
            sys.exit(f"the cluster did not come up: {' '.join(map(str, command))}")
        self.address = found.group(1)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.stdout.close()
        self.child.wait(timeout=60)


def read_outcomes(path):
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {test: outcome for test, outcome in rows}


def run_suite(source, address, only, out, extra):
    """Runs pytest; returns what each test did."""
    config = out / "test.conf"
    config.write_text(CONFIG.format(address=address))
    outcomes = out / "outcomes.tsv"
    environment = dict(os.environ)
    environment.pop("SWIFT_TEST_IN_PROCESS", None)
    environment.pop("SWIFT_TEST_POLICY", None)
    environment.update(
        SWIFT_TEST_CONFIG_FILE=str(config),
        OUTCOMES_FILE=str(outcomes),
        PYTHONPATH=str(HERE),
        AWS_EC2_METADATA_DISABLED="true",
    )
    command = [sys.executable, "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-q", "--tb=short"]
    command += ["--timeout", str(TEST_TIMEOUT_S), only, *extra]
    with open(out / "pytest.log", "w") as log:
        subprocess.run(command, cwd=source, env=environment, stdout=log, stderr=subprocess.STDOUT)
    if not outcomes.exists():
        print((out / "pytest.log").read_text()[-4000:])
        sys.exit("the suite did not run")
    return read_outcomes(outcomes)


def compare(pinned, found, reasons):
    """Prints each test that does not do what is pinned; returns how many."""
    differing = 0
    for test in sorted(pinned.keys() | found.keys()):
        wanted, got = pinned.get(test, "not in the list"), found.get(test, "not run")
        if wanted != got:
            differing += 1
            print(f"{test}: {got}, pinned as {wanted}. {reasons.get(test, '')}")
    return differing


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--martlet", required=True, help="the binary")
    parser.add_argument("--processes", action="store_true", help="each storage node in a process of its own")
    parser.add_argument("--only", default="test/functional", help="a file or a test id of the suite")
    parser.add_argument("--out", help="where logs and outcomes are kept")
    parser.add_argument("--cache", default=os.path.expanduser("~/.cache/martlet"))
    parser.add_argument("extra", nargs="*", help="passed on to pytest")
    options = parser.parse_args()
    cache = pathlib.Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    source = sources(cache)
    with tempfile.TemporaryDirectory(prefix="martlet-conformance-") as work:
        out = pathlib.Path(options.out or work)
        out.mkdir(parents=True, exist_ok=True)
        cluster = Cluster(options.martlet, pathlib.Path(work) / "data", options.processes)
        try:
            found = run_suite(source, cluster.address, options.only, out, options.extra)
        finally:
            cluster.stop()
        reasons = read_outcomes(out / "outcomes.tsv.reasons")
    pinned = read_outcomes(PINNED)
    if options.only != "test/functional":
        pinned = {test: outcome for test, outcome in pinned.items() if test.startswith(options.only)}
    differing = compare(pinned, found, reasons)
    count = list(found.values()).count
    print(f"{count('passed')} passed, {count('failed')} failed, {count('skipped')} skipped")
    if differing:
        sys.exit(f"{differing} tests do not do what {PINNED.name} says")


if __name__ == "__main__":
    main()
