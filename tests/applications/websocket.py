#!/usr/bin/env python3
"""Speaks with a WebSocket that echoes, and prints all that came back as JSON.

    websocket.py URL ADDRESS CA [GREETINGS]

ADDRESS is where the URL's host is taken to be, CA the authority to trust; so many GREETINGS are received first.
"""

import asyncio
import json
import ssl
import sys

import websockets

# Lengths around the borders of the frame header's forms (RFC 6455 §5.2), and more than a proxy keeps at once.
LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 900_000]


async def main(url, address, authority, greetings):
    """Sends texts and octets, and compares what comes back."""
    host, port = address.rsplit(":", 1)
    trust = ssl.create_default_context(cafile=authority)
    async with websockets.connect(url, host=host, port=int(port), ssl=trust, compression=None, max_size=None, origin="https://localhost") as socket:
        seen = {"greetings": [await socket.recv() for _ in range(greetings)], "same": []}
        for length in LENGTHS:
            for message in ("é"[:length] * length, bytes(range(256)) * (length // 256) + b"x" * (length % 256)):
                await socket.send(message)
                seen["same"].append(await socket.recv() == message)
        # Many at once, whose order stays.
        burst = [f"message {number}" for number in range(1000)]
        sending = asyncio.create_task(send_all(socket, burst))
        seen["same"].append([await socket.recv() for _ in burst] == burst)
        await sending
        await (await socket.ping())
        await socket.close(1000)
        seen["code"] = socket.close_code
    print(json.dumps(seen))


async def send_all(socket, messages):
    """Sends them one after the other."""
    for message in messages:
        await socket.send(message)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:4], int((sys.argv[4:] or ["0"])[0])))
