#!/usr/bin/env python3
"""Whether the agent lives within the memory that its unit allows it.

    sudo tests/bench/memory.py PROGRAM [--idle 3000] [--stopped 200] [--mib 1024] [--limit 320]

Serves a package of so many MiB with `spothost up` in a memory control group of that limit (MiB), first read whole by several
visitors at once, then beside so many idle TLS connections and so many readers that stop in the middle of a large file. Prints
what the kernel counted, and fails where it had to kill. Needs root.
"""

import argparse
import itertools
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")
PORT = 18443


class Group:
    """A memory control group, of either version of the kernel's interface."""

    def __init__(self, limit):
        self.first = (V1 / "memory.limit_in_bytes").exists()
        self.path = (V1 if self.first else V2) / "spothost-memory"
        self.path.mkdir(exist_ok=True)
        self.write("memory.limit_in_bytes" if self.first else "memory.max", limit << 20)

    def write(self, name, value):
        (self.path / name).write_text(str(value))

    def stat(self):
        pairs = (line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        return {key: int(value) for key, value in pairs}

    def mib(self, first, second):
        return self.stat()[first if self.first else second] / (1 << 20)

    def peak(self):
        name = "memory.max_usage_in_bytes" if self.first else "memory.peak"
        return int((self.path / name).read_text()) / (1 << 20)

    def kills(self):
        lines = (self.path / ("memory.oom_control" if self.first else "memory.events")).read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
MADE = itertools.count()


def connected():
    """From an address of which there are few others: the agent allows each 1,024."""
    source = (f"127.0.{next(MADE) // 500 % 250 + 1}.1", 0)
    return CONTEXT.wrap_socket(socket.create_connection(("127.0.0.1", PORT), 60, source), server_hostname="localhost")


def fetch(path):
    stream = connected()
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    count = 0
    while piece := stream.recv(1 << 16):
        count += len(piece)
    return count


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program")
    for name, default in (("idle", 3000), ("stopped", 200), ("mib", 1024), ("limit", 320)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, max(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        site = pathlib.Path(folder, "site.zip")
        with zipfile.ZipFile(site, "w") as package, open("/dev/urandom", "rb") as noise:
            package.writestr("index.html", "<!doctype html><title>memory</title>")
            for number in range(given.mib // 16):
                package.writestr(f"{number}.bin", noise.read(16 << 20))
        group = Group(given.limit)

        def joins():
            group.write("cgroup.procs", "0")

        agent = subprocess.Popen(
            [given.program, "up", site, "--https", f"127.0.0.1:{PORT}", "--http", "127.0.0.1:18080", "--state-dir", f"{folder}/state"],
            preexec_fn=joins, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            measure(given, group, agent)
        finally:
            agent.kill()
            agent.wait()
            time.sleep(0.2)
            group.path.rmdir()


def measure(given, group, agent):
    until = time.monotonic() + 120
    while True:
        try:
            if fetch("/") > 0:
                break
        except OSError:
            if time.monotonic() > until or agent.poll() is not None:
                raise
            time.sleep(0.2)
    tell = lambda what: print(f"{what:<58}{group.mib('rss', 'anon'):>8.1f} MiB of its own, {group.mib('cache', 'file'):>7.1f} of files", flush=True)
    tell("serving")
    readers = [threading.Thread(target=lambda one=one: [fetch(f"/{n}.bin") for n in range(one, given.mib // 16, 4)]) for one in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    tell(f"{given.mib} MiB read whole by four visitors")
    idle = [connected() for _ in range(given.idle)]
    tell(f"beside {given.idle} idle TLS connections")
    stopped = []
    for number in range(given.stopped):
        stream = connected()
        stream.sendall(f"GET /{number % (given.mib // 16)}.bin HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stopped.append(stream)
    time.sleep(2)
    tell(f"and {given.stopped} readers that stopped")
    print(f"at most {group.peak():.0f} of {given.limit} MiB, the files of the package among them; killed {group.kills()} times")
    answered = fetch("/") > 0 and agent.poll() is None
    del idle, stopped
    if group.kills() or not answered:
        sys.exit("it did not live within the limit")


if __name__ == "__main__":
    main()
