"""One request at a time, and the tests' own requests beside those of AWS."""

import io
import json
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

LOCK = threading.RLock()
"""Held while a request is judged and carried out. moto itself takes no locks."""

LONGEST_BODY = 1 << 30
"""Bytes. More than any package of the tests."""


class Serialised:
    """A WSGI application that reads each request whole before it waits for its turn."""

    def __init__(self, aws: Callable[..., Iterable[bytes]], control: Callable[..., Any], refusal: Callable[..., Any]):
        self.aws = aws
        self.control = control
        self.refusal = refusal

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = read_whole(environ)
        path = environ.get("PATH_INFO", "")
        with LOCK:
            if path.startswith("/overlay/"):
                return self.answer_tests(path.removeprefix("/overlay/"), environ, body, start_response)
            if refused := self.refusal(environ):
                status, kind, answer = refused
                start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer)))])
                return [answer]
            return [b"".join(self.aws(environ, start_response))]

    def answer_tests(self, verb: str, environ: dict[str, Any], body: bytes, start_response: Callable[..., Any]) -> list[bytes]:
        arguments = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        try:
            status, answer = "200 OK", self.control(verb, arguments, body)
        except Exception as error:  # noqa: BLE001 — the test that asked is told, whatever it was.
            traceback.print_exc()
            status, answer = "500 Internal Server Error", {"error": f"{type(error).__name__}: {error}"}
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]


def read_whole(environ: dict[str, Any]) -> bytes:
    """The request's body, which the environment then holds in memory."""
    source = environ["wsgi.input"]
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body = source.read()
        del environ["HTTP_TRANSFER_ENCODING"]
    else:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LONGEST_BODY:
            raise ValueError(f"a body of {length} bytes")
        body = source.read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body
