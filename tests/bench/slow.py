#!/usr/bin/env python3
"""Opens a thousand slow connections of each kind against the example server, and prints when they were cut and how long
others waited meanwhile.

    tests/bench/slow.py                # takes about 80 seconds; needs openssl, and `ulimit -n` of 20,000
    tests/bench/slow.py --count 100
"""

import argparse
import asyncio
import os
import pathlib
import re
import ssl
import subprocess
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUEST = b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\n"
LONGEST = 90


async def silent(reader, writer):
    return await reader.read(1)


async def trickling_head(reader, writer):
    for byte in REQUEST + b"X: " + b"y" * 200:
        writer.write(bytes([byte]))
        await writer.drain()
        try:
            await asyncio.wait_for(reader.read(1), 1)
            return
        except TimeoutError:
            pass


async def trickling_content(reader, writer):
    writer.write(REQUEST.replace(b"GET", b"POST") + b"Content-Length: 1000000\r\n\r\n")
    while await reader.read(65536):
        pass


async def idle(reader, writer):
    writer.write(REQUEST + b"\r\n")
    while await reader.read(65536):
        pass


async def stopped_reader(reader, writer):
    writer.write(REQUEST.replace(b"1k.html", b"big.bin") + b"\r\n")
    await writer.drain()
    await asyncio.sleep(LONGEST)


# kind, behaviour, whether to the HTTPS port (None), the goal in seconds
MODES = [
    ("connects and says nothing", silent, False, 10),
    ("stalls the TLS handshake", silent, None, 10),
    ("sends a head, 1 byte/s", trickling_head, False, 15),
    ("sends content, slowly", trickling_content, False, 30),
    ("keep-alive, idle", idle, False, 75),
    ("stops reading", stopped_reader, False, 30),
]


async def slow(behaviour, port, times):
    begun = time.monotonic()
    limit = 65536 if behaviour is not stopped_reader else 1024
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
        await asyncio.wait_for(behaviour(reader, writer), LONGEST)
    except (OSError, TimeoutError):
        pass
    times.append(time.monotonic() - begun)


async def probe(port, waits, end):
    """One honest visitor after the other, until the end."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    while not end.is_set():
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(REQUEST + b"Connection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        waits.append(time.monotonic() - begun)
        writer.close()
        await asyncio.sleep(0.1)


async def mode(kind, behaviour, secure, goal, http, https, metrics, count):
    """All connections of one kind at once. A stopped reader is counted as cut when the server says so."""
    times, waits, end = [], [], asyncio.Event()
    prober = asyncio.create_task(probe(https, waits, end))
    before = cut(await counters(metrics))
    begun = time.monotonic()
    port = https if secure is None else http
    tasks = [asyncio.create_task(slow(behaviour, port, times)) for _ in range(count)]
    if behaviour is stopped_reader:
        while cut(await counters(metrics)) - before < count and time.monotonic() - begun < LONGEST:
            await asyncio.sleep(0.2)
        times = [time.monotonic() - begun]
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    end.set()
    await prober
    return f"| {kind} | {goal} s | {max(times):.1f} s | {max(waits) * 1000:.0f} ms of {len(waits)} |"


async def counters(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


def cut(text):
    return int(re.search(r"spothost_connections_cut_total (\d+)", text)[1])


async def main(folder, count):
    with zipfile.ZipFile(folder / "site.zip", "w") as package:
        package.writestr("1k.html", b"x" * 1024)
        package.writestr("big.bin", b"y" * (32 << 20))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)  # fmt: skip
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    http, https, metrics = 18180, 18543, 19190
    server = await asyncio.create_subprocess_exec(
        target / "release" / "examples" / "serve", "--package", folder / "site.zip", "--cert", folder / "cert.pem", "--key",
        folder / "key.pem", "--http", f"127.0.0.1:{http}", "--https", f"127.0.0.1:{https}", "--metrics", f"127.0.0.1:{metrics}",
        "--plain", "--connections-per-address", "20000", stdout=subprocess.DEVNULL)  # fmt: skip
    await asyncio.sleep(1)
    print(f"| {count} clients that … | goal | last one cut after | longest wait of others |\n|---|---|---|---|")
    for kind in MODES:
        print(await mode(*kind, http, https, metrics, count), flush=True)
    memory = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{server.pid}/status").read_text())[1]
    print(f"\npeak memory, mapped files too: {int(memory):,} KiB")
    server.send_signal(2)
    await server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "spothost-server", "--example", "serve"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="slow-") as folder:
        asyncio.run(main(pathlib.Path(folder), arguments.count))
