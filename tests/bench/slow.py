#!/usr/bin/env python3
"""Opens a thousand slow connections of each kind against the example server, and prints when they were cut, what they cost and
how long others waited meanwhile.

    tests/bench/slow.py                # takes about four minutes; needs openssl, ss, and `ulimit -n` of 20,000
    tests/bench/slow.py --count 100
"""

import argparse
import asyncio
import contextlib
import pathlib
import tempfile
import time

from ours import HEAD, HTTP, HTTPS, PREFACE, Ours, Visitor, build, fields, frame, trusting

LONGEST = 90


async def silent(reader, writer):
    await reader.read(1)


async def trickling_head(reader, writer):
    for byte in HEAD + b"X: " + b"y" * 200:
        writer.write(bytes([byte]))
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1)
            return


async def trickling_content(reader, writer):
    writer.write(HEAD.replace(b"GET", b"POST") + b"Content-Length: 1000000\r\n\r\n")
    while await reader.read(65536):
        pass


async def idle(reader, writer):
    writer.write(HEAD + b"\r\n")
    while await reader.read(65536):
        pass


async def idle_http2(reader, writer):
    writer.write(PREFACE + frame(1, 5, 1, fields(b"/1k.html")))
    while await reader.read(65536):
        pass


async def stopped_reader(reader, writer):
    writer.write(HEAD.replace(b"1k.html", b"big.bin") + b"\r\n")
    await writer.drain()
    await asyncio.sleep(LONGEST)


async def stopped_reader_http2(reader, writer):
    # Windows as large as can be: what holds the server up is the socket alone.
    writer.write(PREFACE + frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(8, 0, 0, b"\x7f\xff\0\0"))
    writer.write(frame(1, 5, 1, fields(b"/big.bin")))
    await writer.drain()
    await asyncio.sleep(LONGEST)


async def closed_window(reader, writer):
    writer.write(PREFACE + frame(1, 5, 1, fields(b"/big.bin")))
    while await reader.read(65536):
        pass


STOPPED = (stopped_reader, stopped_reader_http2)

# kind, behaviour, port, the protocol if TLS is spoken, the goal in seconds
MODES = [
    ("connect and say nothing", silent, HTTP, None, 10),
    ("stall the TLS handshake", silent, HTTPS, None, 10),
    ("send a head, 1 byte/s", trickling_head, HTTP, None, 15),
    ("send content, slowly", trickling_content, HTTP, None, 30),
    ("idle, HTTP/1.1", idle, HTTP, None, 75),
    ("idle, HTTP/2", idle_http2, HTTPS, "h2", 75),
    ("stop reading", stopped_reader, HTTP, None, 30),
    ("stop reading, over TLS", stopped_reader, HTTPS, "http/1.1", 30),
    ("stop reading, HTTP/2", stopped_reader_http2, HTTPS, "h2", 30),
    ("open no window, HTTP/2", closed_window, HTTPS, "h2", 30),
]


async def slow(behaviour, port, protocol, times):
    limit = 65536 if behaviour not in STOPPED else 1024
    tls = trusting(protocol) if protocol else None
    begun = time.monotonic()
    writer = None
    try:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit, ssl=tls)
            begun = time.monotonic()
            await asyncio.wait_for(behaviour(reader, writer), LONGEST)
        times.append(time.monotonic() - begun)
    finally:
        # Or the kernel would hold what was sent to it beyond the end of its connection.
        if writer:
            writer.transport.abort()




async def mode(server, kind, behaviour, port, protocol, goal, count):
    """All connections of one kind at once. A stopped reader is counted as cut when the server says so."""
    times, before, begun = [], server.count("connections_cut_total"), time.monotonic()
    memory = server.status("RssAnon") + server.unsent()
    with Visitor() as visitor:
        tasks = [asyncio.create_task(slow(behaviour, port, protocol, times)) for _ in range(count)]
        await asyncio.sleep(5)
        cost = (server.status("RssAnon") + server.unsent() - memory) / count
        if behaviour in STOPPED:
            while server.count("connections_cut_total") - before < count and time.monotonic() - begun < LONGEST:
                await asyncio.sleep(0.2)
            times = [time.monotonic() - begun]
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return f"| {kind} | {goal} s | {max(times):.1f} s | {cost:.1f} KiB | {visitor.said()} |"


async def main(folder, count, only):
    server = Ours(folder, build())
    try:
        with Visitor() as visitor:
            await asyncio.sleep(3)
        print(f"| {count} clients that … | goal | last one cut after | memory each | longest wait of others | p99 | visits |")
        print(f"|---|---|---|---|---|---|---|\n| (none) | | | | {visitor.said()} |", flush=True)
        for kind in MODES:
            if only in kind[0]:
                print(await mode(server, *kind, count), flush=True)
        print(f"\npeak memory, mapped files too: {server.status('VmHWM'):,} KiB")
    finally:
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", default="", help="modes whose name holds this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slow-") as folder:
        asyncio.run(main(pathlib.Path(folder), arguments.count, arguments.only))
