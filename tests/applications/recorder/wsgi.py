"""Gives back each request as the application saw it, and counts: for gunicorn with one worker, `wsgi:application`.

`/count` is answered with how many requests came before, itself left out. WSGI joins repeated fields.
"""

import hashlib
import json

COUNT = 0


def application(environ, start_response):
    """The WSGI application."""
    global COUNT
    if environ["PATH_INFO"] == "/count":
        return answer(start_response, COUNT)
    COUNT += 1
    length, digest = 0, hashlib.sha256()
    while part := environ["wsgi.input"].read(65536):
        length += len(part)
        digest.update(part)
    fields = [[name[5:].replace("_", "-").lower(), value] for name, value in environ.items() if name.startswith("HTTP_")]
    seen = {"method": environ["REQUEST_METHOD"], "target": environ["RAW_URI"], "fields": fields}
    return answer(start_response, {**seen, "length": length, "sha256": digest.hexdigest()})


def answer(start_response, value):
    """Sends the value as JSON."""
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
