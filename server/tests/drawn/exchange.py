"""One request, what its response must be, and what has come of it."""

import dataclasses
import typing
import zlib


class Failure(Exception):
    """The server did not do what the standards ask of it."""


@dataclasses.dataclass
class Expected:
    """What a response must be: its status, fields with these values, and exactly this content and these trailers."""

    status: int
    content: bytes
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    trailers: list = dataclasses.field(default_factory=list)
    # What else is to be compared: a function of fields and content that returns what is wrong.
    further: typing.Callable | None = None


@dataclasses.dataclass
class Request:
    """A request as it is drawn. `content` is none where the head ends the request."""

    fields: list
    expected: Expected
    content: bytes | None = None
    trailers: list = dataclasses.field(default_factory=list)


class Exchange:
    def __init__(self, stream, request, random):
        self.stream = stream
        self.request = request
        self.random = random
        # What is still to be sent; none if all is.
        self.unsent = request.content
        # Whether its window is left as it is.
        self.held = False
        self.status = None
        self.fields = {}
        self.content = bytearray()
        self.trailers = []
        self.ended = False
        # The code of the reset that ended it, and the one that may.
        self.reset = None
        self.reset_wanted = None
        # Whether the client has given it up.
        self.given_up = False

    @property
    def over(self):
        return self.given_up or self.reset is not None or (self.ended and self.unsent is None)

    def answered(self, fields):
        self.fields = dict(fields)
        if len(self.fields) != len(fields):
            raise Failure(f"stream {self.stream}: a field is there twice: {fields}")
        self.status = int(self.fields[":status"])

    def followed(self, fields):
        self.trailers = [tuple(field) for field in fields]

    def came(self, data):
        self.content += data

    def check(self):
        """Compares what has come: the whole response, or the beginning of one that was cut."""
        expected = self.request.expected
        try:
            if self.status is not None:
                self.check_head(expected)
            if self.ended:
                self.check_content(expected, bytes(self.content))
            elif not expected.further and not expected.content.startswith(self.content):
                raise Failure("what came is not the beginning of the content")
            if self.reset != self.reset_wanted:
                raise Failure(f"it was reset with {self.reset}, where {self.reset_wanted} was expected")
        except Failure as failure:
            asked = ", ".join(f"{name}: {value}"[:100] for name, value in self.request.fields)
            raise Failure(f"stream {self.stream}, {asked}: {failure}") from None

    def check_head(self, expected):
        if self.status != expected.status:
            raise Failure(f"status {self.status} instead of {expected.status}: {self.fields}")
        for name, value in expected.fields.items():
            if self.fields.get(name) != value:
                raise Failure(f"{name}: {self.fields.get(name)!r} instead of {value!r}")
        if "date" not in self.fields:
            raise Failure(f"no Date (RFC 9110 §6.6.1): {self.fields}")

    def check_content(self, expected, content):
        if self.trailers != expected.trailers:
            raise Failure(f"trailers {self.trailers} instead of {expected.trailers}")
        if content and self.fields.get("content-encoding") == "gzip":
            content = zlib.decompress(content, 31)
        if expected.further:
            wrong = expected.further(self.fields, content)
            if wrong:
                raise Failure(wrong)
        elif content != expected.content:
            raise Failure(f"{len(content)} bytes of content differ from the {len(expected.content)} expected")
