#!/usr/bin/env python3
"""A WebSocket that echoes, of the library `websockets`.

    echo.py ADDRESS PORT
"""

import asyncio
import sys

import websockets


async def echo(socket):
    """Sends each message back."""
    async for message in socket:
        await socket.send(message)


async def main(address, port):
    """Serves for ever."""
    async with websockets.serve(echo, address, port, compression=None, max_size=None, ping_interval=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
