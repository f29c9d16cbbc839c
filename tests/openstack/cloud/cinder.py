"""The Cinder backup drivers in a process of the services' environment, and the volumes they back up."""

import hashlib
import os
import pathlib

from cloud.program import Program

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "cinder_backup.py"

CONFIG = """\
[DEFAULT]
transport_url = fake:
use_stderr = true
state_path = {folder}
storage_availability_zone = nova
backup_swift_enable_progress_timer = false
backup_s3_enable_progress_timer = false
backup_swift_retry_attempts = 1
[database]
connection = sqlite:///{folder}/cinder.db
[oslo_messaging_notifications]
driver = noop
[service_user]
send_service_user_token = true
auth_type = password
auth_url = {keystone}
username = cinder
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
"""


class CinderBackup:
    """Orders to the drivers; each raises what the driver raised, as text."""

    def __init__(self, services, folder, keystone, cast, store):
        folder.mkdir(parents=True, exist_ok=True)
        self.cast, self.store = cast, store
        config = folder / "cinder.conf"
        config.write_text(CONFIG.format(folder=folder, keystone=keystone.url, password=cast.password))
        self.program = Program(services, PROGRAM, [config], folder / "cinder.log")
        self.do, self.stop = self.program.do, self.program.stop

    def open(self, driver, token=None, **options):
        """Chooses the driver and its options for what follows, in alice's name."""
        project = self.cast.projects["demo"]
        token = token or self.cast.token("alice", "demo")
        url = f"{self.store.url}/v1/AUTH_{project}"
        self.do("open", driver=driver, options=options, user=self.cast.users["alice"], project=project, token=token, url=url)


def make_volume(path, size):
    """A volume with random data, with data that packs well, and with holes that no byte was ever written to."""
    part = size // 8
    with open(path, "wb") as volume:
        volume.write(os.urandom(part))
        volume.seek(3 * part)
        volume.write((b"packs well " * part)[:part])
        volume.seek(6 * part)
        volume.write(os.urandom(part // 2))
        volume.truncate(size)


def change_volume(path, size):
    """New data in two places, one of them a former hole, and zeros where data was."""
    with open(path, "r+b") as volume:
        volume.seek(size // 16)
        volume.write(os.urandom(100_000))
        volume.seek(2 * (size // 8))
        volume.write(os.urandom(70_000))
        volume.seek(6 * (size // 8))
        volume.write(bytes(90_000))


def digest(path):
    with open(path, "rb") as volume:
        return hashlib.file_digest(volume, "sha256").hexdigest()
