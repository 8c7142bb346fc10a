#!/usr/bin/env python3
"""What an application's other visitors wait while a crowd uploads and reads slowly: gunicorn with two sync workers behind
spothost-server, nginx and Caddy.

    tests/bench/crowd_app.py                # needs Debian's nginx and caddy, openssl; gunicorn as tests/setup installs it
    tests/bench/crowd_app.py --uploaders 1000 --readers 1000 --seconds 10

Each slow uploader sends 16 bytes a second of a POST of 1 KB; each slow reader takes 1 KB a second of a response of 256 KB. Meanwhile
four visitors ask for a small page, one request after the other, each on a connection of its own that is kept. Shown are the median and
the 99th percentile of their waits, how many of their requests failed, and the memory of the proxy's processes before and at the end.
"""

import argparse
import asyncio
import os
import pathlib
import re
import statistics
import tempfile
import time

import servers

APPLICATION = """
def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"].read(length)
    body = b"x" * (262144 if environ["PATH_INFO"] == "/large" else 1024)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


async def upload(port):
    try:
        reads, writes = await asyncio.open_connection("127.0.0.1", port)
        writes.write(b"POST /up HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1024\r\n\r\n")
        while True:
            writes.write(b"x" * 16)
            await writes.drain()
            await asyncio.sleep(1)
    except OSError:
        pass


async def read(port):
    try:
        reads, writes = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writes.write(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while await reads.read(1024):
            await asyncio.sleep(1)
    except OSError:
        pass


async def visit(port, until, waits, failed):
    while time.monotonic() < until:
        try:
            reads, writes = await asyncio.open_connection("127.0.0.1", port)
            while time.monotonic() < until:
                begun = time.monotonic()
                writes.write(b"GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                head = await asyncio.wait_for(reads.readuntil(b"\r\n\r\n"), 10)
                await asyncio.wait_for(reads.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1])), 10)
                if b" 200 " not in head.split(b"\r\n")[0] or b"1024" not in head:
                    failed.append(head)
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(0.005)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            failed.append(error)
            waits.append(10)


async def crowd(server):
    slow = []
    for number in range(max(ARGUMENTS.uploaders, ARGUMENTS.readers)):
        if number < ARGUMENTS.uploaders:
            slow.append(asyncio.create_task(upload(server.http)))
        if number < ARGUMENTS.readers:
            slow.append(asyncio.create_task(read(server.http)))
        if number % 20 == 0:
            await asyncio.sleep(0.02)
    await asyncio.sleep(3)
    waits, failed, until = [], [], time.monotonic() + ARGUMENTS.seconds
    await asyncio.gather(*(visit(server.http, until, waits, failed) for _ in range(4)))
    memory = server.memory()
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    return waits, failed, memory


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploaders", type=int, default=1000)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--servers", default="", help="regular expression: proxies to run")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    home = pathlib.Path(os.environ.get("SPOTHOST_TEST_HOME", pathlib.Path.home() / ".cache/spothost/test-tools"))
    parser.add_argument("--python", type=pathlib.Path, default=home / "apps/bin/python", help="a Python with gunicorn")
    ARGUMENTS = parser.parse_args()
    servers.need("nginx", "caddy", "openssl", "taskset")
    program = ARGUMENTS.binary or servers.build()
    print("| proxy | median | 99th percentile | requests | failed | memory, KiB, before | with the crowd |\n|---|---|---|---|---|---|---|")
    for name in [name for name in ["spothost", "nginx", "caddy"] if re.search(ARGUMENTS.servers, name)]:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            work.chmod(0o755)
            servers.make_identity(work)
            (work / "app.py").write_text(APPLICATION)
            servers.make_package(work)
            port, _ = servers.free_ports()
            command = [str(ARGUMENTS.python), "-m", "gunicorn", "--chdir", str(work), "--bind", f"127.0.0.1:{port}", "--workers", "2",
                       "--timeout", "300", "--backlog", "2048", "app:application"]  # fmt: skip
            app = servers.Server("gunicorn", command, port, port, work)
            server = None
            try:
                server = servers.start(name, servers.proxied(f"http://127.0.0.1:{port}"), work, program)
                before = server.memory()
                waits, failed, memory = asyncio.run(crowd(server))
                waits.sort()
                median, late = statistics.median(waits) * 1e3, waits[int(len(waits) * 0.99)] * 1e3
                print(f"| {name} | {median:.1f} ms | {late:.1f} ms | {len(waits)} | {len(failed)} | {before} | {memory} |", flush=True)
            finally:
                if server:
                    server.stop()
                app.stop()


if __name__ == "__main__":
    main()
