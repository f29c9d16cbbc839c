"""Many clients at the same moment, over plain sockets."""

import asyncio
import collections
from urllib.parse import urlsplit


async def one(address, request, ready, go):
    reader, writer = await asyncio.open_connection(*address)
    ready()
    await go.wait()
    writer.write(request)
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def all_of_them(address, request, clients):
    go, waiting = asyncio.Event(), 0

    def ready():
        nonlocal waiting
        waiting += 1
        if waiting == clients:
            go.set()

    return await asyncio.gather(*(one(address, request, ready, go) for _ in range(clients)))


def at_the_same_moment(method, url, headers, clients):
    """Connects `clients` times, then sends the same request on every connection. Returns how often each status came."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    statuses = asyncio.run(all_of_them((parts.hostname, parts.port), request, clients))
    return collections.Counter(statuses)
