#!/usr/bin/env python3
"""Makes the test vectors beside this file with OpenStack Swift's own code, and checks that Swift opens our files.

    python3 -m venv /tmp/swift && /tmp/swift/bin/pip install swift==2.38.3
    /tmp/swift/bin/python ring/tests/vectors/generate.py            # writes NAME.ring.gz and NAME.json
    cargo run -q -p martlet-ring --example rewrite < NAME.ring.gz > ours.ring.gz
    /tmp/swift/bin/python ring/tests/vectors/generate.py --check ours.ring.gz NAME.ring.gz

Each NAME.json holds what Swift answers for NAME.ring.gz: the partition of some paths under a hash prefix and suffix, and
the primaries and the whole order of handoffs of some (in small rings: all) partitions. Only device ids are written down.
Each NAME.builder.json holds what Swift says of NAME.builder.
Rings are made by Swift's builder with fixed seeds, except for the synthetic ones, whose tables a formula gives: shapes
that the builder makes rarely or slowly.
"""

import array
import contextlib
import copy
import gzip
import json
import os
import struct
import sys

import swift.common.ring.utils
import swift.common.utils
from swift.common.ring import Ring, RingBuilder, RingData

HERE = os.path.dirname(os.path.abspath(__file__))

PATHS = [
    ("AUTH_test", None, None),
    ("AUTH_test", "photos", None),
    ("AUTH_test", "photos", "2026/11/martlet.jpg"),
    ("AUTH_test", "photos", "with space and %41"),
    ("AUTH_tëst", "фото", "птица/🐦"),
    ("AUTH_test", "c", "/leading//slashes/"),
    ("SERVICE_x", "c" * 256, "o" * 1024),
] + [("AUTH_many", "container-%d" % (n % 7), "object-%d" % n) for n in range(60)]


def device(number, region, zone, ip, weight, **more):
    base = {"region": region, "zone": zone, "ip": ip, "port": 6200 + number % 4, "device": "d%d" % number,
            "weight": weight}
    base.update(more)
    return base


def built(part_power, replicas, devices, seed, changes=()):
    """A ring of Swift's builder; `changes` are calls on it, each followed by a rebalance."""
    builder = RingBuilder(part_power, replicas, 0)
    for one in devices:
        builder.add_dev(dict(one))
    builder.rebalance(seed=seed)
    for change in changes:
        change(builder)
        builder.pretend_min_part_hours_passed()
        builder.rebalance(seed=seed)
    return builder.get_ring()


def synthetic(part_power, devices, rows, formula, type_code="H"):
    """A ring whose table is `formula(replica, partition)` for rows of the given lengths."""
    table = [array.array(type_code, (formula(replica, part) for part in range(length)))
             for replica, length in enumerate(rows)]
    slots = [dict(one, id=number) if one else None for number, one in enumerate(devices)]
    return RingData(table, slots, 32 - part_power, version=7)


def regions():
    """Two and a half regions: two of several zones and servers, one of a single server."""
    devices = []
    for region, zones in ((1, 3), (2, 2), (3, 1)):
        for zone in range(1, zones + 1):
            for server in range(1, 3 if region < 3 else 2):
                for _ in range(3):
                    number = len(devices)
                    ip = "10.%d.%d.%d" % (region, zone, server)
                    devices.append(device(number, region, zone, ip, 50.0 + 25 * (number % 4),
                                          replication_ip="192.168.%d.%d" % (zone, server),
                                          replication_port=6300, meta="räck %d" % region))
    return devices


def zones(count=5, per_zone=3):
    return [device(n, 1, n % count, "10.0.0.%d" % (n % (2 * count)), 100.0) for n in range(count * per_zone)]


def with_holes(builder):
    for number in (0, 4, 9, 14):
        builder.remove_dev(number)


def drained(builder):
    builder.set_dev_weight(3, 0)
    builder.set_dev_weight(7, 12.5)


def new_region(builder):
    builder.add_dev(device(90, 9, 9, "10.9.9.9", 0.0))
    builder.add_dev(device(91, 8, 1, "10.8.8.8", 300.0))


def wide_slots():
    """Device ids that do not fit into two bytes."""
    slots = [None] * 70000
    for n in range(12):
        slots[n * 6300 + 500] = device(n, n % 2, n % 4, "10.0.1.%d" % n, 1.0)
    return slots


def rings():
    """name -> (ring data, file version, prefix, suffix)"""
    four = [device(n, 1, 1, "127.0.0.1", 1.0, port=6201 + n) for n in range(4)]
    big = [device(n, 1 + n % 2, n % 6, "10.1.0.%d" % (n % 12), 1.0) for n in range(24)]
    wide_ids = [n for n, one in enumerate(wide_slots()) if one]
    return {
        "four": (built(4, 3, four, 1), 1, "", "changeme"),
        "one-partition": (built(0, 2, four, 1), 1, "", "endcap"),
        "prefix-only": (built(6, 3, zones(), 2), 1, "start", ""),
        "zones": (built(8, 3, zones(), 3), 1, "pré", "fixé"),
        "weights": (built(8, 3, [device(n, 1, n % 4, "10.0.%d.1" % (n % 4), float(1 + n * n)) for n in range(12)], 4),
                    1, "a", "b"),
        "regions": (built(10, 3, regions(), 5), 1, "prefix", "suffix"),
        "regions-v2": (built(10, 3, regions(), 5), 2, "prefix", "suffix"),
        "holes": (built(8, 3, zones(), 6, [with_holes]), 1, "", "holes"),
        "drained": (built(7, 2, zones(), 7, [drained, new_region]), 1, "x", ""),
        "fractional": (built(8, 3.25, regions(), 8), 1, "", "quarter"),
        "fractional-v2": (built(8, 2.6, zones(4, 2), 9, [with_holes_small]), 2, "", "most"),
        "next-power": (built(5, 3, zones(), 10, [lambda b: b.prepare_increase_partition_power()]), 1, "", "next"),
        "erasure": (built(6, 9, regions(), 11), 1, "", "nine"),
        "doubled": (synthetic(6, zones(3, 2), [64, 64, 64, 20], lambda r, p: (p * (1 + r % 2)) % 5), 1, "", "twice"),
        "strides": (synthetic(18, big, [1 << 18, 1 << 18, 70001],
                              lambda r, p: (p // 4096 + 5 * r + 7 * (p // 32768)) % 22), 1, "s", "t"),
        "wide-v2": (synthetic(7, wide_slots(), [128, 128, 50],
                              lambda r, p: wide_ids[(p * 5 + r * 3) % 12], "I"), 2, "", "wide"),
    }


def builders():
    """name -> builder: fresh, grown, about to lose devices, after a change of the partition power, with long ids"""
    fresh = RingBuilder(6, 3, 24)
    for one in regions():
        fresh.add_dev(dict(one))
    grown = RingBuilder(6, 3.25, 1)
    for one in regions():
        grown.add_dev(dict(one))
    grown.set_overload(0.1)
    grown.rebalance(seed=21)
    grown.pretend_min_part_hours_passed()
    with_holes(grown)
    grown.rebalance(seed=22)
    leaving = RingBuilder.from_dict(copy.deepcopy(grown.to_dict()))
    leaving._id = None
    leaving.remove_dev(5)
    leaving.remove_dev(6)
    leaving.set_dev_weight(7, 33.5)
    doubled = RingBuilder(5, 2, 1)
    for one in zones():
        doubled.add_dev(dict(one))
    doubled.rebalance(seed=23)
    doubled.prepare_increase_partition_power()
    doubled.increase_partition_power()
    wide = RingBuilder(4, 3, 1)
    for one in zones():
        wide.add_dev(dict(one))
    wide.rebalance(seed=24)
    wide.set_dev_id_bytes(4)
    return {"fresh": fresh, "grown": grown, "leaving": leaving, "doubled": doubled, "wide": wide}


def builder_answers(builder):
    found = {name: getattr(builder, name) for name in (
        "id", "part_power", "next_part_power", "replicas", "min_part_hours", "overload", "version", "devs_changed",
        "dev_id_bytes", "dispersion")}
    found["removed"] = sorted(one["id"] for one in builder._remove_devs)
    found["devices"] = [one and {key: value for key, value in one.items() if key not in ("parts", "parts_wanted")}
                        for one in builder.devs]
    found["parts"] = [one["parts"] if one else 0 for one in builder.devs]
    found["rows"] = [list(row) for row in builder._replica2part2dev or []]
    found["balance"] = builder.get_balance()
    found["required_overload"] = builder.get_required_overload()
    report = swift.common.ring.utils.dispersion_report(builder, verbose=True) if builder._dispersion_graph else None
    found["report"] = [[name, tier["placed_parts"], tier["dispersion"], tier["max_replicas"], tier["replicas"]]
                       for name, tier in report["graph"]] if report else []
    return found


def write_builders():
    for name, builder in builders().items():
        path = os.path.join(HERE, name + ".builder")
        builder.save(path)
        with open(os.path.join(HERE, name + ".builder.json"), "w", encoding="utf-8") as out:
            json.dump(builder_answers(RingBuilder.load(path)), out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")


def with_holes_small(builder):
    builder.remove_dev(2)


def big_endian(source, target):
    """The file of a machine with the other byte order, with keys that very old or very new rings have or lack."""
    ring = RingData.load(source)
    devices = [None if one is None else
               {key: value for key, value in one.items() if not key.startswith("replication") and key != "meta"}
               for one in ring.devs]
    text = json.dumps({"byteorder": "big", "devs": devices, "part_shift": ring._part_shift, "a_new_key": [1],
                       "replica_count": len(ring._replica2part2dev_id)}).encode()
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as out:
        out.write(struct.pack("!4sHI", b"R1NG", 1, len(text)) + text)
        for row in ring._replica2part2dev_id:
            row.byteswap()
            out.write(row.tobytes())


@contextlib.contextmanager
def salted(prefix, suffix):
    module = swift.common.utils
    before = module.HASH_PATH_PREFIX, module.HASH_PATH_SUFFIX
    module.HASH_PATH_PREFIX, module.HASH_PATH_SUFFIX = prefix.encode(), suffix.encode()
    try:
        yield
    finally:
        module.HASH_PATH_PREFIX, module.HASH_PATH_SUFFIX = before


def answers(path, prefix, suffix):
    with salted(prefix, suffix):
        ring = Ring(path)
        count = ring.partition_count
        # Handoffs of the large ring take Swift long.
        wanted = 128 if count < 1 << 16 else 12
        parts = range(count) if count <= wanted else sorted({(n * 2654435761) % count for n in range(wanted - 1)} | {0})
        return {
            "prefix": prefix,
            "suffix": suffix,
            "part_power": ring.part_power,
            "replica_count": ring.replica_count,
            "version": ring.version,
            "next_part_power": ring.next_part_power,
            "devices": [one for one in ring.devs if one],
            "paths": [[*names, ring.get_part(*names)] for names in PATHS],
            "partitions": [[part, [node["id"] for node in ring.get_part_nodes(part)],
                            [node["id"] for node in ring.get_more_nodes(part)]] for part in parts],
        }


def write(name, prefix, suffix):
    found = answers(os.path.join(HERE, name + ".ring.gz"), prefix, suffix)
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as out:
        json.dump(found, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


def check(ours, theirs):
    """Fails when Swift does not open `ours`, or does not see the same ring in it as in `theirs`."""
    left, right = RingData.load(ours).to_dict(), RingData.load(theirs).to_dict()
    for key in right:
        if left[key] != right[key]:
            sys.exit("%s: %s differs from %s" % (ours, key, theirs))
    print("Swift sees the same ring in both files")


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(*sys.argv[2:])
    if sys.argv[1:2] == ["--builders"]:
        return write_builders()
    for name, (ring, version, prefix, suffix) in rings().items():
        ring.save(os.path.join(HERE, name + ".ring.gz"), format_version=version)
        write(name, prefix, suffix)
    big_endian(os.path.join(HERE, "holes.ring.gz"), os.path.join(HERE, "big-endian.ring.gz"))
    write("big-endian", "", "holes")
    write_builders()


if __name__ == "__main__":
    main()
