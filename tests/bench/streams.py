#!/usr/bin/env python3
"""What event streams, WebSockets and requests that wait cost a proxy: memory each, time to the first byte, and CPU of a message.

    tests/bench/streams.py                  # five minutes; needs Debian's nginx, h2o, caddy, openssl, iproute2, 20,100 open files
    tests/bench/streams.py --parts events --servers spothost --count 1000

The proxy is pinned to core 0, the clients and the application to core 1. Its memory is what no file backs (RssAnon), of all its processes.

* events: each of so many event streams has had one event and waits. Another one, on its own connection, says every 20 ms when it was
  written: shown is the time until the client has it, over HTTP/1.1 and over HTTP/2 with TLS.
* tunnels: so many WebSockets that say nothing; then 100 whose client stops reading what the application goes on sending.
* messages: 64 WebSockets with a message of 32 bytes each on its way to the application, which sends it back.
* held: 1,000 requests that wait for an application which is down, without content and with 60 KB.
"""

import argparse
import asyncio
import base64
import hashlib
import multiprocessing
import os
import pathlib
import re
import resource
import ssl
import statistics
import sys
import tempfile
import time

import servers

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OPENING = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")  # fmt: skip
# A masked text frame of 32 bytes, and what comes back of it: the application sends back what it was sent.
MESSAGE = b"\x81\xa0\0\0\0\0" + b"x" * 32
EVERY = 0.02
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"


class Application(asyncio.Protocol):
    """Event streams and WebSockets, by the path that is asked for."""

    head = b""
    answer = None

    def connection_made(self, transport):
        self.transport = transport
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def connection_lost(self, error):
        if self.answer:
            self.answer.cancel()

    def data_received(self, data):
        if self.head is None:
            self.transport.write(data)
            return
        self.head += data
        if not self.head.endswith(b"\r\n\r\n"):
            return
        head, self.head = self.head.decode(), b"" if b"upgrade: websocket" not in self.head.lower() else None
        path = head.split(" ")[1]
        if self.head is None:
            key = re.search(r"(?i)sec-websocket-key: (\S+)", head)[1] + GUID
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.transport.write(f"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if path != "/quiet":
            self.answer = asyncio.create_task({"/event": self.event, "/clock": self.clock, "/flood": self.flood}[path]())

    def chunk(self, text):
        self.transport.write(f"{len(text):x}\r\n{text}\r\n".encode())

    async def event(self):
        self.chunk("data: here\n\n")

    async def clock(self):
        while True:
            await asyncio.sleep(EVERY)
            self.chunk(f"data: {time.monotonic():.7f}\n\n")

    async def flood(self):
        while True:
            await self.writable.wait()
            self.transport.write(b"\x82\x7e\x0f\xa0" + bytes(4000))
            await asyncio.sleep(0)


def application(path, files):
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    os.sched_setaffinity(0, [1])

    async def serve():
        server = await asyncio.get_running_loop().create_unix_server(Application, path, backlog=4096)
        os.chmod(path, 0o666)
        await server.serve_forever()

    asyncio.run(serve())


def trusting(protocol):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


async def connected(server, number=0, protocol=None, limit=1 << 16):
    """A connection from an address of its own for each 200, as a proxy bounds what one address has."""
    tls = {"ssl": trusting(protocol), "server_hostname": "localhost"} if protocol else {}
    local = (f"127.0.{1 + number // 40_000}.{1 + number // 200 % 200}", 0)
    port = server.https if protocol else server.http
    return await asyncio.open_connection("127.0.0.1", port, local_addr=local, limit=limit, **tls)


async def opened(server, number, path, more="", until=b"\r\n\r\n", **options):
    reads, writes = await connected(server, number, **options)
    writes.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    came = await asyncio.wait_for(reads.readuntil(until), 30)
    status = came.split(b" ")[1]
    if status not in (b"200", b"101"):
        sys.exit(f"{server.name} answers {path} with {came!r}")
    return reads, writes


async def idle(server, count, path, more="", until=b"\r\n\r\n"):
    """KiB of each of so many connections that have asked for the path and say nothing."""
    before = server.memory()
    held = [await opened(server, number, path, more, until) for number in range(count)]
    await asyncio.sleep(3)
    each = (server.memory() - before) / count
    return each, held


async def dropped(server, held):
    for _, writes in held:
        writes.transport.abort()
    await asyncio.sleep(1)


async def events(server):
    each, held = await idle(server, ARGUMENTS.count or 5_000, "/event", until=b"data: here\n\n\r\n")
    one = await lateness_http1(server)
    two = await lateness_http2(server)
    await dropped(server, held)
    print(f"| {server.name} | {each:.1f} KiB | {said(one)} | {said(two)} |", flush=True)


def said(waits):
    waits = sorted(waits)
    return f"{statistics.median(waits) * 1e3:.2f}, {waits[int(len(waits) * 0.99)] * 1e3:.2f}, {waits[-1] * 1e3:.2f} ms"


def late(text):
    """How old the events in it are."""
    now = time.monotonic()
    return [now - float(written) for written in re.findall(rb"data: (\d+\.\d+)\n", text)]


async def directly(path):
    """The same without a proxy: what the machine and Python take."""
    reads, writes = await asyncio.open_unix_connection(path)
    writes.write(b"GET /clock HTTP/1.1\r\nHost: localhost\r\n\r\n")
    print(f"| none | | {said(await lateness(reads, writes))} | |", flush=True)


async def lateness_http1(server):
    return await lateness(*await opened(server, 0, "/clock"))


async def lateness(reads, writes):
    waits = []
    while len(waits) < ARGUMENTS.events:
        waits += late(await asyncio.wait_for(reads.readuntil(b"\n\n\r\n"), 30))
    writes.transport.abort()
    return waits


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def next_frame(reads):
    head = await asyncio.wait_for(reads.readexactly(9), 30)
    return head[3], head[4], await reads.readexactly(int.from_bytes(head[:3], "big"))


async def lateness_http2(server):
    reads, writes = await connected(server, 0, "h2")
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/clock"), (b":authority", b"localhost")]
    writes.write(PREFACE + frame(1, 5, 1, b"".join(literal(*field) for field in fields)))
    waits = []
    while len(waits) < ARGUMENTS.events:
        kind, flags, payload = await next_frame(reads)
        if kind == 0:
            waits += late(payload)
        elif kind == 4 and flags == 0:
            writes.write(frame(4, 1, 0))
    writes.transport.abort()
    return waits


async def tunnels(server):
    each, held = await idle(server, ARGUMENTS.tunnels, "/quiet", OPENING)
    await dropped(server, held)
    before, count = server.memory(), 100
    held = [await opened(server, number, "/flood", OPENING, limit=1024) for number in range(count)]
    await asyncio.sleep(5)
    stopped = (server.memory() - before) / count
    kernel = unsent(server) / count
    await dropped(server, held)
    print(f"| {server.name} | {ARGUMENTS.tunnels:,} | {each:.1f} KiB | {stopped:.1f} KiB | {kernel:.0f} KiB |", flush=True)


def unsent(server):
    """KiB that the kernel holds of what the proxy has written to its clients and they have not taken, as `ss` tells."""
    text = servers.run(["ss", "-Htmn", f"( sport = :{server.http} or sport = :{server.https} )"])
    return sum(map(int, re.findall(r"skmem:\([^)]*,w(\d+)", text))) / 1024


class Messages(asyncio.Protocol):
    """A client that sends its next message when it has the last one back."""

    done = 0

    def __init__(self, server):
        self.opened, self.left = asyncio.get_running_loop().create_future(), len(MESSAGE)

    def connection_made(self, transport):
        self.transport, self.head = transport, b""
        transport.write(f"GET /quiet HTTP/1.1\r\nHost: localhost\r\n{OPENING}\r\n".encode())

    def data_received(self, data):
        if not self.opened.done():
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                self.opened.set_result(self.head.startswith(b"HTTP/1.1 101"))
            return
        self.left -= len(data)
        if self.left == 0:
            Messages.done += 1
            self.left = len(MESSAGE)
            self.transport.write(MESSAGE)

    def connection_lost(self, error):
        if not self.opened.done():
            self.opened.set_result(False)


async def messages(server):
    cells = []
    for port, protocol in ((server.http, None), (server.https, "http/1.1")):
        tls = {"ssl": trusting(protocol), "server_hostname": "localhost"} if protocol else {}
        clients = []
        for _ in range(64):
            _, client = await asyncio.get_running_loop().create_connection(lambda: Messages(server), "127.0.0.1", port, **tls)
            if not await client.opened:
                sys.exit(f"{server.name} opens no WebSocket: {client.head!r}")
            clients.append(client)
        for client in clients:
            client.transport.write(MESSAGE)
        rates = []
        for _ in range(ARGUMENTS.rounds):
            before, begun = server.cpu(), Messages.done
            await asyncio.sleep(ARGUMENTS.seconds)
            rates.append(2 * (Messages.done - begun) / (server.cpu() - before))
        for client in clients:
            client.transport.abort()
        cells.append(f"{statistics.median(rates):,.0f}")
        await asyncio.sleep(1)
    print(f"| {server.name} | {' | '.join(cells)} |", flush=True)


async def metric(port):
    reads, writes = await asyncio.open_connection("127.0.0.1", port)
    writes.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    text = (await reads.read()).decode()
    writes.close()
    found = re.search(r"^spothost_application_requests_held (\d+)$", text, re.M)
    return int(found[1]) if found else 0


async def held(server, port):
    for content in (0, 60_000):
        before, waiting = server.memory(), []
        head = f"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {content}\r\n\r\n".encode()
        for number in range(1_000):
            reads, writes = await connected(server, number)
            writes.write(head + b"x" * content)
            await writes.drain()
            waiting.append((reads, writes))
        while await metric(port) < 1_000:
            await asyncio.sleep(0.05)
        memory = (server.memory() - before) / 1024
        reads, writes = await connected(server, 1_000)
        begun = time.monotonic()
        writes.write(head + b"x" * content)
        refused = await asyncio.wait_for(reads.readuntil(b"\r\n\r\n"), 30)
        took = time.monotonic() - begun
        if not refused.startswith(b"HTTP/1.1 503"):
            sys.exit(f"one more is answered with {refused!r}")
        begun = time.monotonic()
        waiting.pop()[1].transport.abort()
        while await metric(port) == 1_000:
            await asyncio.sleep(0.001)
        freed = time.monotonic() - begun
        print(f"| {content:,} bytes | {memory:.1f} MiB | {took * 1e3:.1f} ms | {freed * 1e3:.1f} ms |", flush=True)
        await dropped(server, waiting + [(reads, writes)])
        while await metric(port):
            await asyncio.sleep(0.05)


HEADS = {
    "events": "| proxy | memory of each event stream that waits | time to the client, HTTP/1.1: median, 99th percentile, longest | HTTP/2 |",
    "tunnels": "| proxy | WebSockets | memory of each WebSocket that says nothing | of each whose client stops reading | and in the kernel |",
    "messages": "| messages per CPU second | HTTP/1.1 | over TLS |",
    "held": "| 1,000 requests wait, each with | memory of all | the next one is refused after | the place of one that leaves is free after |",
}
PARTS = {"events": events, "tunnels": tunnels, "messages": messages}


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(HEADS), choices=list(HEADS))
    parser.add_argument("--servers", default="", help="regular expression: proxies to run")
    parser.add_argument("--count", type=int, help="so many streams and WebSockets instead of 5,000 and 10,000")
    parser.add_argument("--events", type=int, default=500, help="events that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of messages, of which the median is shown")
    parser.add_argument("--seconds", type=int, default=3, help="length of one")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this build of the example instead of one that is made now")
    ARGUMENTS = parser.parse_args()
    servers.need("nginx", "h2o", "caddy", "openssl", "taskset", "ss")
    program = ARGUMENTS.binary or servers.build()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = (most, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    # Each takes two of the proxy.
    ARGUMENTS.tunnels = min(ARGUMENTS.count or 10_000, (most - 100) // 2)
    os.sched_setaffinity(0, [1])
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        work.chmod(0o755)
        servers.make_identity(work)
        servers.make_package(work)
        socket = f"{work}/app.sock"
        app = multiprocessing.Process(target=application, args=(socket, files), daemon=True)
        app.start()
        while not pathlib.Path(socket).exists():
            time.sleep(0.05)
        for part in ARGUMENTS.parts:
            print(f"\n{HEADS[part]}\n|{'---|' * (HEADS[part].count('|') - 1)}", flush=True)
            if part == "held":
                port, _ = servers.free_ports()
                options = ("--app", f"unix:{work}/none.sock", "--hold", "300", "--metrics", f"127.0.0.1:{port}")
                server = servers.start_ours(work, program, options)
                try:
                    asyncio.run(held(server, port))
                finally:
                    server.stop()
                continue
            if part == "events":
                asyncio.run(directly(socket))
            for name in [name for name in servers.PEERS if re.search(ARGUMENTS.servers, name)]:
                server = servers.start(name, servers.proxied(f"unix:{socket}"), work, program)
                try:
                    asyncio.run(PARTS[part](server))
                finally:
                    server.stop()
        app.kill()


if __name__ == "__main__":
    main()
