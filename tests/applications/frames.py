#!/usr/bin/env python3
"""Sends frames of WebSockets, good and bad, to an application and to the same one behind a proxy, and compares all that comes back.

    frames.py DIRECT PROXIED CA PATH

Both are ADDRESS:PORT, the second over TLS, where each case goes over HTTP/1.1 and over HTTP/2 (RFC 8441). Prints how many cases
there were, and those that differ, as JSON. The cases follow the chapters of RFC 6455 §5 to §8.
"""

import base64
import json
import socket
import ssl
import struct
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"
# Longer than any case takes.
PATIENCE = 20
KEY = base64.b64encode(b"0123456789abcdef").decode()


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, form=None):
    """A frame; `form` is how many bits its length has, if not as few as may be."""
    length = len(payload)
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    second = length if form == 7 else 126 if form == 16 else 127
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | second])
    head += b"" if form == 7 else struct.pack(">H" if form == 16 else ">Q", length)
    if not masked:
        return head + payload
    key = (MASK * (length // 4 + 1))[:length]
    return head + MASK + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


def close(code=1000, reason=b""):
    """A frame that closes."""
    return frame(CLOSE, struct.pack(">H", code) + reason)


def chopped(octets, size):
    """The same octets in pieces."""
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def echo(*messages):
    """How many octets the frames of these have that come back."""
    return sum(len(frame(TEXT, message, masked=False)) for message in messages)


def cases():
    """Pairs of a name and what is done: octets are written, and a number is how many octets have to have come before more is. Each case
    makes the application close."""
    end = close()
    for length in (0, 1, 125, 126, 127, 128, 65_535, 65_536, 1 << 20):
        for opcode in (TEXT, BINARY):
            message = frame(opcode, b"*" * length)
            back = echo(b"*" * length)
            yield f"{length} octets of {opcode}", [message, back, end]
            yield f"{length} octets of {opcode}, chopped", [*chopped(message, 997 if length < 1 << 20 else 65_000), back, end]
    yield "a short length in 16 bits", [frame(TEXT, b"short", form=16), echo(b"short"), end]
    yield "a short length in 64 bits", [frame(TEXT, b"short", form=64), echo(b"short"), end]
    yield "frame by octet", [*chopped(frame(TEXT, b"slowly"), 1), echo(b"slowly"), end]
    for length in (0, 5, 124, 125):
        yield f"a ping with {length} octets", [frame(PING, b"\xfe" * length), end]
    yield "a ping with 126 octets", [frame(PING, b"x" * 126)]
    yield "ten pings", [b"".join(frame(PING, b"%d" % number) for number in range(10)), end]
    yield "a pong that was not asked for", [frame(PONG, b"why"), end]
    yield "a pong, then a ping", [frame(PONG, b"why") + frame(PING, b"this"), end]
    for reserved in range(1, 8):
        yield f"reserved bits {reserved}", [frame(TEXT, b"*", reserved=reserved)]
        yield f"reserved bits {reserved} of a ping", [frame(TEXT, b"*"), echo(b"*"), frame(PING, b"", reserved=reserved)]
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"opcode {opcode}", [frame(TEXT, b"*"), echo(b"*"), frame(opcode, b"*")]
    yield "not masked", [frame(TEXT, b"*", masked=False)]
    yield "a fragmented ping", [frame(PING, b"a", fin=False), frame(0, b"b")]
    yield "a fragmented pong", [frame(PONG, b"a", fin=False), frame(0, b"b")]
    first, last, whole = frame(TEXT, b"frag", fin=False), frame(0, b"ment"), echo(b"fragment")
    yield "two fragments", [first, last, whole, end]
    yield "two fragments at once", [first + last, whole, end]
    yield "two fragments by octet", [*chopped(first + last, 1), whole, end]
    yield "a ping between fragments", [first, frame(PING, b"p"), 3, last, 3 + whole, end]
    yield "pings between many fragments", [first + frame(PING, b"p") + frame(0, b"-", fin=False) + frame(PING, b"q"), 6, last, 6 + echo(b"frag-ment"), end]
    yield "empty fragments", [frame(TEXT, b"", fin=False), frame(0, b"", fin=False), frame(0), echo(b""), end]
    yield "a thousand fragments", [frame(BINARY, b"", fin=False) + frame(0, b"abc", fin=False) * 1000 + frame(0), echo(b"abc" * 1000), end]
    yield "a continuation of nothing", [frame(0, b"*")]
    yield "an open continuation of nothing", [frame(0, b"*", fin=False)]
    yield "a message within one", [first, frame(TEXT, b"other")]
    yield "fragments, then a continuation of nothing", [first, last, whole, frame(0, b"*")]
    for good in ("κόσμε", "\U00010000", "\U0010ffff", "\ufffe", "\u0000", "a\u0301"):
        text = good.encode()
        yield f"text {text!r}", [frame(TEXT, text), echo(text), end]
        yield f"text {text!r} in fragments", [frame(TEXT, text[:1], fin=False), frame(0, text[1:]), echo(text), end]
    for bad in (b"\x80", b"\xbf", b"\xc0\x80", b"\xc3", b"\xce\xba\xed\xa0\x80", b"\xe0\x80\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80",
                b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"abc\xf0\x28\x8c\xbc"):  # fmt: skip
        yield f"no text {bad!r}", [frame(TEXT, bad)]
        yield f"no text {bad!r} in fragments", [frame(TEXT, b"good ", fin=False), frame(0, bad)]
        yield f"octets {bad!r}", [frame(BINARY, bad), echo(bad), end]
    yield "a close without a code", [frame(CLOSE)]
    yield "a close of one octet", [frame(CLOSE, b"\x03")]
    yield "a close with a reason", [close(1000, b"bye")]
    yield "a close with a long reason", [close(1000, b"*" * 123)]
    yield "a close that is too long", [close(1000, b"*" * 124)]
    yield "a close with a reason that is no text", [close(1000, b"\xce\xba\xe1\xbd")]
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"a close with {code}", [close(code)]
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield f"a close with {code}, which there is not", [close(code)]
    yield "a message behind the close", [close() + frame(TEXT, b"late")]
    yield "a ping behind the close", [close() + frame(PING)]
    yield "a close within fragments", [first, end]


def over_http1(stream, authority, path, pieces):
    """All that comes behind the 101."""
    fields = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"]
    stream.sendall("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {authority}", *fields, "", ""]).encode())
    came = b""
    while b"\r\n\r\n" not in came:
        came += received(stream, "the 101")
    head, _, came = came.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        return head.split(b"\r\n")[0].hex()
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                stream.sendall(piece)
                continue
            while len(came) < piece:
                came += received(stream, "the echo")
        while more := stream.recv(65536):
            came += more
    except (ConnectionError, ssl.SSLError):
        pass
    return came.hex()


def over_http2(stream, authority, path, pieces):
    """All that comes behind the 200."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    stream.sendall(connection.data_to_send())
    while not connection.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL):
        connection.receive_data(received(stream, "the setting of RFC 8441"))
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path), (":authority", authority),
              ("sec-websocket-version", "13")]  # fmt: skip
    connection.send_headers(1, fields)
    came, waiting, ended, opened = b"", b"", False, False
    left = list(pieces)
    while not ended:
        while left and not waiting and (isinstance(left[0], bytes) or len(came) >= left[0]):
            piece = left.pop(0)
            waiting = piece if isinstance(piece, bytes) else b""
        window = min(connection.local_flow_control_window(1), connection.max_outbound_frame_size) if opened else 0
        if waiting and window:
            connection.send_data(1, waiting[:window])
            waiting = waiting[window:]
            stream.sendall(connection.data_to_send())
            continue
        stream.sendall(connection.data_to_send())
        for event in connection.receive_data(received(stream, "the end")):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
                if status != "200":
                    return status
                opened = True
            elif isinstance(event, h2.events.DataReceived):
                came += event.data
                if event.flow_controlled_length:
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                ended = True
    return came.hex()


def received(stream, wanted):
    """Some octets, which have to come."""
    octets = stream.recv(65536)
    if not octets:
        raise ConnectionError(f"closed before {wanted}")
    return octets


def connected(address, trust=None, protocol=None):
    """A connection, over TLS if an authority is trusted."""
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if trust is None:
        return stream
    context = ssl.create_default_context(cafile=trust)
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(stream, server_hostname="localhost")


def main(direct, proxied, authority, path):
    """Compares all cases."""
    name = f"localhost:{proxied.rsplit(':', 1)[1]}"
    differing, number = [], 0
    for number, (case, pieces) in enumerate(cases(), 1):
        try:
            with connected(direct) as stream:
                expected = over_http1(stream, name, path, pieces)
            with connected(proxied, authority, "http/1.1") as stream:
                one = over_http1(stream, name, path, pieces)
            with connected(proxied, authority, "h2") as stream:
                two = over_http2(stream, name, path, pieces)
        except OSError as error:
            differing.append([case, repr(error)])
            continue
        if not expected == one == two:
            differing.append([case, *(f"{len(seen) // 2}: {seen[:40]}…{seen[-20:]}" for seen in (expected, one, two))])
    print(json.dumps({"cases": number, "differing": differing}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
