"""An API, a stream of events and a WebSocket, with FastAPI."""

import asyncio
import hashlib

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/api/seen")
async def seen(request: Request):
    """What FastAPI takes the request for."""
    return {"url": str(request.url), "address": request.client.host if request.client else None}


@app.get("/api/items/{item}")
async def item(item: int, q: str | None = None):
    """A path and a query that FastAPI has read."""
    return {"item": item, "q": q}


@app.put("/api/content")
async def content(request: Request):
    """Length and digest of the content, which is read as it comes."""
    length, digest = 0, hashlib.sha256()
    async for part in request.stream():
        length += len(part)
        digest.update(part)
    return {"length": length, "sha256": digest.hexdigest()}


@app.get("/api/events")
async def events():
    """An event at once, and another one each second."""

    async def stream():
        number = 0
        while True:
            yield f"id: {number}\ndata: event {number}\n\n"
            number += 1
            await asyncio.sleep(1)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.websocket("/api/socket")
async def socket(socket: WebSocket):
    """Sends each message back; the client's address first."""
    await socket.accept()
    await socket.send_text(f"{socket.url.scheme} from {socket.client.host if socket.client else None}")
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            print(f"the WebSocket was closed with {message['code']}", flush=True)
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])
