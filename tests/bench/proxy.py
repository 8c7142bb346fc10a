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

import servers

#   name, protocol, target, method
WORKLOADS = [
    ("h1, 1 KB", "http", "/app/1k.html", "GET"),
    ("h1, 100 KB", "http", "/app/100k.bin", "GET"),
    ("h1, POST 1 KB", "http", "/app/post", "POST"),
    ("h2+TLS, 1 KB", "h2", "/app/1k.html", "GET"),
]


class Application(servers.Server):
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
        super().__init__("application", ["nginx", "-p", str(work), "-c", str(config)], self.socket, self.socket, work, core=1)


def check(started):
    """Every proxy passes every workload with the same bytes."""
    for _, protocol, target, method in WORKLOADS:
        answers = {}
        for server in started:
            command = ["curl", "-sk", "--http2" if protocol == "h2" else "--http1.1", "-X", method, server.url(protocol, target)]
            command += ["--data-binary", "x" * 1024] if method == "POST" else []
            answers[server.name] = subprocess.run(command, check=True, capture_output=True).stdout
        if len(set(answers.values())) != 1 or b"" in answers.values():
            sys.exit(f"{method} {target}: the answers differ: { {name: len(answer) for name, answer in answers.items()} }")


def load(server, protocol, target, method):
    url = server.url(protocol, target)
    if method == "GET":
        return (servers.h2load if protocol == "h2" else servers.wrk)(server, url, ARGUMENTS.seconds)
    script = WORK / "post.lua"
    script.write_text("wrk.method = 'POST'\nwrk.body = string.rep('x', 1024)\nwrk.headers['Content-Type'] = 'text/plain'\n")
    return servers.wrk(server, url, ARGUMENTS.seconds, ["-s", script])


def measure(server, workload):
    _, protocol, target, method = workload
    before = server.cpu()
    requests = load(server, protocol, target, method)
    return (server.cpu() - before) / requests * 1e6


def row(started, workload):
    found = {server.name: [] for server in started}
    for number in range(ARGUMENTS.rounds):
        # Each round in another order, so that nothing that changes meanwhile favours one.
        for server in started[number % len(started) :] + started[: number % len(started)]:
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
    global ARGUMENTS, WORK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many rounds is shown")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round")
    parser.add_argument("--only", default="", help="regular expression: workloads to run")
    parser.add_argument("--servers", default="", help="regular expression: proxies to run")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    ARGUMENTS = parser.parse_args()
    servers.need("nginx", "h2o", "caddy", "wrk", "h2load", "curl", "openssl", "taskset")
    program = ARGUMENTS.binary or servers.build()
    with tempfile.TemporaryDirectory() as work:
        WORK = work = pathlib.Path(work)
        work.chmod(0o755)
        servers.make_identity(work)
        servers.make_package(work)
        application, started = Application(work), []
        try:
            for name in [name for name in servers.PEERS if re.search(ARGUMENTS.servers, name)]:
                started.append(servers.start(name, servers.proxied(f"unix:{application.socket}"), work, program))
            check(started)
            names = [server.name for server in started]
            print(f"| workload | {' | '.join(names)} | ours / best peer |")
            print("|---|" + "---|" * (len(names) + 1))
            for workload in WORKLOADS:
                if re.search(ARGUMENTS.only, workload[0]):
                    row(started, workload)
        finally:
            for server in started:
                server.stop()
            application.stop()


if __name__ == "__main__":
    main()
