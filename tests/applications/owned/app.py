"""An application that a package brings, for WSGI and ASGI: it tells of itself, and notes each request that it was sent."""

import asyncio
import json
import os
import time

BEGUN = time.time()


def note(line):
    """Writes a line that several processes write to one file."""
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(line + "\n")


def answer(method, path, query):
    """The answer to a request, and how long it takes."""
    if path == "/work":
        note(query)
        return 200, "did " + query, 0.02
    if path == "/slow":
        note("slow")
        return 200, "slow", 1.0
    if path == "/about":
        told = {"pid": os.getpid(), "parent": os.getppid(), "folder": os.getcwd(), "version": os.environ["VERSION"]}
        return 200, json.dumps({**told, "environment": dict(os.environ), "begun": BEGUN}), 0
    if path == "/health":
        return int(os.environ.get("HEALTH", "200")), "health of " + os.environ["VERSION"], 0
    return 404, "the application knows no " + path, 0


def application(environ, start_response):
    """WSGI."""
    status, text, takes = answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
    time.sleep(takes)
    environ["wsgi.input"].read()
    start_response(f"{status} x", [("Content-Type", "text/plain"), ("X-Version", os.environ["VERSION"])])
    return [text.encode()]


async def asgi(scope, receive, send):
    """ASGI."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        note("accepted")
        while (event := await receive())["type"] != "websocket.disconnect":
            pass
        note(f"closed with {event['code']}")
        return
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/events":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        note("streams")
        while (await receive())["type"] != "http.disconnect":
            pass
        note("streams no more")
        return
    status, text, takes = answer(scope["method"], scope["path"], scope["query_string"].decode())
    await asyncio.sleep(takes)
    fields = [(b"content-type", b"text/plain"), (b"x-version", os.environ["VERSION"].encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": text.encode()})
