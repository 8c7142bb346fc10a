"""Legal traffic: requests whose responses are known, and what else a client may say at any time."""

import re

import hpack

import frames
from connection import Connection, never_indexed
from exchange import Expected, Failure, Request

# The settings that a client may say (RFC 9113 §6.5.2), as h2 numbers them.
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 1, 2, 4, 5, 6
# What the server sends last of the files, and what no stream's first window has room for.
BIG = "/big.bin"
WINDOWS = (0, 0, 1, 1, 10, 1000, 16384, 65535, 100_000, 300_000)
TABLES = (0, 0, 31, 100, 1000, 4096, 65536)
FRAMES = (16384, 16385, 100_000, 2**24 - 1)
TEXT = "text/plain; charset=utf-8"


def settings(random):
    """First settings, or none."""
    drawn = {ENABLE_PUSH: 0}
    for identifier, values in ((INITIAL_WINDOW_SIZE, WINDOWS), (HEADER_TABLE_SIZE, TABLES), (MAX_FRAME_SIZE, FRAMES)):
        if random.random() < 0.6:
            drawn[identifier] = random.choice(values)
    return drawn


class Requests:
    """Draws requests for the files of a folder, whose responses are known."""

    def __init__(self, files, authority):
        self.files, self.authority = files, authority
        # Entity tags and dates, by path and coding.
        self.tags, self.dates = {}, {}

    def learn(self, connection):
        """Asks for the validators of each file, once; from then on they are compared."""
        for path in self.files:
            for further in ([], [("accept-encoding", "gzip")]):
                exchange = connection.ask(Request([*self.head("HEAD", path), *further], Expected(200, b"")))
                connection.finish()
                self.tags[path, exchange.fields.get("content-encoding", "")] = exchange.fields["etag"]
                self.dates[path] = exchange.fields["last-modified"]

    def head(self, method, path):
        return [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]

    def file(self, random, method="GET"):
        path = random.choice([path for path in self.files if path != BIG] * 3 + [BIG])
        return path, self.head(method, path), self.files[path]

    def whole(self, path, method="GET"):
        """What a file is answered with."""
        content = self.files[path]
        fields = {"etag": self.tags[path, ""], "accept-ranges": "bytes"}
        # HEAD may be without it (RFC 9110 §8.6), and is where it is 0.
        if method != "HEAD" or content:
            fields["content-length"] = str(len(content))
        return Expected(200, content if method != "HEAD" else b"", fields)

    def draw(self, random):
        """A request that is legal, with what may accompany any."""
        kind = random.choice(
            (self.plain,) * 6
            + (self.query, self.coded, self.range, self.range, self.ranges, self.behind, self.same, self.other)
            + (self.if_range, self.missing, self.refused_method, self.unknown_method, self.options, self.misdirected)
        )
        request = kind(random)
        if request.content is None and random.random() < 0.2:
            request.content = random.randbytes(random.choice((0, 1, 100, 5000, 40_000, 100_000)))
        if request.content is not None:
            if random.random() < 0.5:
                request.fields.append(("content-length", str(len(request.content))))
            # h2 forgets with the trailers that it was HEAD, and waits for content.
            if random.random() < 0.3 and request.fields[0] != (":method", "HEAD"):
                request.trailers = random.choice(([("x-checksum", "0")], never_indexed([("x-checksum", "0"), ("x", "")])))
        request.fields += self.accompanying(random)
        return request

    def accompanying(self, random):
        """Fields that change nothing."""
        fields = []
        for _ in range(random.choice((0, 0, 1, 3, 10))):
            name = random.choice(("x-a", "x-b", "user-agent", "referer", "x-" + "n" * random.randint(1, 300)))
            value = random.choice(("same", "", "v" * random.randint(0, 2000), bytes(random.choices(range(0x21, 0x7F), k=9))))
            kind = random.choice((tuple, tuple, tuple, lambda field: hpack.NeverIndexedHeaderTuple(*field)))
            fields.append(kind((name, value)))
        if len(fields) < 3 and random.random() < 0.3:
            fields.append(("x-large", "l" * random.randint(10_000, 20_000)))
        if random.random() < 0.2:
            fields += [("cookie", f"a={number}") for number in range(random.randint(1, 5))]
        if random.random() < 0.1:
            fields.append(("te", "trailers"))
        if random.random() < 0.3:
            fields.append(("priority", random.choice(("u=0", "u=7", "i", "u=1, i", "u=9", "???", ""))))
        return fields

    def plain(self, random):
        method = random.choice(("GET", "GET", "GET", "HEAD"))
        path, fields, _ = self.file(random, method)
        return Request(fields, self.whole(path, method))

    def query(self, random):
        path, _, _ = self.file(random)
        return Request(self.head("GET", f"{path}?a=%zz&b=/../c{random.random()}"), self.whole(path))

    def coded(self, random):
        path, fields, content = self.file(random)
        fields.append(("accept-encoding", random.choice(("gzip", "gzip;q=0.5, *;q=0", "deflate, gzip"))))

        def further(fields, got):
            tag = self.tags.get((path, fields.get("content-encoding", "")))
            if got != content:
                return f"{len(got)} bytes inflated differ from the {len(content)} of the file"
            return None if fields["etag"] == tag else f"ETag {fields['etag']} instead of {tag}"

        return Request(fields, Expected(200, content, further=further))

    def bounds(self, random, length):
        first = random.randint(0, length - 1)
        return first, random.choice((first, random.randint(first, length - 1), length - 1))

    def file_with_content(self, random):
        while True:
            path, fields, content = self.file(random)
            if content:
                return path, fields, content

    def range(self, random):
        path, fields, content = self.file_with_content(random)
        first, last = self.bounds(random, len(content))
        asked = random.choice((f"{first}-{last}", f"{first}-", f"-{len(content) - first}"))
        if asked != f"{first}-{last}":
            last = len(content) - 1
        told = {"content-range": f"bytes {first}-{last}/{len(content)}", "content-length": str(last + 1 - first)}
        fields.append(("range", f"bytes={asked}"))
        return Request(fields, Expected(206, content[first : last + 1], told))

    def ranges(self, random):
        path, fields, content = self.file_with_content(random)
        if len(content) < 10:
            return self.plain(random)
        cuts = sorted(random.sample(range(len(content)), random.choice((4, 6))))
        parts = list(zip(cuts[::2], cuts[1::2]))
        fields.append(("range", "bytes=" + ", ".join(f"{first}-{last}" for first, last in parts)))

        def further(fields, got):
            boundary = fields["content-type"].split("boundary=")[1].encode()
            told = {}
            for part in got.split(b"--" + boundary)[1:-1]:
                head, _, body = part.partition(b"\r\n\r\n")
                found = re.search(rb"content-range: bytes (\d+)-(\d+)/(\d+)", head, re.IGNORECASE)
                told[int(found[1]), int(found[2])] = body.removesuffix(b"\r\n")
            wanted = {(first, last): content[first : last + 1] for first, last in parts}
            return None if told == wanted else f"parts {sorted(told)} instead of {sorted(wanted)}, or their content"

        return Request(fields, Expected(206, b"", further=further))

    def behind(self, random):
        path, fields, content = self.file(random)
        fields.append(("range", f"bytes={len(content) + random.randint(0, 9)}-"))
        told = {"content-range": f"bytes */{len(content)}"}
        return Request(fields, Expected(416, b"416 Range Not Satisfiable\n", told))

    def same(self, random):
        path, fields, _ = self.file(random, random.choice(("GET", "HEAD")))
        tag = self.tags[path, ""]
        fields.append(
            random.choice((("if-none-match", tag), ("if-none-match", f'"x", W/{tag}'), ("if-modified-since", self.dates[path])))
        )
        return Request(fields, Expected(304, b"", {"etag": tag}))

    def other(self, random):
        path, fields, _ = self.file(random)
        fields.append(random.choice((("if-match", '"other"'), ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"))))
        return Request(fields, Expected(412, b"412 Precondition Failed\n"))

    def if_range(self, random):
        path, fields, content = self.file_with_content(random)
        fields.append(("range", "bytes=0-0"))
        if random.random() < 0.5:
            fields.append(("if-range", self.tags[path, ""]))
            return Request(fields, Expected(206, content[:1]))
        fields.append(("if-range", '"other"'))
        return Request(fields, self.whole(path))

    def missing(self, random):
        return Request(self.head("GET", f"/none/{random.random()}"), Expected(404, self.files["/404.html"]))

    def refused_method(self, random):
        method = random.choice(("POST", "PUT", "DELETE", "PATCH"))
        request = Request(self.head(method, "/form"), Expected(405, b"405 Method Not Allowed\n", {"allow": "GET, HEAD, OPTIONS"}))
        request.content = random.choice((None, random.randbytes(random.randint(0, 100_000))))
        return request

    def unknown_method(self, random):
        return Request(self.head(random.choice(("BREW", "get", "PRI")), "/"), Expected(501, b"501 Not Implemented\n"))

    def options(self, random):
        return Request(
            self.head("OPTIONS", random.choice(("*", "/one.txt"))), Expected(204, b"", {"allow": "GET, HEAD, OPTIONS"})
        )

    def misdirected(self, random):
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "other.example"), (":path", "/")]
        return Request(fields, Expected(421, b"421 Misdirected Request\n"))


class Traffic:
    """Says drawn legal things on a connection."""

    def __init__(self, connection, requests, random):
        self.connection, self.requests, self.random = connection, requests, random
        # Streams that the client resets before they are looked at are counted.
        self.resets_left = 10

    def steps(self, many):
        kinds = (
            [self.request] * 8
            + [self.several] * 2
            + [self.settings] * 3
            + [self.connection.ping, self.priority, self.priority_update, self.reset, self.more_room, self.ignored, self.goaway]
            + [self.connection.once] * 4
        )
        for _ in range(many):
            self.random.choice(kinds)()

    def request(self):
        if self.connection.room_for_requests() > 20:
            self.connection.ask(self.requests.draw(self.random))

    def several(self):
        for _ in range(self.random.randint(2, 12)):
            self.request()

    def settings(self):
        identifier, values = self.random.choice(
            (
                (INITIAL_WINDOW_SIZE, WINDOWS),
                (HEADER_TABLE_SIZE, TABLES),
                (MAX_FRAME_SIZE, FRAMES),
                (MAX_HEADER_LIST_SIZE, (2**16,)),
            )
        )
        self.connection.set({identifier: self.random.choice(values)})

    def some_stream(self):
        return self.random.choice([*self.connection.exchanges, self.connection.next_stream])

    def priority(self):
        stream = self.some_stream()
        self.connection.raw(frames.write(frames.PRIORITY, 0, stream, frames.priority(self.random, stream)))

    def priority_update(self):
        value = self.random.choice((b"u=0", b"u=7", b"i", b"u=2, i", b"", b"\xff"))
        self.connection.raw(frames.priority_update(self.some_stream(), value))

    def reset(self):
        open_ones = [exchange for exchange in self.connection.exchanges.values() if not exchange.over and not exchange.held]
        if open_ones and self.resets_left:
            self.resets_left -= 1
            self.connection.give_up(self.random.choice(open_ones), self.random.choice((0, 5, 8)))

    def more_room(self):
        self.connection.h2.increment_flow_control_window(self.random.choice((1, 1000, 1 << 20)))
        self.connection.take_up()

    def ignored(self):
        payload = self.random.randbytes(self.random.choice((0, 8, 100)))
        flags, stream = self.random.randint(0, 255), self.random.choice((0, self.some_stream()))
        self.connection.raw(frames.write(frames.UNKNOWN, flags, stream, payload))

    def goaway(self):
        """The client wants no more pushed streams; its own go on."""
        self.connection.raw(frames.write(frames.GOAWAY, 0, 0, bytes(8) + self.random.randbytes(3)))


def mixed(server, random):
    connection = Connection(server, random, settings(random))
    yield connection
    Traffic(connection, server.requests, random).steps(random.randint(5, 40))
    connection.finish()


def at_once(server, random):
    """200 streams at once: all are answered before any can end, then all end in a drawn order."""
    connection = Connection(server, random, {ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: 0})
    yield connection
    connection.until(lambda: connection.room_for_requests() >= 200 and connection.acknowledged, "SETTINGS")
    paths = [path for path, content in server.requests.files.items() if content and path != BIG]
    for _ in range(200):
        path = random.choice(paths)
        connection.ask(Request(server.requests.head("GET", path), server.requests.whole(path)), held=True)
    exchanges = list(connection.exchanges.values())
    connection.until(lambda: all(exchange.status for exchange in exchanges), "200 heads came")
    if any(exchange.content or exchange.ended for exchange in exchanges):
        raise Failure("content came where there was no room for any")
    random.shuffle(exchanges)
    for exchange in exchanges:
        exchange.held = False
        if random.random() < 0.1:
            connection.once()
    connection.finish()


def at_every_byte(server, random):
    """A field block cut into CONTINUATION at every byte, alone and all at once."""
    connection = Connection(server, random, {ENABLE_PUSH: 0})
    yield connection
    fields = server.requests.head("GET", "/one.txt")
    whole = server.requests.whole("/one.txt")
    length = len(hpack.Encoder().encode(never_indexed(fields)))
    for cut in range(length + 1):
        connection.cuts = [cut]
        connection.ask(Request(never_indexed(fields), whole))
    for cut in range(length - 30):
        # As many frames of one byte as are borne.
        connection.cuts = list(range(cut, cut + 31))
        connection.ask(Request(never_indexed(fields), whole))
        connection.once()
    connection.finish()
