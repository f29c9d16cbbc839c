"""Cinder backs volumes up into Martlet: full and incremental, restored byte by byte, gone after delete."""

import uuid

import pytest
import requests

from cloud.cinder import CinderBackup, change_volume, digest, make_volume
from cloud.processes import wait_until
from cloud.s3 import client_of

MIB = 1 << 20
SIZE = 16 * MIB
BLOCK = 32 * 1024


@pytest.fixture(scope="module")
def cinder(services, folder, keystone, cast, store):
    cinder = CinderBackup(services, folder / "cinder", keystone, cast, store)
    yield cinder
    cinder.stop()


@pytest.fixture
def listing(cast, account):
    """The names in a container of alice's."""

    def names(container):
        owner = {"X-Auth-Token": cast.token("alice", "demo")}
        answer = requests.get(f"{account('demo')}/{container}?limit=10000", headers=owner)
        return answer.text.split() if answer.ok else []

    return names


def keep_restore_and_delete(cinder, listing, folder, chunk):
    """The whole life of two backups of one volume, a full one and one of what changed since."""
    volume, target = folder / "volume", folder / "target"
    make_volume(volume, SIZE)
    first_state = digest(volume)
    identity = cinder.do("volume", name="first")
    full = cinder.do("backup", volume=identity, file=volume, parent=None)
    assert full["objects"] == -(-SIZE // chunk)
    # With the list of digests, and what Cinder says about the backup.
    assert len(listing(full["container"])) == full["objects"] + 2

    change_volume(volume, SIZE)
    second_state = digest(volume)
    assert second_state != first_state
    changed = cinder.do("backup", volume=identity, file=volume, parent=full["id"])
    assert 3 <= changed["objects"] <= 6

    for backup, wanted in ((full, first_state), (changed, second_state)):
        # On a new volume, and over one that is full of something else.
        target.write_bytes(b"")
        with open(target, "r+b") as file:
            file.truncate(SIZE)
        cinder.do("restore", backup=backup["id"], volume=identity, file=target, new=True)
        assert digest(target) == wanted
        target.write_bytes(b"\xff" * SIZE)
        cinder.do("restore", backup=backup["id"], volume=identity, file=target, new=False)
        assert digest(target) == wanted

    cinder.do("delete", backup=changed["id"])
    assert len(listing(full["container"])) == full["objects"] + 2
    cinder.do("delete", backup=full["id"])
    assert listing(full["container"]) == []


@pytest.mark.parametrize(
    "compression, chunk",
    [("none", 52428800), ("zlib", 4 * MIB), ("zstd", MIB), ("bz2", 8 * MIB), ("none", BLOCK * 15)],
    ids=lambda value: str(value),
)
def test_the_swift_driver(cinder, listing, tmp_path, compression, chunk):
    cinder.open(
        "swift",
        backup_compression_algorithm=compression,
        backup_swift_object_size=chunk,
        backup_swift_block_size=BLOCK,
        backup_swift_container=f"backups-{uuid.uuid4().hex[:8]}",
    )
    keep_restore_and_delete(cinder, listing, tmp_path, chunk)


@pytest.mark.parametrize("compression, chunk", [("zlib", 5 * MIB), ("zstd", MIB), ("none", 52428800)])
def test_the_s3_driver(cinder, listing, cast, store, tmp_path, compression, chunk):
    access, secret = cast.ec2("alice", "demo")
    cinder.open(
        "s3",
        backup_compression_algorithm=compression,
        backup_s3_object_size=chunk,
        backup_s3_block_size=BLOCK,
        backup_s3_endpoint_url=store.url,
        backup_s3_store_access_key=access,
        backup_s3_store_secret_key=secret,
        backup_s3_store_bucket=f"backups-{uuid.uuid4().hex[:8]}",
    )
    keep_restore_and_delete(cinder, listing, tmp_path, chunk)


def test_the_swift_driver_in_cinders_own_name(cinder, keystone, cast, account, tmp_path):
    """All backups in the account of the service, with a password in the driver's options."""
    container = f"backups-{uuid.uuid4().hex[:8]}"
    cinder.open(
        "swift",
        backup_swift_auth="single_user",
        backup_swift_auth_version="3",
        backup_swift_auth_url=keystone.url,
        backup_swift_user="cinder",
        backup_swift_key=cast.password,
        backup_swift_user_domain="Default",
        backup_swift_project_domain="Default",
        backup_swift_project="service",
        backup_compression_algorithm="zlib",
        backup_swift_object_size=8 * MIB,
        backup_swift_block_size=BLOCK,
        backup_swift_container=container,
    )

    def listing(name):
        owner = {"X-Auth-Token": cast.token("cinder", "service")}
        return requests.get(f"{account('service')}/{name}", headers=owner).text.split()

    keep_restore_and_delete(cinder, listing, tmp_path, 8 * MIB)


def test_a_backup_whose_users_token_expired(cinder, keystone, cast, listing, tmp_path):
    """Cinder vouches for the user with a token of its own, so that a long backup ends well."""
    short = keystone.on(4, "keystone-backups")
    short.start("/v3")
    try:
        token = cast.token("alice", "demo", f"{short.url}/v3")
    finally:
        short.stop()
    wait_until(lambda: not keystone.knows(token), "the token expires")
    cinder.open(
        "swift",
        token=token,
        backup_swift_service_auth=True,
        backup_compression_algorithm="zlib",
        backup_swift_object_size=8 * MIB,
        backup_swift_block_size=BLOCK,
        backup_swift_container=f"backups-{uuid.uuid4().hex[:8]}",
    )
    keep_restore_and_delete(cinder, listing, tmp_path, 8 * MIB)


def test_a_bucket_that_is_missing_is_made(cast, store):
    """The S3 driver asks with HEAD and makes what is 404."""
    s3 = client_of(store.url, *cast.ec2("alice", "demo"))
    with pytest.raises(s3.exceptions.ClientError) as missing:
        s3.head_bucket(Bucket=f"missing-{uuid.uuid4().hex[:8]}")
    assert missing.value.response["Error"]["Code"] == "404"
