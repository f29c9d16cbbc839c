"""Glance keeps its images in Martlet: single-tenant, multi-tenant, and through S3."""

import hashlib
import os
import uuid

import pytest
import requests

from cloud.glance import LARGE_OBJECT_MB, MB, SEGMENT_MB, Glance, Images
from cloud.processes import wait_until
from cloud.s3 import client_of

MIB = 1 << 20
# Whole segments, because glance_store 5.7 announces a full one for a shorter last one when it knows the image's size.
OVER_THE_LIMIT = 5 * SEGMENT_MB * MB
assert OVER_THE_LIMIT > LARGE_OBJECT_MB * MB > 50 * MIB

SIZES = [pytest.param(MIB, id="1-mib"), pytest.param(50 * MIB, id="50-mib"), pytest.param(OVER_THE_LIMIT, id="segments")]


@pytest.fixture(scope="module")
def single(services, folder, keystone, cast, store):
    glance = Glance(services, folder / "glance-single", keystone, cast, store, cache=True)
    glance.start()
    yield glance
    glance.stop()


@pytest.fixture(scope="module")
def multi(services, folder, keystone, cast, store, single):
    glance = Glance(services, folder / "glance-multi", keystone, cast, store, multi_tenant=True)
    glance.start(made_before=single)
    yield glance
    glance.stop()


@pytest.fixture
def images(single, cast):
    """Alice's images in the single-tenant store."""
    return Images(single, cast.token("alice", "demo"))


@pytest.fixture
def shop(cast, account):
    """The account in which a single-tenant store keeps everybody's images: a function that lists a container of it."""
    return lister(account("service"), cast.token("glance", "service"))


def lister(account, token):
    def listing(container, prefix=""):
        answer = requests.get(
            f"{account}/{container}", params={"format": "json", "prefix": prefix}, headers={"X-Auth-Token": token}
        )
        return None if answer.status_code == 404 else answer.json()

    return listing


def pieces(data):
    """A body whose length the other end does not know before."""
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def assert_stored_well(images, image, data):
    seen = images.show(image)
    assert seen["status"] == "active"
    assert seen["size"] == len(data)
    assert seen["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert hashlib.sha512(images.download(image)).hexdigest() == seen["os_hash_value"]


def cached(glance, cast):
    """The images that Glance's cache holds whole."""
    answer = Images(glance, cast.token("glance", "service")).ask("GET", "/cache", 200).json()
    return [found["image_id"] for found in answer["cached_images"]]


@pytest.mark.parametrize("size", SIZES)
def test_an_image_in_the_single_tenant_store(images, shop, size):
    data = os.urandom(size)
    image = images.create("single")
    images.upload(image, data)
    assert_stored_well(images, image, data)
    names = [found["name"] for found in shop("glance", image)]
    if size > LARGE_OBJECT_MB * MB:
        assert names == [image] + [f"{image}-{number:05}" for number in range(1, 6)]
    else:
        assert names == [image]
    images.delete(image)
    assert shop("glance", image) == []


def test_an_image_of_unknown_size_is_stored_in_segments(images, shop):
    """Nova's snapshots come like this; the last segment is shorter."""
    data = os.urandom(2 * SEGMENT_MB * MB + 4321)
    image = images.create("unknown size")
    images.upload(image, pieces(data))
    assert_stored_well(images, image, data)
    assert [found["bytes"] for found in shop("glance", f"{image}-")] == [SEGMENT_MB * MB, SEGMENT_MB * MB, 4321]
    images.delete(image)
    assert shop("glance", image) == []


@pytest.mark.parametrize("size", SIZES)
def test_the_rest_of_an_image_whose_download_broke_off(images, cast, account, size):
    """What glance_store asks for then. Glance itself serves no ranges from a Swift or S3 store, nor from its cache."""
    data = os.urandom(size)
    image = images.create("ranges")
    images.upload(image, data)
    token = {"X-Auth-Token": cast.token("glance", "service")}
    border = SEGMENT_MB * MB
    for start in (0, 1, border - 5, border, size // 2, size - 1):
        if start < size:
            rest = requests.get(f"{account('service')}/glance/{image}", headers=token | {"Range": f"bytes={start}-"})
            assert (rest.status_code, rest.headers["Content-Range"]) == (206, f"bytes {start}-{size - 1}/{size}")
            assert rest.content == data[start:]
    images.delete(image)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_in_the_multi_tenant_store_is_its_owners(multi, cast, account, size):
    images = Images(multi, cast.token("alice", "demo"))
    data = os.urandom(size)
    image = images.create("multi")
    images.upload(image, data)
    assert_stored_well(images, image, data)
    owner = lister(account("demo"), cast.token("alice", "demo"))
    assert len(owner(f"glance_{image}")) == (6 if size > LARGE_OBJECT_MB * MB else 1)
    # Others may read it when it is public, and only then.
    url = f"{account('demo')}/glance_{image}/{image}"
    stranger = {"X-Auth-Token": cast.token("carol", "other")}
    assert requests.get(url, headers=stranger).status_code == 403
    images.delete(image)
    assert owner(f"glance_{image}") is None


def test_an_image_shared_with_a_project(multi, cast, account):
    """Glance tells the store who the members are; the member reads the image from the owner's account."""
    images = Images(multi, cast.token("alice", "demo"))
    image = images.create("shared")
    data = os.urandom(MIB)
    images.upload(image, data)
    images.patch(image, {"op": "replace", "path": "/visibility", "value": "shared"})
    other = cast.projects["other"]
    images.ask("POST", f"/images/{image}/members", 200, json={"member": other})
    member = Images(multi, cast.token("carol", "other"))
    member.ask("PUT", f"/images/{image}/members/{other}", 200, json={"status": "accepted"})
    assert member.download(image) == data
    url = f"{account('demo')}/glance_{image}/{image}"
    assert requests.get(url, headers={"X-Auth-Token": cast.token("carol", "other")}).content == data
    images.delete(image)


def test_the_image_cache_holds_what_was_read(images, single, shop, cast, account):
    data = os.urandom(3 * MIB)
    image = images.create("cached")
    images.upload(image, data)
    assert images.download(image) == data
    wait_until(lambda: image in cached(single, cast), "the image is in the cache")
    # What is served now comes from the cache: the store has nothing any more.
    requests.delete(f"{account('service')}/glance/{image}", headers={"X-Auth-Token": cast.token("glance", "service")})
    assert shop("glance", image) == []
    assert images.download(image) == data
    images.delete(image)


def test_an_image_made_of_anothers_location(multi, cast):
    """Both name the same object; nothing is copied."""
    images = Images(multi, cast.token("alice", "demo"))
    data = os.urandom(2 * MIB)
    first, second = images.create("first"), images.create("second")
    images.upload(first, data)
    location = images.show(first)["locations"][0]
    value = {"url": location["url"], "metadata": location["metadata"]}
    images.patch(second, {"op": "add", "path": "/locations/-", "value": value})
    assert images.show(second)["status"] == "active"
    assert images.download(second) == data
    images.patch(second, {"op": "add", "path": "/name", "value": "named after"})
    images.delete(second)
    images.delete(first)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_in_the_s3_store(images, cast, store, size):
    data = os.urandom(size)
    image = images.create("s3")
    images.upload(image, data, store="s3")
    assert images.show(image)["stores"] == "s3"
    assert_stored_well(images, image, data)
    s3 = client_of(store.url, *cast.ec2("glance", "service"))
    assert s3.head_object(Bucket="glance-s3", Key=image)["ContentLength"] == size
    images.delete(image)
    assert "Contents" not in s3.list_objects_v2(Bucket="glance-s3", Prefix=image)
    assert not s3.list_multipart_uploads(Bucket="glance-s3").get("Uploads")


def test_an_image_copied_from_the_swift_store_to_the_s3_store(single, cast, store):
    admin = Images(single, cast.token("glance", "service"))
    data = os.urandom(OVER_THE_LIMIT)
    image = admin.create(f"copied {uuid.uuid4().hex[:8]}")
    admin.upload(image, data)
    what = {"method": {"name": "copy-image"}, "stores": ["s3"], "all_stores_must_succeed": True}
    admin.ask("POST", f"/images/{image}/import", 202, json=what)
    wait_until(lambda: set(admin.show(image)["stores"].split(",")) == {"swift", "s3"}, "the copy is there", 120)
    s3 = client_of(store.url, *cast.ec2("glance", "service"))
    copy = s3.get_object(Bucket="glance-s3", Key=image)["Body"].read()
    assert hashlib.sha512(copy).hexdigest() == hashlib.sha512(data).hexdigest()
    admin.delete(image)
    assert "Contents" not in s3.list_objects_v2(Bucket="glance-s3", Prefix=image)
