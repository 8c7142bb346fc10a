"""What HTTP/2 and HPACK forbid, section by section, and what must come of it. Sections are those of RFC 9113 unless another is
named. Each message is drawn within what its row says, and is sent amid legal traffic."""

import dataclasses
import typing

import frames
from connection import Connection
from exchange import Expected, Failure, Request
from frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST,
    LONGEST,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    UNKNOWN,
    WINDOW_UPDATE,
    literal,
    write,
)
from legal import BIG, Traffic, settings

PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(1, 7)
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11


@dataclasses.dataclass
class Ends:
    """The connection ends, with GOAWAY and this code (§5.4.1)."""

    code: int


@dataclasses.dataclass
class Resets:
    """The stream ends, with RST_STREAM and this code (§5.4.2), and no other."""

    code: int


@dataclasses.dataclass
class Answers:
    """The request is answered with this status."""

    status: int


class Ignored:
    """Nothing comes of it: what was asked before is answered as ever."""


PROTOCOL, SIZE, CLOSED = Ends(PROTOCOL_ERROR), Ends(FRAME_SIZE_ERROR), Ends(STREAM_CLOSED)
FLOW, COMPRESSION, CALM = Ends(FLOW_CONTROL_ERROR), Ends(COMPRESSION_ERROR), Ends(ENHANCE_YOUR_CALM)
MALFORMED, STREAM_IS_CLOSED = Resets(PROTOCOL_ERROR), Resets(STREAM_CLOSED)


@dataclasses.dataclass
class Row:
    section: str
    what: str
    expected: typing.Any
    # Sends it, given an `Act`.
    send: typing.Callable

    def __str__(self):
        return f"{self.section}, {self.what}"


ROWS = []


def row(section, what, expected):
    def add(send):
        ROWS.append(Row(section, what, expected, send))
        return send

    return add


class Act:
    """One illegal message on a connection: what stands around it, and which stream it is about."""

    def __init__(self, connection, requests, random):
        self.connection, self.requests, self.random = connection, requests, random
        # The stream that it is about.
        self.stream = None
        # The exchange of that stream, if h2 knows it.
        self.exchange = None

    # Streams, in each of their states (§5.1). Their responses are too long to end, unless it is said.

    def request(self, content):
        request = Request(self.requests.head("GET", BIG), self.requests.whole(BIG), content)
        self.exchange = self.connection.ask(request, held=True)
        self.stream = self.exchange.stream
        return self.stream

    def open(self):
        """Open: its content is still to come."""
        return self.request(b"")

    def half_closed(self):
        """The request has ended, the response has not."""
        return self.request(None)

    def open_or_half_closed(self):
        return self.random.choice((self.open, self.half_closed))()

    def finished(self):
        """Closed, with all that was asked."""
        path = "/one.txt"
        self.exchange = self.connection.ask(Request(self.requests.head("GET", path), self.requests.whole(path)))
        self.connection.until(lambda: self.exchange.over, "a request was answered")
        self.stream = self.exchange.stream
        return self.stream

    def given_up(self):
        """Closed by the client's reset."""
        stream = self.open_or_half_closed()
        if self.random.random() < 0.5:
            self.connection.until(lambda: self.exchange.status, "a head came")
        self.connection.give_up(self.exchange, self.random.choice((0, 5, 8)))
        return stream

    def reset_by_server(self):
        """Closed by the server's reset."""
        stream = self.open()
        self.exchange.reset_wanted = PROTOCOL_ERROR
        self.connection.raw(frames.window_update(stream, 0))
        self.connection.until(lambda: self.exchange.over, "a stream error was answered")
        return stream

    def idle(self):
        return self.connection.next_stream + 2 * self.random.randint(0, 100)

    def any_stream(self):
        return self.random.choice((self.open, self.half_closed, self.finished, self.idle))()

    # What is sent.

    def raw(self, *data):
        self.connection.raw(b"".join(data))

    def bytes(self, least, most):
        return self.random.randbytes(self.random.randint(least, most))

    def get(self, *more):
        return [*self.requests.head("GET", "/one.txt"), *more]

    def block(self, fields):
        """A field block as hpack makes it, in step with what the server knows."""
        return self.connection.h2.encoder.encode(fields)

    def foreign(self, block, flags=END_STREAM, priority=b""):
        """A request in one frame, or cut, of which h2 does not know."""
        self.stream = self.connection.take_foreign()
        flags |= PRIORITIZED if priority else 0
        if self.random.random() < 0.5:
            self.raw(write(HEADERS, flags | END_HEADERS, self.stream, priority + block))
            return
        cut = self.random.randint(0, len(block))
        first, second = priority + block[:cut], block[cut:]
        self.raw(write(HEADERS, flags, self.stream, first), write(CONTINUATION, END_HEADERS, self.stream, second))

    def fields(self, fields):
        self.foreign(self.block(fields))

    def begun(self):
        """A field block of which more is to come."""
        self.stream = self.connection.take_foreign()
        self.raw(write(HEADERS, END_STREAM, self.stream, b"".join(literal(n.encode(), v.encode()) for n, v in self.get())))
        return self.stream


# Frames (§4).


def too_long(act):
    return act.random.choice((LONGEST + 1, act.random.randint(LONGEST + 1, 2**24 - 1), 2**24 - 1))


@row("§4.2", "DATA that is too long", SIZE)
def _(act):
    act.raw(frames.head(too_long(act), DATA, 0, act.open()), act.bytes(0, 20_000))


@row("§4.2", "HEADERS that are too long", SIZE)
def _(act):
    act.raw(frames.head(too_long(act), HEADERS, END_HEADERS, act.idle()), act.bytes(0, 20_000))


@row("§4.2", "SETTINGS that are too long", SIZE)
def _(act):
    act.raw(frames.head(too_long(act), SETTINGS, 0, 0), act.bytes(0, 20_000))


@row("§4.2", "a frame of an unknown type that is too long", SIZE)
def _(act):
    act.raw(frames.head(too_long(act), UNKNOWN, 0, 0), act.bytes(0, 20_000))


@row("§4.1", "HTTP/1.1 amid frames", SIZE)
def _(act):
    act.raw(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n")


@row("§4.1", "flags and a reserved bit that mean nothing", Ignored)
def _(act):
    stream = act.open()
    act.connection.h2.increment_flow_control_window(1, stream)
    act.connection.h2.clear_outbound_data_buffer()
    act.raw(write(WINDOW_UPDATE, 0xFF, 1 << 31 | stream, bytes((0x80, 0, 0, 1))))


@row("§4.1", "a frame of an unknown type", Ignored)
def _(act):
    act.raw(write(act.random.randint(17, 255), act.random.randint(0, 255), act.any_stream(), act.bytes(0, LONGEST)))


def amid(what, make):
    @row("§4.3", f"{what} amid a field block", PROTOCOL)
    def _(act):
        act.raw(make(act, act.begun()))


amid("PING", lambda act, stream: write(PING, 0, 0, bytes(8)))
amid("SETTINGS", lambda act, stream: write(SETTINGS, act.random.choice((0, ACK)), 0))
amid("WINDOW_UPDATE", lambda act, stream: frames.window_update(act.random.choice((0, stream)), 1))
amid("PRIORITY", lambda act, stream: write(PRIORITY, 0, stream, bytes(5)))
amid("PRIORITY_UPDATE", lambda act, stream: frames.priority_update(stream, b"u=1"))
amid("DATA", lambda act, stream: write(DATA, END_STREAM, stream, act.bytes(0, 9)))
amid("RST_STREAM", lambda act, stream: frames.reset(stream))
amid("HEADERS of the same stream", lambda act, stream: write(HEADERS, END_HEADERS, stream))
amid("HEADERS of another stream", lambda act, stream: write(HEADERS, END_HEADERS, stream + 2))
amid("CONTINUATION of another stream", lambda act, stream: write(CONTINUATION, END_HEADERS, stream + 2))
amid("CONTINUATION of stream 0", lambda act, stream: write(CONTINUATION, END_HEADERS, 0))
amid("GOAWAY", lambda act, stream: write(GOAWAY, 0, 0, bytes(8)))
amid("PUSH_PROMISE", lambda act, stream: write(PUSH_PROMISE, END_HEADERS, stream, bytes(4)))
amid("an unknown type", lambda act, stream: write(UNKNOWN, 0, stream, act.bytes(0, 9)))


# Streams (§5).


@row("§5.1", "DATA on an idle stream", PROTOCOL)
def _(act):
    act.raw(write(DATA, act.random.choice((0, END_STREAM)), act.idle(), act.bytes(0, 100)))


@row("§5.1", "RST_STREAM on an idle stream", PROTOCOL)
def _(act):
    act.raw(frames.reset(act.idle()))


@row("§5.1", "WINDOW_UPDATE on an idle stream", PROTOCOL)
def _(act):
    act.raw(frames.window_update(act.idle(), act.random.randint(1, LARGEST)))


@row("§5.1", "DATA behind the end of a request", STREAM_IS_CLOSED)
def _(act):
    act.raw(write(DATA, act.random.choice((0, END_STREAM)), act.half_closed(), act.bytes(0, 100)))


@row("§5.1", "DATA on a stream that is over", STREAM_IS_CLOSED)
def _(act):
    act.raw(write(DATA, act.random.choice((0, END_STREAM)), act.finished(), act.bytes(0, 100)))


@row("§5.1", "DATA behind the client's reset", STREAM_IS_CLOSED)
def _(act):
    act.raw(write(DATA, act.random.choice((0, END_STREAM)), act.given_up(), act.bytes(0, 100)))


@row("§5.1", "HEADERS behind the end of a request", STREAM_IS_CLOSED)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | act.random.choice((0, END_STREAM)), act.half_closed(), act.block([("x", "y")])))


@row("§5.1", "HEADERS on a stream that is over", CLOSED)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.finished(), act.block(act.get())))


@row("§5.1", "HEADERS behind the client's reset", CLOSED)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.given_up(), act.block(act.get())))


@row("§5.1", "CONTINUATION behind the client's reset", PROTOCOL)
def _(act):
    act.raw(write(CONTINUATION, END_HEADERS, act.given_up(), act.bytes(0, 9)))


@row("§5.1", "whatever was under way to a stream that the server has reset", Ignored)
def _(act):
    stream = act.reset_by_server()
    under_way = (
        write(DATA, END_STREAM, stream, act.bytes(0, 100)),
        write(HEADERS, END_HEADERS | END_STREAM, stream, literal(b"x", b"y")),
        frames.window_update(stream, 1),
        frames.window_update(stream, LARGEST),
        write(PRIORITY, 0, stream, bytes(5)),
        frames.priority_update(stream, b"u=1"),
    )
    act.raw(*act.random.sample(under_way, len(under_way)), frames.reset(stream))


@row("§5.1", "WINDOW_UPDATE, RST_STREAM and PRIORITY on a stream that is over", Ignored)
def _(act):
    stream = act.finished()
    act.raw(frames.window_update(stream, 1), write(PRIORITY, 0, stream, bytes(5)), frames.reset(stream))


@row("§5.1.1", "a stream of the server's", PROTOCOL)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.idle() + 1, act.block(act.get())))


@row("§5.1.1", "a stream below the last one", CLOSED)
def _(act):
    skipped = act.connection.take_stream()
    act.half_closed()
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, skipped, act.block(act.get())))


@row("§5.1.2", "more streams than may be open", Resets(REFUSED_STREAM))
def _(act):
    act.connection.finish()
    while act.connection.room_for_requests() > 0:
        act.half_closed()
    act.fields(act.get())


# DATA and HEADERS (§6.1, §6.2).


@row("§6.1", "DATA on stream 0", PROTOCOL)
def _(act):
    act.raw(write(DATA, 0, 0, act.bytes(0, 100)))


@row("§6.1", "DATA with more padding than payload", PROTOCOL)
def _(act):
    length = act.random.randint(0, 200)
    padding = act.random.randint(length + 1, 255)
    act.raw(write(DATA, PADDED, act.open(), bytes((padding,)) + bytes(length)))


@row("§6.1", "DATA without the length of its padding", PROTOCOL)
def _(act):
    act.raw(write(DATA, PADDED, act.open()))


@row("§6.2", "HEADERS on stream 0", PROTOCOL)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, 0, act.block(act.get())))


@row("§6.2", "HEADERS with more padding than payload", PROTOCOL)
def _(act):
    block = act.block(act.get())
    act.raw(write(HEADERS, END_HEADERS | PADDED, act.connection.take_foreign(), bytes((len(block) + 1,)) + block))


@row("§6.2", "HEADERS with a part of a priority", SIZE)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | PRIORITIZED, act.connection.take_foreign(), act.bytes(0, 4)))


# PRIORITY, RST_STREAM (§6.3, §6.4).


@row("§6.3", "PRIORITY on stream 0", PROTOCOL)
def _(act):
    act.raw(write(PRIORITY, 0, 0, act.bytes(5, 5)))


@row("§6.3", "PRIORITY of another length than 5", Resets(FRAME_SIZE_ERROR))
def _(act):
    stream = act.random.choice((act.open, act.half_closed, act.finished))()
    act.raw(write(PRIORITY, 0, stream, bytes(act.random.choice((0, 4, 6, 100)))))


@row("§6.3", "PRIORITY of another length than 5, on an idle stream", SIZE)
def _(act):
    act.raw(write(PRIORITY, 0, act.idle(), bytes(act.random.choice((0, 4, 6, 100)))))


def on_itself(act, stream):
    """The fields of a priority (RFC 7540 §6.3)."""
    return (act.random.choice((0, 1 << 31)) | stream).to_bytes(4, "big") + act.bytes(1, 1)


@row("RFC 7540 §5.3.1", "PRIORITY of a stream that depends on itself", MALFORMED)
def _(act):
    stream = act.random.choice((act.open, act.half_closed, act.finished))()
    act.raw(write(PRIORITY, 0, stream, on_itself(act, stream)))


@row("RFC 7540 §5.3.1", "PRIORITY of an idle stream that depends on itself", PROTOCOL)
def _(act):
    stream = act.idle() + act.random.choice((0, 1))
    act.raw(write(PRIORITY, 0, stream, on_itself(act, stream)))


@row("RFC 7540 §5.3.1", "HEADERS of a stream that depends on itself", MALFORMED)
def _(act):
    act.foreign(act.block(act.get()), priority=on_itself(act, act.connection.next_stream))


@row("§6.4", "RST_STREAM on stream 0", PROTOCOL)
def _(act):
    act.raw(frames.reset(0))


@row("§6.4", "RST_STREAM of another length than 4", SIZE)
def _(act):
    act.raw(write(RST_STREAM, 0, act.any_stream(), bytes(act.random.choice((0, 3, 5, 100)))))


# SETTINGS (§6.5).


@row("§6.5", "SETTINGS on a stream", PROTOCOL)
def _(act):
    act.raw(write(SETTINGS, act.random.choice((0, ACK)), act.any_stream()))


@row("§6.5", "SETTINGS of a length that is no multiple of 6", SIZE)
def _(act):
    act.raw(write(SETTINGS, 0, 0, bytes(6 * act.random.randint(0, 9) + act.random.randint(1, 5))))


@row("§6.5", "an acknowledgement with settings", SIZE)
def _(act):
    act.raw(write(SETTINGS, ACK, 0, bytes(act.random.choice((1, 6, 12)))))


@row("§6.5.2", "ENABLE_PUSH that is neither 0 nor 1", PROTOCOL)
def _(act):
    act.raw(frames.setting(2, act.random.choice((2, 1 << 31, 2**32 - 1))))


@row("§6.5.2", "INITIAL_WINDOW_SIZE beyond the largest window", FLOW)
def _(act):
    act.raw(frames.setting(4, act.random.randint(1 << 31, 2**32 - 1)))


@row("§6.5.2", "MAX_FRAME_SIZE below the least", PROTOCOL)
def _(act):
    act.raw(frames.setting(5, act.random.randint(0, LONGEST - 1)))


@row("§6.5.2", "MAX_FRAME_SIZE beyond the most", PROTOCOL)
def _(act):
    act.raw(frames.setting(5, act.random.randint(1 << 24, 2**32 - 1)))


@row("RFC 9218 §2.1", "NO_RFC7540_PRIORITIES that is neither 0 nor 1", PROTOCOL)
def _(act):
    act.raw(frames.setting(9, act.random.randint(2, 2**32 - 1)))


@row("§6.5.2", "the last of several settings", PROTOCOL)
def _(act):
    good = b"".join(frames.setting(identifier, 1)[9:] for identifier in (1, 3, 6, 99))
    act.raw(write(SETTINGS, 0, 0, good + frames.setting(5, 1)[9:]))


# PUSH_PROMISE, PING, GOAWAY (§6.6-§6.8).


@row("§6.6", "PUSH_PROMISE of a client", PROTOCOL)
def _(act):
    act.raw(write(PUSH_PROMISE, END_HEADERS, act.any_stream(), bytes((0, 0, 0, 2)) + act.block(act.get())))


@row("§6.6", "PUSH_PROMISE on stream 0", PROTOCOL)
def _(act):
    act.raw(write(PUSH_PROMISE, END_HEADERS, 0, bytes((0, 0, 0, 2))))


@row("§6.7", "PING on a stream", PROTOCOL)
def _(act):
    act.raw(write(PING, act.random.choice((0, ACK)), act.any_stream(), bytes(8)))


@row("§6.7", "PING of another length than 8", SIZE)
def _(act):
    act.raw(write(PING, act.random.choice((0, ACK)), 0, bytes(act.random.choice((0, 7, 9, 100)))))


@row("§6.7", "the answer to a PING that was not sent", Ignored)
def _(act):
    act.raw(write(PING, ACK, 0, act.random.choice((act.bytes(8, 8), b"draining"))))


@row("§6.8", "GOAWAY on a stream", PROTOCOL)
def _(act):
    act.raw(write(GOAWAY, 0, act.any_stream(), bytes(8)))


@row("§6.8", "GOAWAY of less than 8 bytes", SIZE)
def _(act):
    act.raw(write(GOAWAY, 0, 0, act.bytes(0, 7)))


@row("§7", "codes that no standard knows", Ignored)
def _(act):
    act.raw(write(GOAWAY, 0, 0, bytes(4) + act.bytes(4, 4)))
    act.raw(frames.reset(act.finished(), act.random.randint(14, 2**32 - 1)))


# WINDOW_UPDATE and windows (§6.9).


@row("§6.9", "a window update of 0", PROTOCOL)
def _(act):
    act.raw(frames.window_update(0, act.random.choice((0, 1 << 31))))


@row("§6.9", "a window update of 0 on a stream", MALFORMED)
def _(act):
    act.raw(frames.window_update(act.open_or_half_closed(), act.random.choice((0, 1 << 31))))


@row("§6.9", "a window update of another length than 4", SIZE)
def _(act):
    act.raw(write(WINDOW_UPDATE, 0, 0, bytes(act.random.choice((0, 3, 5, 8)))))


@row("§6.9", "a window update of another length than 4 on a stream", SIZE)
def _(act):
    act.raw(write(WINDOW_UPDATE, 0, act.any_stream(), bytes(act.random.choice((0, 3, 5, 8)))))


@row("§6.9.1", "a window beyond the largest", FLOW)
def _(act):
    act.raw(frames.window_update(0, LARGEST), frames.window_update(0, LARGEST))


@row("§6.9.1", "a stream's window beyond the largest", Resets(FLOW_CONTROL_ERROR))
def _(act):
    stream = act.open_or_half_closed()
    # h2 is to bear what is sent meanwhile.
    act.connection.h2.increment_flow_control_window(2**20, stream)
    act.raw(frames.window_update(stream, LARGEST))


@row("§6.9.1", "more content than there is room for", Resets(FLOW_CONTROL_ERROR))
def _(act):
    """No more room is made for content once a megabyte has come that no page wants; the response has no room to end."""
    stream = act.request(bytes(2**20 + 2**17))
    act.exchange.random = act.connection.server.random_of("long pieces")
    while True:
        act.connection.send_content(act.exchange)
        act.connection.ping_to_and_fro()
        if act.connection.h2.streams[stream].outbound_flow_control_window == 0:
            break
    act.raw(*[write(DATA, 0, stream, bytes(LONGEST)) for _ in range(5)])


@row("§6.9.2", "a window that a setting takes beyond the largest", FLOW)
def _(act):
    act.raw(frames.window_update(act.open(), 1 << 30), frames.setting(4, LARGEST))


# CONTINUATION (§6.10).


@row("§6.10", "CONTINUATION without HEADERS", PROTOCOL)
def _(act):
    act.raw(write(CONTINUATION, act.random.choice((0, END_HEADERS)), act.any_stream(), act.bytes(0, 100)))


@row("§6.10", "CONTINUATION behind DATA", PROTOCOL)
def _(act):
    act.raw(write(DATA, 0, act.open(), b"x"), write(CONTINUATION, END_HEADERS, act.stream))


@row("§6.10", "CONTINUATION behind the end of a field block", PROTOCOL)
def _(act):
    act.foreign(act.block(act.get()))
    act.raw(write(CONTINUATION, END_HEADERS, act.stream))


@row("CVE-2024-27316", "CONTINUATION without end, in small frames", CALM)
def _(act):
    stream = act.begun()
    act.raw(*[write(CONTINUATION, 0, stream, act.bytes(0, 1) and literal(b"x", b"y")) for _ in range(33)])


@row("CVE-2024-27316", "CONTINUATION without end, in large frames", CALM)
def _(act):
    stream = act.begun()
    act.raw(*[write(CONTINUATION, 0, stream, literal(b"x", b"y" * 16_000)) for _ in range(5)])


# Requests (§8).


@row("§8.1", "trailers that do not end the request", MALFORMED)
def _(act):
    act.raw(write(HEADERS, END_HEADERS, act.open(), act.block([("x", "y")])))


@row("§8.1", "a request behind a request, on its stream", MALFORMED)
def _(act):
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.open(), act.block(act.get())))


@row("§8.1", "pseudo-fields among trailers", MALFORMED)
def _(act):
    field = act.random.choice(((":path", "/"), (":status", "200"), (":method", "GET"), (":x", "")))
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.open(), act.block([("x", "y"), field])))


@row("§8.1", "trailers that may not be", MALFORMED)
def _(act):
    field = act.random.choice((("X", "y"), ("connection", "close"), ("x", "a\nb"), ("te", "gzip"), ("content-length", "0")))
    act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.open(), act.block([("x", "y"), field])))


def content(announced, pieces):
    def send(act):
        act.foreign(act.block(act.get(("content-length", announced))), flags=0)
        last = len(pieces) - 1
        act.raw(*[write(DATA, END_STREAM * (at == last), act.stream, piece) for at, piece in enumerate(pieces)])

    return send


row("§8.1.1", "content that is longer than announced", MALFORMED)(content("1", (b"xy",)))
row("§8.1.1", "content where none was announced", MALFORMED)(content("0", (b"", b"x")))
row("§8.1.1", "content that is shorter than announced", MALFORMED)(content("3", (b"x", b"y")))
row("§8.1.1", "content that is shorter than announced, and an empty end", MALFORMED)(content("3", (b"xy", b"", b"")))


@row("§8.1.1", "content that is shorter than announced, before trailers", MALFORMED)
def _(act):
    act.foreign(act.block(act.get(("content-length", "9"))), flags=0)
    act.raw(write(DATA, 0, act.stream, b"x"), write(HEADERS, END_HEADERS | END_STREAM, act.stream, act.block([("x", "y")])))


@row("§8.1.1", "content that was announced, and none", MALFORMED)
def _(act):
    act.fields(act.get(("content-length", str(act.random.randint(1, 10**9)))))


def with_field(section, what, *fields):
    @row(section, what, MALFORMED)
    def _(act):
        act.fields(act.get(act.random.choice(fields)))


with_field("§8.2.1", "a name in capitals", ("X-y", "z"), ("x-Y", "z"), ("Cookie", "a"))
with_field("§8.2.1", "a name that is no token", ("x y", "z"), ("x\0", "z"), ("x:y", "z"), ("x\x7f", "z"), (b"x\xe4", b"z"))
with_field("§8.2.1", "a name of no length", ("", "z"))
with_field("§8.2.1", "a value with NUL, CR or LF", ("x", "a\0b"), ("x", "a\rb"), ("x", "a\nb"), ("x", "a\r\nb: c"))
with_field("§8.2.1", "a value with a blank around it", ("x", " y"), ("x", "y "), ("x", "\ty"), ("x", "y\t"))
with_field("§8.2.2", "Connection", ("connection", "close"), ("connection", "keep-alive"), ("connection", "x"))
with_field("§8.2.2", "Transfer-Encoding", ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"))
with_field("§8.2.2", "Upgrade", ("upgrade", "h2c"), ("upgrade", "websocket"))
with_field("§8.2.2", "Keep-Alive", ("keep-alive", "timeout=5"))
with_field("§8.2.2", "Proxy-Connection", ("proxy-connection", "close"))
with_field("§8.2.2", "TE of anything but trailers", ("te", "gzip"), ("te", "trailers, gzip"), ("te", ""))
with_field("§8.3", "an unknown pseudo-field", (":x", "y"), (":protocol", "websocket"), (":", ""))
with_field("§8.3", "a pseudo-field of responses", (":status", "200"))
with_field("RFC 9110 §8.6", "a length that is none", *[("content-length", v) for v in ("-1", "+1", "1,1", "", "x", "1 1")])


def with_head(section, what, *heads):
    """Requests of just these fields, by their first letter."""

    @row(section, what, MALFORMED)
    def _(act):
        said = {"m": (":method", "GET"), "s": (":scheme", "https"), "p": (":path", "/one.txt"), "x": ("x", "y")}
        said["a"] = (":authority", act.requests.authority)
        said["M"], said["P"] = (":method", "POST"), (":path", "/empty.txt")
        said["e"], said["*"], said["r"] = (":path", ""), (":path", "*"), (":path", "one.txt")
        said["C"] = (":method", "CONNECT")
        act.fields([said[letter] for letter in act.random.choice(heads)])


with_head("§8.3", "a pseudo-field behind others", "mspxa", "xmsap", "msaxp")
with_head("§8.3.1", "no method", "sap")
with_head("§8.3.1", "no scheme", "map")
with_head("§8.3.1", "no path", "msa")
with_head("§8.3.1", "no fields", "")
with_head("§8.3.1", "an empty path", "msae")
with_head("§8.3.1", "a path without a slash", "msar")
with_head("§8.3.1", "an asterisk for a file", "msa*")
with_head("§8.3.1", "two methods", "msapm", "mMsap")
with_head("§8.3.1", "two schemes", "mssap")
with_head("§8.3.1", "two paths", "msapp", "msapP")
with_head("§8.3.1", "two authorities", "msaap")
with_head("§8.5", "CONNECT with a path or a scheme", "Csap", "Cap", "Csa")
with_head("§8.5", "CONNECT to nobody", "C")


def with_value(section, what, name, *values):
    @row(section, what, MALFORMED)
    def _(act):
        value = act.random.choice(values)
        act.fields([(field, value if field == name else said) for field, said in act.get()])


with_value("§8.3.1", "a path with a byte that no target holds", ":path", "/a b", "/a\0", "/a#b", "/a\x7f", "/\t")
with_value(
    "§8.3.1", "an authority with userinfo", ":authority", "user@www.example.org", "a:b@www.example.org", "@www.example.org"
)
with_value("§8.3.1", "an authority that is none", ":authority", "", ":80", "www.example.org:x", "a b", "www.example.org/", "[::1")
with_value("RFC 3986 §3.1", "a scheme that is none", ":scheme", "", "1http", "ht tp", "https:")
with_value("RFC 9110 §9.1", "a method that is no token", ":method", "", "G ET", "G(T", "GET\0")


# Requests that are well formed, and refused (RFC 9110).


def refused(section, what, status, make):
    @row(section, what, Answers(status))
    def _(act):
        texts = {400: b"400 Bad Request\n", 414: b"414 URI Too Long\n", 421: b"421 Misdirected Request\n"}
        texts[431] = b"431 Request Header Fields Too Large\n"
        act.exchange = act.connection.ask(Request(make(act), Expected(status, texts[status])))
        act.stream = act.exchange.stream


def path(act, *paths):
    return act.requests.head("GET", act.random.choice(paths))


refused("RFC 9110 §7.2", "Host that contradicts the authority", 400, lambda act: act.get(("host", "other.example")))
refused("RFC 9110 §7.2", "two Hosts", 400, lambda act: [*act.get()[:2], act.get()[3], *[("host", act.requests.authority)] * 2])
refused("RFC 9110 §7.2", "neither Host nor authority", 400, lambda act: [*act.get()[:2], act.get()[3]])
refused("RFC 3986 §5.2.4", "traversal", 400, lambda act: path(act, "/../one.txt", "/%2e%2e/one.txt", "/a/../../one.txt"))
refused("RFC 3986 §2.1", "a path that cannot be decoded", 400, lambda act: path(act, "/one.txt%", "/%zz", "/%0", "/%00"))
refused(
    "RFC 9110 §15.5.15", "a target that is too long", 414, lambda act: path(act, "/" + "a" * act.random.randint(8192, 20_000))
)
refused("RFC 9110 §15.5.20", "another host", 421, lambda act: [*act.get()[:2], (":authority", "other.example"), act.get()[3]])
refused(
    "RFC 6585 §5", "too many fields", 431, lambda act: act.get(*[(f"x-{n}", "") for n in range(act.random.randint(101, 300))])
)
refused("RFC 6585 §5", "fields that are too large", 431, lambda act: act.get(("x", "y" * act.random.randint(33_000, 40_000))))


# Field blocks (RFC 7541).


def undecodable(section, what, *ends):
    @row(section, what, COMPRESSION)
    def _(act):
        end = act.random.choice(ends)
        if act.random.random() < 0.3:
            act.raw(write(HEADERS, END_HEADERS | END_STREAM, act.open(), literal(b"x", b"y") + end))
        else:
            act.foreign(act.block(act.get()) + end)


undecodable("RFC 7541 §6.1", "index 0", b"\x80")
undecodable("RFC 7541 §2.3.3", "an index beyond both tables", b"\xff\xff\x7f", b"\x7f\xff\x7f\x01y", b"\x0f\xff\x7f\x01y")
undecodable("RFC 7541 §4.2", "a size of the table that is not said first", b"\x20", b"\x3f\xe1\x1f")
undecodable("RFC 7541 §5.1", "a number without end", b"\xff" * 16, b"\xff" + b"\x80" * 20, b"\x3f" + b"\xff" * 9)
undecodable("RFC 7541 §5.1", "a number that is cut", b"\xff", b"\xff\x80", b"\x00\x7f", b"\x40\xff\x80")
undecodable("RFC 7541 §5.2", "a string that is cut", b"\x00\x01x\x09y", b"\x00\x05x", b"\x40\x01x", b"\x00\x01x\x82\xff", b"\x00")
undecodable("RFC 7541 §5.2", "padding of more than 7 bits", b"\x00\x01x\x82\x1f\xff", b"\x00\x01x\x81\xff")
undecodable("RFC 7541 §5.2", "padding that is not the beginning of EOS", b"\x00\x01x\x81\x18")
undecodable("RFC 7541 §5.2", "EOS within a string", b"\x00\x01x\x84\xff\xff\xff\xff", b"\x00\x01x\x85\xff\xff\xff\xff\xff")


@row("RFC 7541 §6.3", "a table that is larger than allowed", COMPRESSION)
def _(act):
    act.foreign(act.random.choice((b"\x3f\xe2\x1f", b"\x3f\xff\xff\x03")) + act.block(act.get()))


@row("RFC 7541 §4.2", "a table that is made smaller and larger again", Ignored)
def _(act):
    encoder = act.connection.h2.encoder
    for size in (act.random.randint(0, 4096), 0, 4096):
        encoder.header_table_size = size
    act.finished()


@row("§10.5.1", "a field block that unpacks to far more than is wanted", CALM)
def _(act):
    large = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000
    plain = b"".join(literal(name.encode(), value.encode()) for name, value in act.get())
    act.foreign(plain + large + b"\xbe" * 1000)


# Priorities (RFC 9218).


@row("RFC 9218 §7.1", "PRIORITY_UPDATE on a stream", PROTOCOL)
def _(act):
    act.raw(write(PRIORITY_UPDATE, 0, act.any_stream(), bytes((0, 0, 0, 1)) + b"u=1"))


@row("RFC 9218 §7.1", "PRIORITY_UPDATE of stream 0", PROTOCOL)
def _(act):
    act.raw(frames.priority_update(0, b"u=1"))


@row("RFC 9218 §7.1", "PRIORITY_UPDATE of a pushed stream", PROTOCOL)
def _(act):
    act.raw(frames.priority_update(act.idle() + 1, b"u=1"))


@row("RFC 9218 §7.1", "PRIORITY_UPDATE of less than 4 bytes", SIZE)
def _(act):
    act.raw(write(PRIORITY_UPDATE, 0, 0, act.bytes(0, 3)))


@row("RFC 9218 §7.1", "PRIORITY_UPDATE of more idle streams than may be open", PROTOCOL)
def _(act):
    first = act.connection.next_stream
    act.raw(*[frames.priority_update(first + 2 * number, b"u=1") for number in range(act.connection.server.streams + 1)])


# How a connection begins (§3.4).


def beginnings(random):
    """What no connection of HTTP/2 begins with."""
    settings, at = write(SETTINGS, 0, 0), random.randint(0, len(PREFACE) - 1)
    wrong = bytes((PREFACE[at] ^ random.randint(1, 255),))
    return (
        b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
        PREFACE[:at] + wrong,
        PREFACE[:at] + wrong + PREFACE[at + 1 :] + settings,
        PREFACE + write(PING, 0, 0, bytes(8)),
        PREFACE + write(SETTINGS, ACK, 0) + settings,
        PREFACE + frames.window_update(0, 1) + settings,
        PREFACE + write(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":method", b"GET")) + settings,
        PREFACE + write(UNKNOWN, 0, 0, b"x") + settings,
        PREFACE + write(GOAWAY, 0, 0, bytes(8)) + settings,
    )


def begun_wrongly(server, random):
    connection = Connection(server, random)
    yield connection
    connection.h2.clear_outbound_data_buffer()
    connection.plain = [random.choice(beginnings(random))]
    connection.until_closed()
    if connection.goaways != [(0, PROTOCOL_ERROR)]:
        raise Failure(f"§3.4: GOAWAY {connection.goaways} instead of {PROTOCOL_ERROR}")


def amid_traffic(server, random, row):
    """Drawn traffic, some illegal messages that end no connection, then the one of `row`."""
    connection = Connection(server, random, settings(random))
    yield connection
    traffic = Traffic(connection, server.requests, random)
    traffic.steps(random.randint(2, 15))
    lenient = [row for row in ROWS if not isinstance(row.expected, Ends)]
    for one in [*random.sample(lenient, random.choice((0, 0, 1, 2))), row]:
        connection.note(str(one))
        highest = max([0, *connection.exchanges, *connection.foreign])
        act = Act(connection, server.requests, random)
        one.send(act)
        judge(act, one, highest)
        if isinstance(one.expected, Ends):
            return
        connection.let_go()
        traffic.steps(random.randint(0, 5))
    connection.finish()


def judge(act, row, highest):
    connection, expected = act.connection, row.expected
    if isinstance(expected, Ends):
        judge_end(act, row, highest)
        return
    if isinstance(expected, Resets) and act.exchange and act.stream not in connection.foreign:
        act.exchange.reset_wanted = expected.code
    connection.ping_to_and_fro()
    if act.stream in connection.foreign:
        got, wanted = connection.foreign[act.stream], ("reset", expected.code)
        if got != wanted:
            raise Failure(f"{row}: {got} instead of {wanted}")
    elif isinstance(expected, Resets) and act.exchange.reset != expected.code:
        raise Failure(f"{row}: reset {act.exchange.reset} instead of {expected.code}, status {act.exchange.status}")
    elif isinstance(expected, Answers) and act.exchange.status != expected.status:
        raise Failure(f"{row}: status {act.exchange.status} instead of {expected.status}")


def judge_end(act, row, highest):
    """What comes before the end is right as far as it goes, and GOAWAY says why it ends, and how far the server got (§6.8)."""
    connection = act.connection
    connection.take_up()
    connection.until_closed()
    codes = [code for _, code in connection.goaways]
    if codes != [row.expected.code]:
        raise Failure(f"{row}: GOAWAY with {codes} instead of {row.expected.code}")
    last = connection.goaways[0][0]
    possible = {highest, *(stream for stream in (*connection.exchanges, *connection.foreign) if stream > highest)}
    if last not in possible:
        raise Failure(f"{row}: the last stream of GOAWAY is {last}, not one of {sorted(possible)}")
    for exchange in connection.exchanges.values():
        exchange.check()
