"""The cloud the tests run against, in one process: AWS, the DNS it feeds, and an ACME CA.

    python tests/world/overlay [--plain] [--pebble PROGRAM]

moto plays AWS. Where moto is laxer than AWS the modules beside this one replace its judgement,
unless `--plain` asks for moto as it comes. Prints one line of JSON when ready and ends when its
standard input closes, so that it cannot outlive the tests that started it. Everything listens
on 127.0.0.1.
"""

import argparse
import json
import logging
import shutil
import socket
import sys
import tempfile
import threading

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

import clock
import control
import dns
import ec2
import iam
import pebble
import quotas
import route53
import s3
import secretsmanager
import serialised


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--plain", action="store_true", help="moto as it comes, without the overlay")
    arguments.add_argument("--pebble", help="the ACME server to start as well")
    options = arguments.parse_args()
    folder = tempfile.mkdtemp(prefix="spothost-world-")
    try:
        run(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(options: argparse.Namespace, folder: str) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if not options.plain:
        for service in (ec2, iam, quotas, route53, s3, secretsmanager):
            service.install()
    resolver = dns.serve()
    refusal = (lambda _: None) if options.plain else clock.refusal
    application = serialised.Serialised(DomainDispatcherApplication(create_backend_app), control.answer, refusal)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ready = {"aws": server.server_port, "dns": resolver}
    authority = None
    if options.pebble:
        authority, ports = pebble.start(options.pebble, folder, resolver)
        ready |= ports
        control.CA.update(program=options.pebble, folder=folder, resolver=resolver)
    wait_until_it_answers(server.server_port)
    print(json.dumps(ready), flush=True)
    sys.stdin.buffer.read()
    if authority:
        authority.terminate()
        authority.wait()


def wait_until_it_answers(port: int) -> None:
    """The socket listens already; a connection shows that the loop behind it turns."""
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


if __name__ == "__main__":
    main()
