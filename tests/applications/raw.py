#!/usr/bin/env python3
"""An application that answers with bytes of a table, good and bad, whatever HTTP says of them.

    raw.py ADDRESS PORT

`/raw/NAME` is answered by the row of that name. The connection stays open behind every row but those that close it, and goes on
reading requests: so it shows whether the proxy uses it again. Asked directly,

* `/table` tells all rows as JSON: what a client behind a strict proxy must see, and whether the connection may be used again;
* `/log` tells the requests so far, each as [number of its connection, target], without those for `/table`, `/log` and `/sent`;
* `/sent` tells the rows whose last bytes are sent.
"""

import asyncio
import dataclasses
import json
import sys

# Longer than any head that a proxy should bear.
LONG = b"x" * 300_000


@dataclasses.dataclass
class Row:
    """An answer, and what becomes of it."""

    # What is sent, in pieces with a pause behind each.
    pieces: list
    # What the client may see: `whole`, `refused` (502), `cut` (its status, and content that breaks off).
    sees: tuple
    # Of a whole answer.
    status: int = 200
    content: bytes = b"hello"
    # Fields that the client must and must not see, all in lower case.
    fields: dict = dataclasses.field(default_factory=dict)
    absent: tuple = ()
    # Whether the connection may be used for another request.
    again: bool = False
    # What asks for it.
    method: str = "GET"
    request: int = 0
    # Whether its last bytes come behind an answer that is whole.
    waits: bool = False
    # What follows the last piece: `open`, `close`, or `reset`.
    end: str = "open"


def head(*fields, status="200 OK", version="HTTP/1.1"):
    """A head with these lines, and its end."""
    return b"\r\n".join([f"{version} {status}".encode(), *fields, b"", b""])


def sized(*fields, content=b"hello", **more):
    """A whole answer with Content-Length."""
    return head(b"Content-Length: %d" % len(content), *fields, **more) + content


def chunked(chunks, *fields, **more):
    """A head that says chunked, and these bytes."""
    return head(b"Transfer-Encoding: chunked", *fields, **more) + chunks


def whole(*pieces, again=True, **more):
    """One that is well."""
    return Row(list(pieces), ("whole",), again=again, **more)


def refused(*pieces, **more):
    """One whose head is at fault."""
    return Row(list(pieces), ("refused",), **more)


def broken(*pieces, **more):
    """One whose content is at fault: a proxy that has it all before it answers may refuse it."""
    return Row(list(pieces), ("refused", "cut"), **more)


def either(*pieces, **more):
    """One that a proxy may mend."""
    return Row(list(pieces), ("refused", "whole"), **more)


SECOND = sized(content=b"the second")

ROWS = {
    # Good answers.
    "length": whole(sized()),
    "empty": whole(sized(content=b""), content=b""),
    "chunked": whole(chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")),
    "chunked-trailer": whole(chunked(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")),
    "chunk-extension": whole(chunked(b"5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n")),
    "chunk-leading-zeros": whole(chunked(b"0005\r\nhello\r\n000\r\n\r\n")),
    "until-close": whole(head(b"Connection: close") + b"hello", end="close", again=False),
    "until-close-unsaid": whole(head() + b"hello", end="close", again=False),
    "until-close-1.0": whole(head(version="HTTP/1.0") + b"hello", end="close", again=False),
    "length-1.0": whole(sized(version="HTTP/1.0"), again=False),
    "keep-alive-1.0": whole(sized(b"Connection: keep-alive", version="HTTP/1.0")),
    "said-close": whole(sized(b"Connection: close"), again=False),
    "no-reason": whole(sized(status="200 ")),
    "obs-text": whole(sized(b"X-Text: caf\xe9"), fields={"x-text": "café"}),
    "cookies": whole(sized(b"Set-Cookie: a=1", b"Set-Cookie: b=2"), fields={"set-cookie": "a=1\nb=2"}),
    "hop-by-hop": whole(
        sized(b"Connection: X-Hop, keep-alive", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Upgrade: h2c", b"Proxy-Connection: keep-alive"),
        absent=("x-hop", "keep-alive", "upgrade", "proxy-connection"),
    ),
    "send-file": whole(
        sized(b"X-Sendfile: /etc/hostname", b"X-Accel-Redirect: /secret", b"X-Accel-Buffering: no"),
        absent=("x-sendfile", "x-accel-redirect", "x-accel-buffering"),
    ),
    "trickle": whole(*[bytes([byte]) for byte in sized()]),
    "cut-in-head": whole(sized()[:20], sized()[20:]),
    "missing": whole(sized(status="404 Not Found"), status=404),
    "unknown-status": whole(sized(status="299 Odd"), status=299),
    # Interim responses.
    "100-before": whole(head(status="100 Continue") + sized()),
    "103-before": whole(head(b"Link: </a.css>; rel=preload", status="103 Early Hints"), sized()),
    "nine-interim": whole(head(status="103 Early Hints") * 9 + sized()),
    "interim-flood": refused(head(status="103 Early Hints") * 500 + sized()),
    "interim-endless": refused(*[head(status="100 Continue") * 100] * 300),
    "interim-large": refused(head(b"X: " + LONG, status="103 Early Hints") + sized()),
    "interim-with-length": either(head(b"Content-Length: 5", status="103 Early Hints") + sized(), again=True),
    "101-unasked": refused(head(b"Connection: upgrade", b"Upgrade: websocket", status="101 Switching Protocols") + b"hello"),
    # Answers without content, whatever they say.
    "204": whole(head(status="204 No Content"), status=204, content=b""),
    "304": whole(head(b'ETag: "a"', status="304 Not Modified"), status=304, content=b"", fields={"etag": '"a"'}),
    "304-with-length": whole(head(b"Content-Length: 5", status="304 Not Modified"), status=304, content=b""),
    "204-with-content": whole(sized(status="204 No Content"), status=204, content=b"", again=False),
    "204-chunked": whole(chunked(b"5\r\nhello\r\n0\r\n\r\n", status="204 No Content"), status=204, content=b"", again=False),
    "304-with-content": whole(sized(status="304 Not Modified"), status=304, content=b"", again=False),
    "205-with-content": whole(sized(status="205 Reset Content"), status=205, content=b"", again=False),
    "head": whole(head(b"Content-Length: 5"), content=b"", method="HEAD", fields={"content-length": "5"}),
    "head-chunked": whole(head(b"Transfer-Encoding: chunked"), content=b"", method="HEAD"),
    "head-with-content": whole(sized(), content=b"", method="HEAD", again=False),
    # How long it is, said in two ways or wrongly.
    "length-and-chunked": refused(chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 5")),
    "chunked-and-length": refused(head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"),
    "two-lengths": refused(sized(b"Content-Length: 10") + b"world"),
    "two-same-lengths": refused(sized(b"Content-Length: 5")),
    "length-list": refused(head(b"Content-Length: 5, 5") + b"hello"),
    "length-plus": refused(head(b"Content-Length: +5") + b"hello"),
    "length-minus": refused(head(b"Content-Length: -5") + b"hello"),
    "length-hex": refused(head(b"Content-Length: 0x5") + b"hello"),
    "length-words": refused(head(b"Content-Length: 5 5") + b"hello"),
    "length-nothing": refused(head(b"Content-Length:") + b"hello"),
    "length-huge": refused(head(b"Content-Length: 99999999999999999999999") + b"hello"),
    "chunked-twice": refused(chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")),
    "chunked-identity": refused(head(b"Transfer-Encoding: identity") + b"hello", end="close"),
    "chunked-unknown": refused(head(b"Transfer-Encoding: xchunked") + b"5\r\nhello\r\n0\r\n\r\n", end="close"),
    "chunked-not-last": refused(head(b"Transfer-Encoding: chunked, gzip") + b"5\r\nhello\r\n0\r\n\r\n", end="close"),
    "chunked-coded": refused(head(b"Transfer-Encoding: gzip, chunked") + b"5\r\nhello\r\n0\r\n\r\n"),
    "chunked-1.0": refused(chunked(b"5\r\nhello\r\n0\r\n\r\n", version="HTTP/1.0"), end="close"),
    # Chunks.
    "chunk-no-number": broken(chunked(b"zz\r\nhello\r\n0\r\n\r\n")),
    "chunk-no-size": broken(chunked(b"\r\nhello\r\n0\r\n\r\n")),
    "chunk-0x": broken(chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    "chunk-plus": broken(chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    "chunk-minus": broken(chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    "chunk-space": broken(chunked(b"5 5\r\nhello\r\n0\r\n\r\n")),
    "chunk-huge": broken(chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    "chunk-without-crlf": broken(chunked(b"5\r\nhello0\r\n\r\n")),
    "chunk-too-long": broken(chunked(b"3\r\nhello\r\n0\r\n\r\n")),
    "chunk-lf": broken(chunked(b"5\nhello\r\n0\r\n\r\n")),
    "chunk-lf-behind": broken(chunked(b"5\r\nhello\n0\r\n\r\n")),
    "chunk-extension-lf": broken(chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    "chunk-extension-nul": broken(chunked(b"5;a\0\r\nhello\r\n0\r\n\r\n")),
    "chunk-extension-long": broken(chunked(b"5;" + LONG + b"\r\nhello\r\n0\r\n\r\n")),
    "trailer-no-colon": broken(chunked(b"5\r\nhello\r\n0\r\nno colon\r\n\r\n")),
    "trailer-nul": broken(chunked(b"5\r\nhello\r\n0\r\nX: a\0\r\n\r\n")),
    "trailer-long": broken(chunked(b"5\r\nhello\r\n0\r\nX: " + LONG + b"\r\n\r\n")),
    "trailer-many": broken(chunked(b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n")),
    # Fields.
    "obs-fold": refused(sized(b"X: a", b" folded")),
    "fold-first": refused(sized(status="200 OK\r\n X: a")),
    "nul": refused(sized(b"X: a\0b")),
    "control": refused(sized(b"X: a\x01b")),
    "delete": refused(sized(b"X: a\x7fb")),
    "bare-cr": refused(sized(b"X: a\rX-Split: b")),
    "bare-lf": refused(sized(b"X: a\nX-Split: b")),
    "lf-lines": refused(sized().replace(b"\r\n", b"\n")),
    "space-before-colon": either(sized(b"X : a")),
    "space-before-length": refused(head(b"Content-Length : 5") + b"hello"),
    "no-name": refused(sized(b": a")),
    "no-colon": refused(sized(b"no colon")),
    "space-in-name": refused(sized(b"X Y: a")),
    "obs-text-in-name": refused(sized(b"X\xe9: a")),
    # Status lines.
    "garbage": refused(b"HELLO, WORLD\r\n\r\n"),
    "nothing-but-lines": refused(b"\r\n" * 150_000),
    "tls": refused(b"\x15\x03\x01\x00\x02\x02\x46"),
    "status-word": refused(sized(status="abc OK")),
    "status-two-digits": refused(sized(status="20 OK")),
    "status-four-digits": refused(sized(status="2000 OK")),
    "status-099": refused(sized(status="099 OK")),
    "version-2": refused(sized(version="HTTP/2.0")),
    "version-lower": refused(sized(version="http/1.1")),
    "reason-nul": refused(sized(status="200 O\0K")),
    # Bytes behind the end.
    "more-behind": whole(sized() + b"more", again=False),
    "more-behind-later": whole(sized(), b"more", again=False, waits=True),
    "crlf-behind": whole(sized() + b"\r\n", again=False),
    "split": whole(sized() + SECOND, again=False),
    "split-chunked": whole(chunked(b"5\r\nhello\r\n0\r\n\r\n") + SECOND, again=False),
    "split-304": whole(head(status="304 Not Modified") + SECOND, status=304, content=b"", again=False),
    "split-head": whole(head(b"Content-Length: 5") + SECOND, content=b"", method="HEAD", again=False),
    # Answers that end too early.
    "cut-length": broken(sized()[:-2], end="close"),
    "cut-length-reset": broken(sized()[:-2], end="reset"),
    "cut-chunk": broken(chunked(b"5\r\nhel"), end="close"),
    "cut-between-chunks": broken(chunked(b"5\r\nhello\r\n"), end="close"),
    "cut-last-chunk": broken(chunked(b"5\r\nhello\r\n0\r\n"), end="close"),
    "cut-chunk-reset": broken(chunked(b"5\r\nhello\r\n"), end="reset"),
    "closed": refused(end="close"),
    "reset": refused(end="reset"),
    "half-a-head": refused(b"HTTP/1.1 200 OK\r\nContent-Le", end="close"),
    "half-a-status": refused(b"HTT", end="close"),
    "only-interim": refused(head(status="100 Continue"), end="close"),
    # Too much.
    "field-too-long": refused(sized(b"X: " + LONG)),
    "name-too-long": refused(sized(LONG + b": x")),
    "reason-too-long": refused(sized(status="200 " + LONG.decode())),
    "too-many-fields": refused(sized(*[b"X: y"] * 20_000)),
    "head-endless": refused(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 1000] * 300),
    # An answer before the request is whole.
    "early": whole(sized(status="413 Content Too Large"), status=413, method="POST", request=10 << 20, again=False),
    "early-closed": whole(sized(b"Connection: close", status="403 Forbidden"), status=403, method="POST", request=1 << 20, end="close", again=False),
}
# Those that answer once they have read the head, and leave the content where it is.
EARLY = {"early", "early-closed"}
LOG = []
SENT = []
ASKED = {"/table": lambda: table(), "/log": lambda: LOG, "/sent": lambda: SENT}
CONNECTIONS = 0


async def serve(reader, writer):
    """Answers on one connection until it ends."""
    global CONNECTIONS
    CONNECTIONS += 1
    number = CONNECTIONS
    try:
        while (request := await one_request(reader, number)) is not None:
            if not await answer(request, writer):
                return
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def one_request(reader, number):
    """The target of the next request, once it is read; none at the end."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = text.decode("latin-1").split("\r\n")
    target = lines[0].split(" ")[1]
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if target not in ASKED:
        LOG.append([number, target])
    if target.removeprefix("/raw/") in EARLY:
        return target
    if "chunked" in fields.get("transfer-encoding", ""):
        while (size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)) > 0:
            await reader.readexactly(size + 2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    else:
        left = int(fields.get("content-length", "0"))
        while left > 0:
            left -= len(await reader.readexactly(min(left, 65536)))
    return target


async def answer(target, writer):
    """Sends what belongs to the target; whether the connection stays."""
    if target in ASKED:
        body = json.dumps(ASKED[target]()).encode()
        writer.write(sized(b"Content-Type: application/json", content=body))
        await writer.drain()
        return True
    row = ROWS.get(target.removeprefix("/raw/"), whole(sized(status="404 Not Found", content=b"no such row")))
    for piece in row.pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01 if len(row.pieces) > 1 else 0)
    SENT.append(target.removeprefix("/raw/"))
    if row.end == "reset":
        writer.transport.abort()
    return row.end == "open"


def table():
    """All rows, but for their bytes."""
    rows = []
    for name, row in ROWS.items():
        told = dataclasses.asdict(row)
        del told["pieces"]
        rows.append({"name": name, **told, "content": row.content.decode()})
    return rows


async def main(address, port):
    """Serves for ever."""
    server = await asyncio.start_server(serve, address, port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
