"""Starts the servers that benchmarks compare, each serving the same, and tells what they cost; and drives load at them.

A server is pinned to core 0, the load to core 1, and everything is on loopback.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")
PEERS = ["nginx", "h2o", "caddy", "spothost"]
# Debian's packages of the programs that are not called so.
PACKAGES = {"h2load": "nghttp2-client", "taskset": "util-linux", "ss": "iproute2"}


@dataclasses.dataclass
class Site:
    """What is served, in the words of each server's configuration."""

    # Of the `http` and of the `server` block.
    nginx_http: str
    nginx_server: str
    # Of all, and of the path `/`.
    h2o_global: str
    h2o_path: str
    caddy: str
    # Of the example server.
    options: tuple = ()


def proxied(address):
    """Requests are passed to the application at `http://ADDRESS:PORT` or `unix:PATH`, over connections that are kept, WebSockets too."""
    path = address.removeprefix("unix:")
    there = f"unix:{path}" if path != address else address.removeprefix("http://")
    return Site(
        nginx_http=f"""
  keepalive_requests 1000000000;
  map $http_upgrade $switches {{ default upgrade; '' ''; }}
  upstream app {{ server {there}; keepalive 64; keepalive_requests 1000000000; }}""",
        nginx_server="""
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $switches;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_buffers 16 16k;
      proxy_read_timeout 3600s;
    }""",
        h2o_global="proxy.timeout.keepalive: 1000\nproxy.preserve-host: ON\nproxy.websocket: ON",
        h2o_path=f'proxy.reverse.url: "http://{f"[unix:{path}]" if path != address else there}/"',
        caddy=f"reverse_proxy {f'unix/{path}' if path != address else there}",
        options=("--app", address),
    )


class Server:
    """A server that runs on a core, with its two ports."""

    def __init__(self, name, command, http, https, work, environment=None, core=0):
        self.name, self.http, self.https, self.said = name, http, https, work / f"{name}.err"
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**os.environ, **(environment or {})},
            stdout=subprocess.DEVNULL,
            stderr=open(self.said, "wb"),
            start_new_session=True,
        )
        try:
            for port in (http, https):
                self.wait_for(port)
        except SystemExit:
            self.stop()
            raise

    def wait_for(self, port):
        """Until it listens: at a port, or at the path of a Unix socket."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.socket(socket.AF_INET if isinstance(port, int) else socket.AF_UNIX) as stream:
                    stream.connect(("127.0.0.1", port) if isinstance(port, int) else str(port))
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit(f"{self.name} does not listen on {port}:\n{self.said.read_text()}")
                time.sleep(0.05)

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
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(name, site, work, program):
    """A server of `PEERS` that serves the site with one thread; any other name is that of an example server, too."""
    if name not in STARTS:
        return start_ours(work, program, site.options, name=name)
    http, https = free_ports()
    return STARTS[name](site, http, https, work)


def start_nginx(site, http, https, work):
    config = work / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 30000; }}
http {{
  access_log off; {site.nginx_http}
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl http2 backlog=4096;
    ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; {site.nginx_server}
  }}
}}""")
    return Server("nginx", ["nginx", "-p", str(work), "-c", str(config)], http, https, work)


def start_h2o(site, http, https, work):
    config = work / "h2o.conf"
    config.write_text(f"""
num-threads: 1
max-connections: 30000
{site.h2o_global}
hosts:
  default:
    listen: {{ host: 127.0.0.1, port: {http} }}
    paths: {{ "/": {{ {site.h2o_path} }} }}
  "localhost":
    listen: {{ host: 127.0.0.1, port: {https}, ssl: {{ certificate-file: {work}/cert.pem, key-file: {work}/key.pem }} }}
    paths: {{ "/": {{ {site.h2o_path} }} }}
""")
    return Server("h2o", ["h2o", "-c", str(config)], http, https, work)


def start_caddy(site, http, https, work):
    config = work / "Caddyfile"
    config.write_text(f"""
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{http}, http://localhost:{http} {{
  bind 127.0.0.1
  {site.caddy}
}}
https://localhost:{https} {{
  bind 127.0.0.1
  tls {work}/cert.pem {work}/key.pem
  {site.caddy}
}}""")
    environment = {"GOMAXPROCS": "1", "HOME": str(work), "XDG_DATA_HOME": str(work), "XDG_CONFIG_HOME": str(work)}
    return Server("caddy", ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"], http, https, work, environment)


STARTS = {"nginx": start_nginx, "h2o": start_h2o, "caddy": start_caddy}


def start_ours(work, program, options=(), package=None, name="spothost", environment=None, small_disk=None):
    """The example server of the build at `program`; `small_disk` is a folder that is a disk of so many bytes to it alone."""
    http, https = free_ports()
    mount = 'mount -t tmpfs -o "size=$1" none "$0" && shift && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, *map(str, small_disk)] if small_disk else []
    command += [str(program), "--package", str(package or work / "site.zip"), "--http", f"127.0.0.1:{http}",
               "--https", f"127.0.0.1:{https}", "--cert", str(work / "cert.pem"), "--key", str(work / "key.pem"), "--threads", "1",
               "--plain", "--connections-per-address", "30000", *map(str, options)]  # fmt: skip
    return Server(name, command, http, https, work, environment)


def build():
    """The example server, made now."""
    subprocess.run(["cargo", "build", "--locked", "--release", "-p", "spothost-server", "--example", "serve"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "serve"


def need(*programs):
    """Ends with what is missing."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        packages = sorted({PACKAGES.get(program, program) for program in missing})
        sys.exit(f"missing: {' '.join(missing)}; on Debian: apt-get install {' '.join(packages)}")


def free_ports():
    # Both are held until both are known: one that was let go of may be given again.
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def make_identity(work):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", work / "key.pem", "-out", work / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


def make_package(work, rules=None):
    """The package of a site with one file, and with these settings."""
    with zipfile.ZipFile(work / "site.zip", "w") as package:
        package.writestr("static.html", "a file\n")
        if rules:
            package.writestr("site.toml", rules)


def run(command):
    """What a program of the load says, on the load's core."""
    return subprocess.run(["taskset", "-c", "1", *map(str, command)], check=True, capture_output=True, text=True).stdout


def wrk(server, url, seconds, options=()):
    """How many requests 64 connections of HTTP/1.1 were answered."""
    text = run(["wrk", "-t1", "-c64", f"-d{seconds}s", *options, url])
    if "Non-2xx or 3xx responses" in text or "Socket errors" in text:
        sys.exit(f"{server.name}: wrk saw errors:\n{text}")
    return int(re.search(r"(\d+) requests in", text)[1])


def h2load(server, url, seconds, options=()):
    """How many requests 32 connections of HTTP/2 with 16 streams each were answered."""
    text = run(["h2load", "-t1", "-c32", "-m16", "-D", str(seconds), *options, url])
    done = int(re.search(r"(\d+) succeeded", text)[1])
    if int(re.search(r"\d+ failed, (\d+) errored", text)[1]) > 0 or done == 0:
        sys.exit(f"{server.name}: h2load saw errors:\n{text}")
    return done
