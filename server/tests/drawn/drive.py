#!/usr/bin/env python3
"""Drives a server of HTTP/2 with drawn messages, legal and illegal, by a client that is not ours: PyPI's h2 and hpack.

    drive.py ADDRESS:PORT --echo ADDRESS:PORT --name NAME --certificate FILE --files FOLDER --streams N --seed N --draws N

The server serves the files of FOLDER under NAME, and bears N streams at once; another one sends back at /echo what it is sent. One
history, which is one connection, follows from one seed: what is said, and how it is cut. How bytes meet in time does not. One in
four is legal; the others say something illegal amid legal traffic, each row of the table in its turn. After each of them another
connection is served as ever.
"""

import argparse
import pathlib
import random
import ssl
import sys
import time
import traceback

from both_ways import both_ways
from connection import Connection
from exchange import Failure
from illegal import ROWS, amid_traffic, begun_wrongly
from legal import Requests, at_every_byte, at_once, mixed

# Failures after which nothing more is tried.
ENOUGH = 3
# How many histories there are between two words of how far a long run is.
TOLD = 500


def place(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Server:
    """The server under test, as all connections know it."""

    def __init__(self, arguments):
        self.address, self.echo = place(arguments.server), place(arguments.echo)
        self.name, self.streams = arguments.name, arguments.streams
        self.trust = ssl.create_default_context(cafile=arguments.certificate)
        self.trust.set_alpn_protocols(["h2"])
        folder = pathlib.Path(arguments.files)
        files = {f"/{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}
        self.requests = Requests(files, arguments.name)

    def random_of(self, seed):
        return random.Random(str(seed))


def history(server, seed):
    """One connection's, as a generator that yields it before it goes on."""
    drawn = server.random_of(seed)
    if seed % 4:
        row = (seed - seed // 4 - 1) % (len(ROWS) + 3)
        return amid_traffic(server, drawn, ROWS[row]) if row < len(ROWS) else begun_wrongly(server, drawn)
    number = seed // 4 % 50
    if number % 5 == 2:
        return both_ways(server, drawn)
    legal = {0: at_every_byte, 25: at_once}.get(number, mixed)
    return legal(server, drawn)


class Run:
    def __init__(self, server):
        self.server = server
        self.responses = self.bytes = 0
        self.witness = Connection(server, server.random_of("witness"), plainly=True)
        server.requests.learn(self.witness)

    def one(self, seed):
        """Whether a history went as it must; if not, it is told."""
        connection = None
        try:
            steps = history(self.server, seed)
            connection = next(steps)
            for _ in steps:
                pass
            self.look()
            return True
        except Failure as failure:
            print(f"SPOTHOST_SEED={seed}: {failure}")
        except Exception:
            print(f"SPOTHOST_SEED={seed}:\n{traceback.format_exc()}")
        finally:
            if connection:
                self.responses += connection.compared
                self.bytes += connection.bytes
                connection.close()
        print(connection.traced() if connection else "no connection was made")
        return False

    def look(self):
        """Others are served as ever."""
        drawn = self.server.random_of(self.witness.next_stream)
        exchange = self.witness.ask(self.server.requests.draw(drawn))
        self.witness.finish()
        self.witness.exchanges.pop(exchange.stream)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--echo", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--files", required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--draws", type=int, required=True)
    arguments = parser.parse_args()
    begun, failed = time.monotonic(), 0
    run = Run(Server(arguments))
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        failed += not run.one(seed)
        done = seed + 1 - arguments.seed
        if done % TOLD == 0:
            print(f"{done} histories from SPOTHOST_SEED={arguments.seed} on in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        if failed == ENOUGH:
            break
    took = time.monotonic() - begun
    print(
        f"{done} histories from SPOTHOST_SEED={arguments.seed} on, {len(ROWS)} kinds of illegal messages: "
        f"{run.responses} responses and {run.bytes} bytes compared in {took:.1f} s; {failed} histories failed"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
