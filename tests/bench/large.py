#!/usr/bin/env python3
"""Passes large content through the example server, each way, and prints the memory and the disk that it takes; then fills the disk.

    tests/bench/large.py                    # three minutes; needs openssl, taskset and unshare (Debian's util-linux)
    tests/bench/large.py --gigabytes 1 --binary target/release/examples/serve

Memory is what no file backs (RssAnon), looked at every 10 ms; disk is what the server's files without a name take. Where content is
not streamed, one address may have 512 MiB on disk: a larger upload is refused, and a larger response waits for its client.
"""

import argparse
import multiprocessing
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading
import time

import servers

PIECE = 1 << 20
SMALL_DISK = 8 << 20
RULES = "[app]\nstream = ['/stream/*']\nbody = '20 GB'\n"


def head(stream):
    """A head, and what came behind it; none at the end."""
    came = b""
    while b"\r\n\r\n" not in came:
        piece = stream.recv(65536)
        if not piece:
            return None, b""
        came += piece
    top, _, rest = came.partition(b"\r\n\r\n")
    return top.decode(), rest


def taken(stream, length, rest=b""):
    """How many bytes of so many come."""
    came, room = len(rest), memoryview(bytearray(PIECE))
    while came < length:
        read = stream.recv_into(room[: min(PIECE, length - came)])
        if not read:
            break
        came += read
    return came


def length_of(top):
    return int(re.search(r"(?i)content-length: (\d+)", top)[1])


def application(path):
    """Takes what is uploaded and says how much it was; sends as many bytes as the path's last segment says."""
    os.sched_setaffinity(0, [1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(100)

    def serve(stream):
        with stream:
            top, rest = head(stream)
            while top:
                if top.startswith("POST"):
                    chunked = "transfer-encoding: chunked" in top.lower()
                    said = str(dechunked(stream, rest) if chunked else taken(stream, length_of(top), rest)).encode()
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
                else:
                    left, piece = int(top.split(" ")[1].rsplit("/", 1)[1]), b"y" * PIECE
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
                    while left:
                        left -= stream.send(piece[: min(PIECE, left)])
                top, rest = head(stream)

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def dechunked(stream, rest):
    """How much content the chunks have that come."""
    count, file = 0, stream.makefile("rb", PIECE)
    while True:
        while b"\r\n" not in rest:
            rest += file.read1(65536)
        line, _, rest = rest.partition(b"\r\n")
        left = int(line, 16)
        count += left
        left += 2
        now = min(left, len(rest))
        rest, left = rest[now:], left - now
        while left:
            left -= len(file.read1(min(left, PIECE)))
        if line == b"0":
            return count


class Watch:
    """The most memory and disk that a server takes meanwhile."""

    def __init__(self, server, folder):
        self.server, self.folder, self.memory, self.disk, self.over = server, str(folder), 0, 0, threading.Event()
        self.before = server.memory()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(0.01):
            self.memory = max(self.memory, self.server.memory())
            self.disk = max(self.disk, sum(map(self.on_disk, pathlib.Path(f"/proc/{self.server.process.pid}/fd").iterdir())))

    def on_disk(self, descriptor):
        try:
            return os.stat(descriptor).st_blocks * 512 if os.readlink(descriptor).startswith(self.folder) else 0
        except OSError:
            return 0

    def said(self):
        self.over.set()
        self.thread.join()
        return f"{(self.memory - self.before) / 1024:.1f} MiB | {self.disk >> 20} MiB"


def up(server, path, length):
    """What comes of an upload: its status, and how much the application says has come."""
    with socket.create_connection(("127.0.0.1", server.http)) as stream:
        stream.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        left, piece = length, b"x" * PIECE
        try:
            while left:
                left -= stream.send(piece[: min(PIECE, left)])
        except OSError:
            # Refused meanwhile.
            pass
        return answered(stream)


def answered(stream):
    top, rest = head(stream)
    while len(rest) < length_of(top):
        rest += stream.recv(PIECE)
    return int(top.split(" ")[1]), rest.decode().strip(), top


def down(server, path, length):
    with socket.create_connection(("127.0.0.1", server.http)) as stream:
        stream.sendall(f"GET {path}/{length} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        top, rest = head(stream)
        return int(top.split(" ")[1]), str(taken(stream, length, rest)), top


def row(server, folder, said, pass_, path, length, status):
    watch, begun = Watch(server, folder), time.monotonic()
    try:
        got, came, top = pass_(server, path, length)
    finally:
        cost = watch.said()
    took = time.monotonic() - begun
    if got != status or (status == 200 and int(came) != length):
        sys.exit(f"{said}: {got}, {came} of {length} bytes: {top}")
    error = re.search(r"(?i)proxy-status: .*error=(\S+)", top)
    print(f"| {said} | {got}{f', {error[1]}' if error else ''} | {cost} | {took:.0f} s |", flush=True)


def filled(server):
    """The disk is full: the uploads that it has no room for are refused, and others are answered meanwhile."""
    waits, over = [], threading.Event()

    def visit():
        while not over.is_set():
            begun = time.monotonic()
            got, came, _ = up(server, "/small", 1000)
            waits.append((time.monotonic() - begun, got == 200 and came == "1000"))

    visitor = threading.Thread(target=visit)
    visitor.start()
    refused = [up(server, "/large", 4 * SMALL_DISK)[::2] for _ in range(20)]
    over.set()
    visitor.join()
    fine = up(server, "/large", SMALL_DISK // 2)
    errors = {(status, re.search(r"(?i)proxy-status: .*error=(\S+)", top)[1]) for status, top in refused}
    waits.sort()
    print(f"\nwith a disk of {SMALL_DISK >> 20} MiB, 20 uploads of {4 * SMALL_DISK >> 20} MiB: {errors}; meanwhile {len(waits)} others, "
          f"{sum(not good for _, good in waits)} failed, longest wait {waits[-1][0] * 1e3:.0f} ms; then {SMALL_DISK // 2 >> 20} MiB: {fine[0]}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=int, default=10)
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    arguments = parser.parse_args()
    servers.need("openssl", "taskset", "unshare")
    program = arguments.binary or servers.build()
    os.sched_setaffinity(0, [1])
    with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
        work = pathlib.Path(work)
        servers.make_identity(work)
        servers.make_package(work, RULES)
        spill = work / "spill"
        spill.mkdir()
        app = multiprocessing.Process(target=application, args=(f"{work}/app.sock",), daemon=True)
        app.start()
        options, environment = ("--app", f"unix:{work}/app.sock"), {"TMPDIR": str(spill)}
        server = servers.start_ours(work, program, options, environment=environment)
        try:
            much = arguments.gigabytes * 1_000_000_000
            print("| | answer | most memory more than before | most on disk | time |\n|---|---|---|---|---|")
            row(server, spill, f"{arguments.gigabytes} GB up, streamed", up, "/stream/up", much, 200)
            row(server, spill, f"{arguments.gigabytes} GB down, streamed", down, "/stream", much, 200)
            row(server, spill, "500 MB up", up, "/up", 500_000_000, 200)
            row(server, spill, f"{arguments.gigabytes} GB up", up, "/up", much, 503 if much > 512 << 20 else 200)
            row(server, spill, f"{arguments.gigabytes} GB down", down, "/down", much, 200)
        finally:
            server.stop()
        server = servers.start_ours(work, program, options, environment=environment, small_disk=(spill, SMALL_DISK))
        try:
            filled(server)
        finally:
            server.stop()
            app.kill()


if __name__ == "__main__":
    main()
