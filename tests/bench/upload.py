#!/usr/bin/env python3
"""Uploads over HTTP/2 and TLS through nginx, h2o, Caddy and spothost-server, near and over a long way, and prints how fast that is.

    tests/bench/upload.py                    # needs Debian's nginx, h2o, caddy, curl, openssl, taskset
    tests/bench/upload.py --megabytes 10 --rounds 1 --delay 0 --servers spothost

The way is a TCP proxy that keeps what it is sent for half of the delay in each direction, however much that is: what is measured is the
windows of HTTP/2, not those of TCP. curl uploads a file of noise to an application that says how much has come.
"""

import argparse
import asyncio
import dataclasses
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import large
import servers

RULES = "[app]\nroutes = ['/*']\nbody = '1 GB'\n"


async def carry(reader, writer, delay):
    """Sends what comes so many seconds later."""
    loop, way = asyncio.get_running_loop(), asyncio.Queue()

    async def receive():
        while piece := await reader.read(1 << 18):
            way.put_nowait((loop.time() + delay, piece))
        way.put_nowait((loop.time() + delay, b""))

    receives = asyncio.create_task(receive())
    try:
        while True:
            due, piece = await way.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not piece:
                return
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        receives.cancel()
        writer.close()


def long_way(listening, to, delay):
    """A process that carries connections to a port, with this delay for a round trip."""

    async def accepted(reader, writer):
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(carry(reader, there_writer, delay / 2), carry(there_reader, writer, delay / 2))

    async def serve():
        await (await asyncio.start_server(accepted, sock=listening)).serve_forever()

    os.sched_setaffinity(0, [1])
    asyncio.run(serve())


def upload(server, port, content):
    """Seconds that an upload takes."""
    said = "%{http_code} %{http_version} %{time_total}"
    command = ["curl", "-sk", "--http2", "-X", "POST", "--data-binary", f"@{content}", "-H", "Expect:", "-w", f" {said}"]
    answer = servers.run([*command, f"https://localhost:{port}/upload"]).split()
    if answer[:3] != [str(content.stat().st_size), "200", "2"]:
        sys.exit(f"{server.name}: {answer}")
    return float(answer[3])


def row(started, content, delay):
    cells = []
    for server in started:
        port, way = server.https, None
        if delay:
            listening = servers.socket.create_server(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            way = multiprocessing.Process(target=long_way, args=(listening, server.https, delay / 1000), daemon=True)
            way.start()
            listening.close()
        took = statistics.median(upload(server, port, content) for _ in range(ARGUMENTS.rounds))
        cells.append(f"{took:.2f} s, {content.stat().st_size / took / 1e6:.1f} MB/s")
        if way:
            way.terminate()
    print(f"| {delay} ms | {' | '.join(cells)} |", flush=True)


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=32, help="length of the file")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many uploads is shown")
    parser.add_argument("--delay", type=int, action="append", help="milliseconds of a round trip (default: 0 and 100)")
    parser.add_argument("--servers", action="append", help="a server to run, or NAME=PATH of an example of ours")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    ARGUMENTS = parser.parse_args()
    servers.need("nginx", "h2o", "caddy", "curl", "openssl", "taskset")
    names = ARGUMENTS.servers or servers.PEERS
    program = ARGUMENTS.binary or ("spothost" in names and servers.build())
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        work.chmod(0o755)
        servers.make_identity(work)
        servers.make_package(work, RULES)
        content = work / "content"
        content.write_bytes(os.urandom(ARGUMENTS.megabytes * 1_000_000))
        application = multiprocessing.Process(target=large.application, args=(str(work / "app.sock"),), daemon=True)
        application.start()
        while not (work / "app.sock").exists():
            time.sleep(0.01)
        # nginx has its work done by another account.
        (work / "app.sock").chmod(0o666)
        site = servers.proxied(f"unix:{work}/app.sock")
        site = dataclasses.replace(site, nginx_http=f"{site.nginx_http}\n  client_max_body_size 0;")
        started = []
        try:
            for name in names:
                name, _, path = name.partition("=")
                started.append(servers.start(name, site, work, pathlib.Path(path) if path else program))
            print(f"| round trip | {' | '.join(server.name for server in started)} |")
            print("|---|" + "---|" * len(started))
            for delay in ARGUMENTS.delay or [0, 100]:
                row(started, content, delay)
        finally:
            for server in started:
                server.stop()
            application.kill()


if __name__ == "__main__":
    main()
