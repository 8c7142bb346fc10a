#!/usr/bin/env python3
"""Serves the same files with nginx, h2o, Caddy and spothost-server, and prints what a request costs each of them.

    tests/bench/bench.py                     # everything; needs Debian's nginx, h2o, caddy, wrk, nghttp2-client, curl, openssl
    tests/bench/bench.py --rounds 1 --seconds 2 --only 'h2'

The server is pinned to core 0, the load to core 1, everything is on loopback. CPU time per request (user and system, of all
processes of a server, from /proc/PID/stat) is the figure to trust; requests per second stand beside it. Before anything is
measured, every server must answer with the same bytes.
"""

import argparse
import pathlib
import random
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib

import servers
from servers import Site

#   name, protocol, target, gzip: 64 connections for HTTP/1.1, 32 with 16 streams each for HTTP/2
WORKLOADS = [
    ("h1, 1 KB", "http", "/1k.html", False),
    ("h1, 22 KB gzip", "http", "/page.html", True),
    ("h1, 1 MB", "http", "/1m.bin", False),
    ("h1+TLS, 1 KB", "https", "/1k.html", False),
    ("h1+TLS, 22 KB gzip", "https", "/page.html", True),
    ("h1+TLS, 1 MB", "https", "/1m.bin", False),
    ("h2, 1 KB", "h2", "/1k.html", False),
    ("h2, 22 KB gzip", "h2", "/page.html", True),
    ("h2, 1 MB", "h2", "/1m.bin", False),
    ("full TLS handshake + 1 request", "handshake", "/1k.html", False),
]


def make_files():
    """The document root, with .gz files for the peers, and the same as a package for ours, without them."""
    files = WORK / "files"
    files.mkdir()
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(4000)]
    contents = {"1k.html": b"<p>" + b"x" * 1017 + b"</p>", "1m.bin": chance.randbytes(1 << 20)}
    text = ""
    while len(zlib.compress(text.encode())) < 22 * 1024:
        text += " ".join(chance.choices(words, k=60)) + "\n"
    contents["page.html"] = text.encode()
    with zipfile.ZipFile(WORK / "site.zip", "w") as package:
        for name, content in contents.items():
            (files / name).write_bytes(content)
            method = zipfile.ZIP_DEFLATED if name == "page.html" else zipfile.ZIP_STORED
            info = zipfile.ZipInfo(name, (2026, 11, 21, 12, 0, 0))
            if ARGUMENTS.aligned and len(content) >= 1 << 16:
                info.extra = padding(package.fp.tell() + 30 + len(name))
            package.writestr(info, content, method, 6)
    # The same deflate stream for everybody, so that the answers are the same bytes.
    (files / "page.html.gz").write_bytes(reframed(WORK / "site.zip", "page.html"))
    return files


def padding(start):
    """An extra field (0xd935, as zipalign writes it) after which the next byte begins a page."""
    length = -(start + 4) % 4096
    return b"\x35\xd9" + length.to_bytes(2, "little") + bytes(length)


def reframed(path, name):
    """The entry as it lies, between gzip's header and trailer."""
    with zipfile.ZipFile(path) as package:
        info = package.getinfo(name)
    raw = path.read_bytes()
    start = info.header_offset + 30 + int.from_bytes(raw[info.header_offset + 26 : info.header_offset + 28], "little")
    start += int.from_bytes(raw[info.header_offset + 28 : info.header_offset + 30], "little")
    stream = raw[start : start + info.compress_size]
    trailer = info.CRC.to_bytes(4, "little") + (info.file_size % (1 << 32)).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stream + trailer


def site(files):
    """The document root, as each server is told of it."""
    return Site(
        nginx_http="""
  include /etc/nginx/mime.types; sendfile on; tcp_nopush on; gzip_static on; gzip_vary on;
  keepalive_requests 1000000000; open_file_cache max=1000; etag on;""",
        nginx_server=f"root {files};",
        h2o_global="file.send-compressed: ON",
        h2o_path=f"file.dir: {files}",
        caddy=f"root * {files}\n  file_server {{\n    precompressed gzip\n  }}",
        options=("--access", WORK / "access.log") if ARGUMENTS.access else (),
    )


def start(name, files):
    program = ARGUMENTS.before if name == "before" else ARGUMENTS.binary
    return servers.start(name, site(files), WORK, program)


def fetch(server, protocol, target, coded):
    command = ["curl", "-sk", "--http2" if protocol == "h2" else "--http1.1", server.url(protocol, target)]
    command += ["-H", "Accept-Encoding: gzip"] if coded else []
    return subprocess.run(command, check=True, capture_output=True).stdout


def check(started, files):
    """Every server answers every workload with the same bytes."""
    for _, protocol, target, coded in WORKLOADS:
        expected = (files / (target[1:] + (".gz" if coded else ""))).read_bytes()
        for server in started:
            got = fetch(server, "https" if protocol == "handshake" else protocol, target, coded)
            if got != expected:
                sys.exit(f"{server.name} answers {protocol} {target} with other bytes ({len(got)} instead of {len(expected)})")


def load(server, protocol, target, coded):
    """Requests answered within the time."""
    headers = ["-H", "Accept-Encoding: gzip"] if coded else []
    url = server.url(protocol, target)
    if protocol == "handshake":
        return handshakes(url)
    return (servers.h2load if protocol == "h2" else servers.wrk)(server, url, ARGUMENTS.seconds, headers)


def handshakes(url):
    """One request on each connection. Not with wrk, which resumes its sessions."""
    done, end = 0, time.monotonic() + ARGUMENTS.seconds
    while time.monotonic() < end:
        text = servers.run(["h2load", "--h1", "-t1", "-n200", "-c200", url])
        done += int(re.search(r"(\d+) succeeded", text)[1])
        if not re.search(r" 0 failed, 0 errored", text):
            sys.exit(f"h2load saw errors:\n{text}")
    return done


def measure(server, workload):
    """Microseconds of CPU per request, and requests per second."""
    _, protocol, target, coded = workload
    before, begun = server.cpu(), time.monotonic()
    requests = load(server, protocol, target, coded)
    took = time.monotonic() - begun
    return (server.cpu() - before) / requests * 1e6, requests / took


def table(files):
    names = [name for name in servers.PEERS + ["before"] * bool(ARGUMENTS.before) if re.search(ARGUMENTS.servers, name)]
    started = []
    try:
        for name in names:
            started.append(start(name, files))
        check(started, files)
        rest = {server.name: server.memory() for server in started}
        ratios = ["ours / best peer"] + ["ours / before"] * ("before" in names)
        print(f"| workload | {' | '.join(names + ratios)} |")
        print("|---|" + "---|" * len(names + ratios))
        for workload in WORKLOADS:
            if re.search(ARGUMENTS.only, workload[0]):
                row(started, workload)
        print("\n| memory, KiB (anonymous) | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        print("| at rest | " + " | ".join(str(rest[name]) for name in names) + " |")
        print("| after the load | " + " | ".join(str(server.memory()) for server in started) + " |")
    finally:
        for server in started:
            server.stop()


def row(started, workload):
    """One line of the table: the rounds go around the started, so that a busy moment hits all of them."""
    results = {server.name: [] for server in started}
    for _ in range(ARGUMENTS.rounds):
        for server in started:
            results[server.name].append(measure(server, workload))
    median = {name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in results.items()}
    cells = [f"{cpu:.1f} µs ({rate:,.0f}/s)" for cpu, rate in median.values()]
    peers = [cpu for name, (cpu, _) in median.items() if name not in ("spothost", "before")]
    ratios = [f"{median['spothost'][0] / min(peers):.2f}" if peers and "spothost" in median else ""]
    if "before" in median and "spothost" in median:
        # Of each round, as both ran in it: what the machine did meanwhile is out of it, and the spread tells the noise.
        each = sorted(ours / older for (ours, _), (older, _) in zip(results["spothost"], results["before"]))
        ratios.append(f"{statistics.median(each):.3f} ({each[0]:.3f} to {each[-1]:.3f})")
    print(f"| {workload[0]} | {' | '.join(cells + ratios)} |", flush=True)


def idle(files):
    """Memory per idle connection."""
    count = 10_000
    print(f"\n| KiB per idle connection, {count:,} of them | HTTP/1.1 | HTTP/1.1 over TLS | HTTP/2 |\n|---|---|---|---|")
    for name in [name for name in ("nginx", "spothost") if re.search(ARGUMENTS.servers, name)]:
        cells = []
        for protocol in ("http", "https", "h2"):
            server = start(name, files)
            try:
                before = server.memory()
                held = [connect(server, protocol) for _ in range(count)]
                # A connection is idle once it has waited for a moment.
                time.sleep(3)
                cells.append(f"{(server.memory() - before) / count:.1f}")
                del held
            finally:
                server.stop()
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def connect(server, protocol):
    """A connection that asked once and is kept open."""
    stream = socket.create_connection(("127.0.0.1", server.http if protocol == "http" else server.https))
    if protocol != "http":
        stream = (HTTP2 if protocol == "h2" else TRUSTING).wrap_socket(stream, server_hostname="localhost")
    stream.sendall(HTTP2_REQUEST if protocol == "h2" else b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"</p>" not in received:
        piece = stream.recv(65536)
        if not piece:
            sys.exit(f"{server.name} closed a connection instead of answering: {received!r}")
        received += piece
    return stream


# The preface, empty settings, and GET /1k.html of localhost in the fields of HPACK's static table and two literals.
HTTP2_FIELDS = b"\x82\x87\x04\x08/1k.html\x41\x09localhost"
HTTP2_REQUEST = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + b"\0\0\0\x04\0\0\0\0\0"
    + len(HTTP2_FIELDS).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + HTTP2_FIELDS
)  # fmt: skip


def growth():
    """What the size of a package does to opening and to a request."""
    print("\n| files in the package | open | verify | h1, 1 KB | anonymous memory |\n|---|---|---|---|---|")
    for count in (10, 1_000, 100_000):
        package = WORK / f"{count}.zip"
        with zipfile.ZipFile(package, "w") as zipped:
            zipped.writestr("1k.html", b"<p>" + b"x" * 1017 + b"</p>")
            for number in range(count - 1):
                zipped.writestr(f"folder-{number % 100}/page-{number}.html", f"page {number}\n" * 10, zipfile.ZIP_DEFLATED)
        server = servers.start_ours(WORK, ARGUMENTS.binary, package=package)
        try:
            text = opened(package)
            memory = server.memory()
            cpu, _ = measure(server, ("", "http", "/1k.html", False))
            print(f"| {count:,} | {text[0]} | {text[1]} | {cpu:.1f} µs | {memory:,} KiB |", flush=True)
        finally:
            server.stop()


def opened(package):
    """What the server says of how long opening and verifying took."""
    command = [str(ARGUMENTS.binary), "--package", str(package), "--http", "127.0.0.1:0", "--https", "127.0.0.1:0",
               "--cert", str(WORK / "cert.pem"), "--key", str(WORK / "key.pem")]  # fmt: skip
    process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.wait()
    return re.search(r"files in (\S+), verified them in (\S+)", line).groups()


def main():
    servers.need("nginx", "h2o", "caddy", "wrk", "h2load", "curl", "openssl", "taskset")
    ARGUMENTS.binary = ARGUMENTS.binary or servers.build()
    servers.make_identity(WORK)
    files = make_files()
    if "table" in ARGUMENTS.parts:
        table(files)
    if "idle" in ARGUMENTS.parts:
        idle(files)
    if "growth" in ARGUMENTS.parts:
        growth()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many rounds is shown")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--only", default="", help="regular expression: workloads to run")
    parser.add_argument("--servers", default="", help="regular expression: servers to run")
    parser.add_argument("--parts", nargs="+", default=["table", "idle", "growth"], choices=["table", "idle", "growth"])
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    parser.add_argument("--before", type=pathlib.Path, help="an older build of the example, as one more server beside this one")
    parser.add_argument("--aligned", action="store_true", help="long stored entries begin with a page, as zipalign -p puts them")
    parser.add_argument("--access", action="store_true", help="ours writes an access log meanwhile")
    ARGUMENTS = parser.parse_args()
    TRUSTING = ssl.create_default_context()
    HTTP2 = ssl.create_default_context()
    HTTP2.set_alpn_protocols(["h2"])
    for context in (TRUSTING, HTTP2):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        WORK = pathlib.Path(folder)
        # nginx gives its workers to another user.
        WORK.chmod(0o755)
        main()
