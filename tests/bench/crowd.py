#!/usr/bin/env python3
"""What a crowd and an attack cost the example server, and how long others wait meanwhile.

    tests/bench/crowd.py               # about two minutes; needs openssl, ss, and `ulimit -n` of 20,000
    tests/bench/crowd.py --idle 1000 --seconds 1

First so many idle connections, then, beside them, each HTTP/2 flood from ten connections, then a server that runs out of file
descriptors.
"""

import argparse
import contextlib
import pathlib
import socket
import tempfile
import threading
import time

from ours import HEAD, HTTP, HTTPS, PREFACE, Ours, Visitor, build, fields, frame, trusting


def get(stream, request=HEAD + b"\r\n"):
    stream.sendall(request)
    received = b""
    while b"xxxx" not in received:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError("closed instead of an answer")
        received += piece
    return stream


def reset(count):
    return frame(1, 5, 1 + 2 * count, fields(b"/big.bin")) + frame(3, 0, 1 + 2 * count, b"\0\0\0\x08")


def made_to_reset(count):
    return frame(1, 5, 1 + 2 * count, fields(b"/big.bin")) + frame(8, 0, 1 + 2 * count, bytes(4))


def continuation(count):
    return frame(9, 0, 1, b"\0\x01xd" + b"y" * 100) if count else frame(1, 1, 1, fields(b"/1k.html"))


def bomb(count):
    first = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 if count == 0 else b""
    return frame(1, 5, 1 + 2 * count, fields(b"/1k.html") + first + b"\xbe" * 8000)


def greedy(count):
    """Asks for what must be inflated, with windows wide open, and reads nothing."""
    wide = frame(4, 0, 0, b"\0\x04\x7f\xff\xff\xff") + frame(8, 0, 0, b"\x7f\0\0\0") if count == 0 else b""
    return wide + (frame(1, 5, 1 + 2 * count, fields(b"/deflated.txt")) if count < 100 else b"")


FLOODS = [
    ("rapid reset", reset),
    ("made you reset", made_to_reset),
    ("CONTINUATION", continuation),
    ("HPACK bomb", bomb),
    ("PING", lambda count: frame(6, 0, 0, count.to_bytes(8, "big"))),
    ("SETTINGS", lambda count: frame(4, 0, 0, b"\0\x04\0\x01\0\0")),
    ("empty frames", lambda count: frame(0xEE, 0, 0)),
    ("inflating, never reading", greedy),
]


def flood(make, end):
    """Sends what `make` makes until the end; a connection that is closed is replaced by a new one."""
    context = trusting("h2")
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            plain = socket.create_connection(("127.0.0.1", HTTPS), 1)
            with context.wrap_socket(plain) as stream:
                stream.sendall(PREFACE)
                count = 0
                while time.monotonic() < end:
                    stream.sendall(b"".join(make(number) for number in range(count, count + 50)))
                    count += 50


def floods(server, seconds):
    print("\n| flood from 10 connections | memory more than before | longest wait of others | p99 | visits |\n|---|---|---|---|---|")
    for name, make in FLOODS:
        before, peak, end = server.status("RssAnon"), 0, time.monotonic() + seconds
        threads = [threading.Thread(target=flood, args=(make, end)) for _ in range(10)]
        with Visitor() as visitor:
            for thread in threads:
                thread.start()
            while time.monotonic() < end:
                peak = max(peak, server.status("RssAnon"))
                time.sleep(0.05)
            for thread in threads:
                thread.join()
        print(f"| {name} | {(peak - before) / 1024:.1f} MiB | {visitor.said()} |", flush=True)


def crowd(server, count, seconds):
    with Visitor() as alone:
        time.sleep(seconds)
    before = server.status("RssAnon")
    held = [get(socket.create_connection(("127.0.0.1", HTTP))) for _ in range(count)]
    time.sleep(1)
    with Visitor() as beside:
        time.sleep(seconds)
    each = (server.status("RssAnon") - before) / max(count, 1)
    print("| beside | memory each | longest wait of others | p99 | visits |\n|---|---|---|---|---|")
    print(f"| nobody | | {alone.said()} |\n| {count:,} idle | {each:.1f} KiB | {beside.said()} |", flush=True)
    return held


def large_heads(server, count=2_000):
    """What is kept of heads that are too large, after their connections are closed."""
    request = HEAD + b"X: " + b"y" * 40_000 + b"\r\n\r\n"
    for again in range(2):
        before = server.status("RssAnon")
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", HTTP)) as stream, contextlib.suppress(OSError):
                stream.sendall(request)
                assert stream.recv(65536).startswith(b"HTTP/1.1 431")
    time.sleep(1)
    print(f"\nkept after {count:,} more heads of 40 KB: {server.status('RssAnon') - before} KiB")


def exhaustion(folder, binary):
    """A server with 200 file descriptors, and 400 clients who want them."""
    server = Ours(folder, binary, files=200)
    try:
        held = [socket.create_connection(("127.0.0.1", HTTP)) for _ in range(400)]
        time.sleep(0.5)
        before = server.cpu()
        time.sleep(2)
        busy = (server.cpu() - before) / 2
        for stream in held:
            stream.close()
        begun = time.monotonic()
        get(socket.create_connection(("127.0.0.1", HTTP), 30)).close()
        print(f"\nwithout file descriptors: {busy:.0%} of a core busy; back {time.monotonic() - begun:.2f} s after they are free")
    finally:
        server.stop()


def main(folder, arguments):
    binary = arguments.binary or build()
    server = Ours(folder, binary)
    try:
        held = crowd(server, arguments.idle, arguments.seconds)
        floods(server, arguments.seconds)
        kept = len(held)
        print(f"\nbeside {kept:,} idle: {server.status('RssAnon') / 1024:.0f} MiB anonymous, peak with mapped files "
              f"{server.status('VmHWM') / 1024:.0f} MiB")  # fmt: skip
        for stream in held:
            stream.close()
        large_heads(server)
    finally:
        server.stop()
    exhaustion(folder, binary)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--seconds", type=int, default=5, help="length of each flood")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        main(pathlib.Path(folder), arguments)
