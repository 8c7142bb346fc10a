"""Gives back each request as the application saw it, and counts: for uvicorn and granian, `asgi:application`.

`/count` is answered with how many requests came before, itself left out.
"""

import hashlib
import json

COUNT = 0


async def application(scope, receive, send):
    """The ASGI application."""
    global COUNT
    if scope["type"] != "http":
        return
    if scope["path"] == "/count":
        await answer(send, COUNT)
        return
    COUNT += 1
    length, digest = 0, hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        length += len(message.get("body", b""))
        digest.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + ("?" + query if query else "")
    fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await answer(send, {"method": scope["method"], "target": target, "fields": fields, "length": length, "sha256": digest.hexdigest()})


async def answer(send, value):
    """Sends the value as JSON."""
    body = json.dumps(value).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})
