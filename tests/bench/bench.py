#!/usr/bin/env python3
"""Serves the same files with nginx, h2o, Caddy and spothost-server, and prints what a request costs each of them.

    tests/bench/bench.py                     # everything; needs Debian's nginx, h2o, caddy, wrk, nghttp2-client, curl, openssl
    tests/bench/bench.py --rounds 1 --seconds 2 --only 'h2'

The server is pinned to core 0, the load to core 1, everything is on loopback. CPU time per request (user and system, of all
processes of a server, from /proc/PID/stat) is the figure to trust; requests per second stand beside it. Before anything is
measured, every server must answer with the same bytes.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
PEERS = ["nginx", "h2o", "caddy", "spothost"]
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


class Server:
    """A server that runs on core 0, with its two ports."""

    def __init__(self, name, command, http, https, environment=None):
        self.name, self.http, self.https = name, http, https
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=open(WORK / f"{name}.err", "wb"),
            start_new_session=True,
        )
        try:
            for port in (http, https):
                wait_for(port, self)
        except SystemExit:
            self.stop()
            raise

    def pids(self):
        """This server's processes: the one that was started, and its children."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        return found

    def cpu(self):
        """Seconds of CPU used so far by all processes."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def memory(self):
        """KiB of resident memory that is not a mapped file, of all processes."""
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"RssAnon:\s+(\d+)", status)[1])
        return total

    def url(self, protocol, target):
        return f"http://127.0.0.1:{self.http}{target}" if protocol == "http" else f"https://localhost:{self.https}{target}"

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait_for(port, server):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline or server.process.poll() is not None:
                sys.exit(f"{server.name} does not listen on {port}:\n{(WORK / (server.name + '.err')).read_text()}")
            time.sleep(0.05)


def free_ports():
    # Both are held until both are known: one that was let go of may be given again.
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


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


def make_identity():
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", WORK / "key.pem", "-out", WORK / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


def start(name, files, threads=1):
    http, https = free_ports()
    cert, key = WORK / "cert.pem", WORK / "key.pem"
    if name == "nginx":
        config = WORK / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes {threads}; pid {WORK}/nginx.pid; error_log {WORK}/nginx.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 20000; }}
http {{
  include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on; gzip_static on; gzip_vary on;
  keepalive_requests 1000000000; open_file_cache max=1000; etag on;
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl http2 backlog=4096; root {files};
    ssl_certificate {cert}; ssl_certificate_key {key};
  }}
}}""")
        return Server(name, ["nginx", "-p", str(WORK), "-c", str(config)], http, https)
    if name == "h2o":
        config = WORK / "h2o.conf"
        config.write_text(f"""
num-threads: {threads}
max-connections: 20000
file.send-compressed: ON
hosts:
  default:
    listen: {{ host: 127.0.0.1, port: {http} }}
    paths: {{ "/": {{ file.dir: {files} }} }}
  "localhost":
    listen: {{ host: 127.0.0.1, port: {https}, ssl: {{ certificate-file: {cert}, key-file: {key} }} }}
    paths: {{ "/": {{ file.dir: {files} }} }}
""")
        return Server(name, ["h2o", "-c", str(config)], http, https)
    if name == "caddy":
        config = WORK / "Caddyfile"
        config.write_text(f"""
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{http}, http://localhost:{http} {{
  root * {files}
  file_server {{
    precompressed gzip
  }}
}}
https://localhost:{https} {{
  tls {cert} {key}
  root * {files}
  file_server {{
    precompressed gzip
  }}
}}""")
        environment = {"GOMAXPROCS": str(threads), "HOME": str(WORK), "XDG_DATA_HOME": str(WORK), "XDG_CONFIG_HOME": str(WORK)}
        return Server(name, ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"], http, https, environment)
    if name == "before":
        return start_ours(WORK / "site.zip", http, https, threads, program=ARGUMENTS.before)
    return start_ours(WORK / "site.zip", http, https, threads)


def start_ours(package, http, https, threads=1, more=(), program=None):
    command = [str(program or binary()), "--package", str(package), "--http", f"127.0.0.1:{http}", "--https", f"127.0.0.1:{https}",
               "--cert", str(WORK / "cert.pem"), "--key", str(WORK / "key.pem"), "--threads", str(threads), "--plain",
               "--connections-per-address", "20000", *more]  # fmt: skip
    if ARGUMENTS.access:
        command += ["--access", str(WORK / "access.log")]
    return Server("before" if program else "spothost", command, http, https)


def binary():
    if ARGUMENTS.binary:
        return ARGUMENTS.binary
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "serve"


def fetch(server, protocol, target, coded):
    command = ["curl", "-sk", "--http2" if protocol == "h2" else "--http1.1", server.url(protocol, target)]
    command += ["-H", "Accept-Encoding: gzip"] if coded else []
    return subprocess.run(command, check=True, capture_output=True).stdout


def check(servers, files):
    """Every server answers every workload with the same bytes."""
    for _, protocol, target, coded in WORKLOADS:
        expected = (files / (target[1:] + (".gz" if coded else ""))).read_bytes()
        for server in servers:
            got = fetch(server, "https" if protocol == "handshake" else protocol, target, coded)
            if got != expected:
                sys.exit(f"{server.name} answers {protocol} {target} with other bytes ({len(got)} instead of {len(expected)})")


def load(server, protocol, target, coded):
    """Requests answered within the time, and the seconds it took."""
    headers = ["-H", "Accept-Encoding: gzip"] if coded else []
    url = server.url(protocol, target)
    if protocol == "h2":
        command = ["h2load", "-t1", "-c32", "-m16", "-D", str(ARGUMENTS.seconds), *headers, url]
        text = run(command)
        failed = re.search(r"(\d+) failed, (\d+) errored", text)
        done = int(re.search(r"(\d+) succeeded", text)[1])
        if int(failed[2]) > 0 or done == 0:
            sys.exit(f"{server.name}: h2load saw errors:\n{text}")
        return done
    if protocol == "handshake":
        return handshakes(url)
    text = run(["wrk", "-t1", "-c64", f"-d{ARGUMENTS.seconds}s", *headers, url])
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if bad or "Socket errors" in text:
        sys.exit(f"{server.name}: wrk saw errors:\n{text}")
    return int(re.search(r"(\d+) requests in", text)[1])


def handshakes(url):
    """One request on each connection. Not with wrk, which resumes its sessions."""
    done, end = 0, time.monotonic() + ARGUMENTS.seconds
    while time.monotonic() < end:
        text = run(["h2load", "--h1", "-t1", "-n200", "-c200", url])
        done += int(re.search(r"(\d+) succeeded", text)[1])
        if not re.search(r" 0 failed, 0 errored", text):
            sys.exit(f"h2load saw errors:\n{text}")
    return done


def run(command):
    return subprocess.run(["taskset", "-c", "1", *command], check=True, capture_output=True, text=True).stdout


def measure(server, workload):
    """Microseconds of CPU per request, and requests per second."""
    _, protocol, target, coded = workload
    before, begun = server.cpu(), time.monotonic()
    requests = load(server, protocol, target, coded)
    took = time.monotonic() - begun
    return (server.cpu() - before) / requests * 1e6, requests / took


def table(files):
    names = [name for name in PEERS + ["before"] * bool(ARGUMENTS.before) if re.search(ARGUMENTS.servers, name)]
    servers = []
    try:
        for name in names:
            servers.append(start(name, files))
        check(servers, files)
        rest = {server.name: server.memory() for server in servers}
        ratios = ["ours / best peer"] + ["ours / before"] * ("before" in names)
        print(f"| workload | {' | '.join(names + ratios)} |")
        print("|---|" + "---|" * len(names + ratios))
        for workload in WORKLOADS:
            if re.search(ARGUMENTS.only, workload[0]):
                row(servers, workload)
        print("\n| memory, KiB (anonymous) | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        print("| at rest | " + " | ".join(str(rest[name]) for name in names) + " |")
        print("| after the load | " + " | ".join(str(server.memory()) for server in servers) + " |")
    finally:
        for server in servers:
            server.stop()


def row(servers, workload):
    """One line of the table: the rounds go around the servers, so that a busy moment hits all of them."""
    results = {server.name: [] for server in servers}
    for _ in range(ARGUMENTS.rounds):
        for server in servers:
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
        http, https = free_ports()
        server = start_ours(package, http, https)
        try:
            text = opened(package)
            memory = server.memory()
            cpu, _ = measure(server, ("", "http", "/1k.html", False))
            print(f"| {count:,} | {text[0]} | {text[1]} | {cpu:.1f} µs | {memory:,} KiB |", flush=True)
        finally:
            server.stop()


def opened(package):
    """What the server says of how long opening and verifying took."""
    command = [str(binary()), "--package", str(package), "--http", "127.0.0.1:0", "--https", "127.0.0.1:0",
               "--cert", str(WORK / "cert.pem"), "--key", str(WORK / "key.pem")]  # fmt: skip
    process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.wait()
    return re.search(r"files in (\S+), verified them in (\S+)", line).groups()


def main():
    missing = [tool for tool in ("nginx", "h2o", "caddy", "wrk", "h2load", "curl", "openssl", "taskset") if not shutil.which(tool)]
    if missing:
        sys.exit(f"missing: {' '.join(missing)}; on Debian: apt-get install nginx h2o caddy wrk nghttp2-client curl openssl util-linux")
    if not ARGUMENTS.binary:
        subprocess.run(["cargo", "build", "--release", "-p", "spothost-server", "--example", "serve"], cwd=ROOT, check=True)
    make_identity()
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
