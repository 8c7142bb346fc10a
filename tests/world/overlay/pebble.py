"""Pebble, the ACME CA for tests, as a child of this process that validates against our DNS."""

import concurrent.futures
import ctypes
import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROFILES = {
    "default": {"description": "90 days", "validityPeriod": 90 * 86400},
    "tlsserver": {"description": "45 days", "validityPeriod": 45 * 86400},
    "shortlived": {"description": "160 hours", "validityPeriod": 160 * 3600},
    "tiny": {"description": "one minute", "validityPeriod": 60},
}

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent ends."""


MAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
"""The MAC key of the external account `spothost`, at a CA that wants one."""

RUNNING: dict[int, tuple[subprocess.Popen[bytes], list[Any]]] = {}
"""What was started beside the first, with what it takes to start it again, by its port."""


ONE_THREAD = concurrent.futures.ThreadPoolExecutor(1)
"""Where these are started: the kernel tells a child of its parent's end when the thread ends that started it."""


def beside(program: str, folder: str, resolver: int, nonces: str, eab: bool) -> dict[str, Any]:
    """Starts one more, which refuses so many in a hundred nonces, and may want external accounts."""
    place = os.path.join(folder, f"ca-{len(RUNNING)}")
    os.mkdir(place)
    more = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"spothost": MAC_KEY}} if eab else {}
    environment = {"PEBBLE_WFE_NONCEREJECT": nonces}
    child, ports = ONE_THREAD.submit(start, program, place, resolver, more, environment).result()
    again = [program, os.path.join(place, "pebble.json"), resolver, place, environment]
    RUNNING[ports["acme"]] = (child, again)
    return {**ports, "mac_key": MAC_KEY}


def restart(port: int) -> dict[str, Any]:
    """Ends one and starts it again: what it knew is gone, accounts, orders and its own keys."""
    child, again = RUNNING[port]
    child.kill()
    child.wait()
    child = ONE_THREAD.submit(launch, *again).result()
    RUNNING[port] = (child, again)
    answers(child, port)
    return {}


def start(
    program: str,
    folder: str,
    resolver: int,
    more: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Starts it; the ports and the PEM files a client needs, once it answers."""
    listen, manage = free_ports()
    authority = os.path.join(folder, "ca.pem")
    write_identity(folder)
    settings = {
        "listenAddress": f"127.0.0.1:{listen}",
        "managementListenAddress": f"127.0.0.1:{manage}",
        "certificate": os.path.join(folder, "cert.pem"),
        "privateKey": os.path.join(folder, "key.pem"),
        "httpPort": 5002,
        "tlsPort": 5001,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "domainBlocklist": ["blocked.example"],
        "retryAfter": {"authz": 1, "order": 1},
        "keyAlgorithm": "ecdsa",
        "profiles": PROFILES,
        # For releases without profiles.
        "certificateValidityPeriod": 90 * 86400,
        **(more or {}),
    }
    where = os.path.join(folder, "pebble.json")
    with open(where, "w") as file:
        json.dump({"pebble": settings}, file)
    child = launch(program, where, resolver, folder, environment)
    if not answers(child, manage):
        raise SystemExit(f"{program} does not start; it said:\n" + open(os.path.join(folder, "pebble.log")).read())
    roots = os.path.join(folder, "issuer.pem")
    with open(roots, "wb") as file:
        file.write(fetch(authority, f"https://127.0.0.1:{manage}/roots/0"))
    directory = json.loads(fetch(authority, f"https://127.0.0.1:{listen}/dir"))
    return child, {
        "acme": listen,
        "acme_management": manage,
        "acme_authority": authority,
        "acme_issuer": roots,
        "acme_profiles": "profiles" in directory.get("meta", {}),
    }


def fetch(authority: str, url: str) -> bytes:
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=authority)) as answer:
        return answer.read()


def launch(
    program: str, settings: str, resolver: int, folder: str, more: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    def end_with_parent() -> None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    log = open(os.path.join(folder, "pebble.log"), "wb")
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", **(more or {})}
    command = [program, "-strict", "-config", settings, "-dnsserver", f"127.0.0.1:{resolver}"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=end_with_parent
    )


def answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it listens before it ends, within ten seconds."""
    until = time.monotonic() + 10
    while child.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


def free_ports() -> tuple[int, int]:
    # Both are held until both are known: one that was let go of may be given again.
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def write_identity(folder: str) -> None:
    """A CA (`ca.pem`, `ca.key`) and, from it, the listener's certificate (`cert.pem`, `key.pem`)."""
    authority = ec.generate_private_key(ec.SECP256R1())
    listener = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of the test world")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    root = builder(issuer, issuer, authority).add_extension(x509.BasicConstraints(True, None), True)
    leaf = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), issuer, listener)
    leaf = leaf.add_extension(names, False).add_extension(x509.BasicConstraints(False, None), True)
    for name, certificate, key in (("ca", root, authority), ("cert", leaf, listener)):
        with open(os.path.join(folder, f"{name}.pem"), "wb") as file:
            file.write(certificate.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        with open(os.path.join(folder, "key.pem" if name == "cert" else "ca.key"), "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )


def builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
    )
