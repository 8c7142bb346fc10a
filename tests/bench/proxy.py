#!/usr/bin/env python3
"""Passes requests to the same application with nginx, h2o, Caddy and spothost-server, and prints what a request costs each of them.

    tests/bench/proxy.py                     # needs Debian's nginx, h2o, caddy, wrk, nghttp2-client, curl, openssl
    tests/bench/proxy.py --rounds 1 --seconds 2 --only 'POST'

The proxy is pinned to core 0; the load and the application (nginx behind a Unix socket) to core 1. CPU time per request of the
proxy's processes is the figure to trust. Before anything is measured, each proxy must pass the same bytes.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import zipfile

import bench

PEERS = ["nginx", "h2o", "caddy", "spothost"]
#   name, protocol, target, method
WORKLOADS = [
    ("h1, 1 KB", "http", "/app/1k.html", "GET"),
    ("h1, 100 KB", "http", "/app/100k.bin", "GET"),
    ("h1, POST 1 KB", "http", "/app/post", "POST"),
    ("h2+TLS, 1 KB", "h2", "/app/1k.html", "GET"),
]


class Application(bench.Server):
    """nginx behind a Unix socket: files, and an answer to POST. It shares the load's core."""

    def __init__(self, work):
        files = work / "files" / "app"
        files.mkdir(parents=True)
        (files / "1k.html").write_bytes(b"<p>" + b"x" * 1017 + b"</p>")
        (files / "100k.bin").write_bytes(bytes(range(256)) * 400)
        self.socket = work / "app.sock"
        config = work / "app.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {work}/app.pid; error_log {work}/app.log;
events {{ worker_connections 4000; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 60s; open_file_cache max=100;
  client_body_buffer_size 64k; default_type text/html;
  server {{
    listen unix:{self.socket} backlog=4096; root {files.parent};
    location /app/post {{ client_body_in_single_buffer on; return 200 "thank you\\n"; }}
  }}
}}""")
        self.name = "application"
        self.process = subprocess.Popen(["taskset", "-c", "1", "nginx", "-p", str(work), "-c", str(config)], start_new_session=True)


def start(name, work, application):
    http, https = bench.free_ports()
    cert, key, to = work / "cert.pem", work / "key.pem", application.socket
    if name == "nginx":
        config = work / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 4000; }}
http {{
  access_log off; keepalive_requests 1000000000;
  upstream app {{ server unix:{to}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl http2 backlog=4096;
    ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_buffers 16 16k;
    }}
  }}
}}""")
        return bench.Server(name, ["nginx", "-p", str(work), "-c", str(config)], http, https)
    if name == "h2o":
        config = work / "h2o.conf"
        config.write_text(f"""
num-threads: 1
proxy.timeout.keepalive: 1000
proxy.preserve-host: ON
hosts:
  default:
    listen: {{ host: 127.0.0.1, port: {http} }}
    paths: {{ "/": {{ proxy.reverse.url: "http://[unix:{to}]/" }} }}
  "localhost":
    listen: {{ host: 127.0.0.1, port: {https}, ssl: {{ certificate-file: {cert}, key-file: {key} }} }}
    paths: {{ "/": {{ proxy.reverse.url: "http://[unix:{to}]/" }} }}
""")
        return bench.Server(name, ["h2o", "-c", str(config)], http, https)
    if name == "caddy":
        config = work / "Caddyfile"
        config.write_text(f"""
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{http}, http://localhost:{http} {{
  reverse_proxy unix/{to}
}}
https://localhost:{https} {{
  tls {cert} {key}
  reverse_proxy unix/{to}
}}""")
        environment = {"GOMAXPROCS": "1", "HOME": str(work), "XDG_DATA_HOME": str(work), "XDG_CONFIG_HOME": str(work)}
        return bench.Server(name, ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"], http, https, environment)
    with zipfile.ZipFile(work / "site.zip", "w") as package:
        package.writestr("static.html", "a file\n")
    return bench.start_ours(work / "site.zip", http, https, more=("--app", f"unix:{to}"))


def check(servers):
    """Every proxy passes every workload with the same bytes."""
    for _, protocol, target, method in WORKLOADS:
        answers = {}
        for server in servers:
            command = ["curl", "-sk", "--http2" if protocol == "h2" else "--http1.1", "-X", method, server.url(protocol, target)]
            command += ["--data-binary", "x" * 1024] if method == "POST" else []
            answers[server.name] = subprocess.run(command, check=True, capture_output=True).stdout
        if len(set(answers.values())) != 1 or b"" in answers.values():
            sys.exit(f"{method} {target}: the answers differ: { {name: len(answer) for name, answer in answers.items()} }")


def load(server, protocol, target, method):
    if method == "GET":
        return bench.load(server, protocol, target, False)
    script = bench.WORK / "post.lua"
    script.write_text(f"wrk.method = 'POST'\nwrk.body = string.rep('x', 1024)\nwrk.headers['Content-Type'] = 'text/plain'\n")
    text = bench.run(["wrk", "-t1", "-c64", f"-d{bench.ARGUMENTS.seconds}s", "-s", str(script), server.url(protocol, target)])
    if re.search(r"Non-2xx or 3xx responses: (\d+)", text) or "Socket errors" in text:
        sys.exit(f"{server.name}: wrk saw errors:\n{text}")
    return int(re.search(r"(\d+) requests in", text)[1])


def measure(server, workload):
    _, protocol, target, method = workload
    before = server.cpu()
    requests = load(server, protocol, target, method)
    return (server.cpu() - before) / requests * 1e6


def row(servers, workload):
    found = {server.name: [] for server in servers}
    for number in range(bench.ARGUMENTS.rounds):
        # Each round in another order, so that nothing that changes meanwhile favours one.
        for server in servers[number % len(servers) :] + servers[: number % len(servers)]:
            found[server.name].append(measure(server, workload))
    medians = {name: statistics.median(costs) for name, costs in found.items()}
    cells = [f"{cost:.1f} µs" for cost in medians.values()]
    others = [name for name in medians if name != "spothost"]
    if "spothost" in medians and others:
        best = min(others, key=medians.get)
        ratios = [ours / other for ours, other in zip(found["spothost"], found[best])]
        cells.append(f"{medians['spothost'] / medians[best]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"| {workload[0]} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many rounds is shown")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--only", default="", help="regular expression: workloads to run")
    parser.add_argument("--servers", default="", help="regular expression: proxies to run")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    bench.ARGUMENTS = parser.parse_args()
    bench.ARGUMENTS.access = False
    if not bench.ARGUMENTS.binary:
        subprocess.run(["cargo", "build", "--locked", "--release", "-p", "spothost-server", "--example", "serve"], cwd=bench.ROOT, check=True)
    with tempfile.TemporaryDirectory() as work:
        bench.WORK = work = pathlib.Path(work)
        work.chmod(0o755)
        bench.make_identity()
        application, servers = Application(work), []
        try:
            for name in [name for name in PEERS if re.search(bench.ARGUMENTS.servers, name)]:
                servers.append(start(name, work, application))
            check(servers)
            names = [server.name for server in servers]
            print(f"| workload | {' | '.join(names)} | ours / best peer |")
            print("|---|" + "---|" * (len(names) + 1))
            for workload in WORKLOADS:
                if re.search(bench.ARGUMENTS.only, workload[0]):
                    row(servers, workload)
        finally:
            for server in servers:
                server.stop()
            application.stop()


if __name__ == "__main__":
    main()
