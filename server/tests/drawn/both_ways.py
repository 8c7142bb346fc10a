"""Content in both directions at once: a handler sends back at `/echo` what it is sent, as it comes."""

import frames
from connection import Connection
from exchange import Expected, Failure, Request
from frames import DATA, END_HEADERS, END_STREAM, HEADERS
from legal import Traffic, settings

PROTOCOL_ERROR = 1


class Echoes:
    """Draws requests whose responses are their content."""

    def __init__(self, authority):
        self.authority = authority

    def head(self):
        return [(":method", "POST"), (":scheme", "https"), (":authority", self.authority), (":path", "/echo")]

    def draw(self, random):
        content = random.randbytes(random.choice((0, 1, 1000, 16_384, 70_000, 200_000)))
        request = Request(self.head(), Expected(200, content), content)
        if random.random() < 0.5:
            request.fields.append(("content-length", str(len(content))))
        if random.random() < 0.3:
            request.trailers = [("x-checksum", "0")]
            request.expected.trailers = request.trailers
        return request


def both_ways(server, random):
    connection = Connection(server, random, settings(random), address=server.echo)
    yield connection
    echoes = Echoes(server.name)
    traffic = Traffic(connection, echoes, random)
    for _ in range(random.randint(1, 3)):
        traffic.steps(random.randint(3, 12))
        if random.random() < 0.5:
            torn(connection, echoes, random)
    connection.finish()


def torn(connection, echoes, random):
    """Content that is not as long as it says (RFC 9113 §8.1.1) ends its stream, however much was sent back by then."""
    stream = connection.take_foreign()
    length = random.randint(1, 2000)
    fields = [*echoes.head(), ("content-length", str(length + random.choice((-1, 1))))]
    block = connection.h2.encoder.encode(fields)
    connection.raw(frames.write(HEADERS, END_HEADERS, stream, block) + frames.write(DATA, 0, stream, random.randbytes(length)))
    if random.random() < 0.5:
        connection.once()
    connection.raw(frames.write(DATA, END_STREAM, stream))
    connection.until(lambda: (connection.foreign[stream] or ("status", 200)) != ("status", 200), "torn content was refused")
    if connection.foreign[stream] != ("reset", PROTOCOL_ERROR):
        raise Failure(f"§8.1.1, torn content is sent back: {connection.foreign[stream]} instead of PROTOCOL_ERROR")
