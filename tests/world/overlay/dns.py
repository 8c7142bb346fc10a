"""Name servers for every hosted zone: they answer what Route 53 holds as INSYNC."""

import ipaddress
import time

from dnslib import AAAA, CNAME, RCODE, RR, TXT, A, QTYPE, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer, UDPServer

import route53

ASKED: list[tuple[str, str]] = []
"""Every question so far, as name (lower case, with its final dot) and type."""

LABEL = route53.TXT


def serve() -> int:
    """Starts them over UDP and TCP on one port of 127.0.0.1, which it returns."""
    quiet = DNSLogger(logf=lambda _: None)
    for _ in range(50):
        udp = DNSServer(Resolver(), address="127.0.0.1", port=0, logger=quiet)
        port = udp.server.server_address[1]
        try:
            tcp = DNSServer(Resolver(), address="127.0.0.1", port=port, tcp=True, logger=quiet)
        except OSError:
            udp.server.server_close()
            continue
        udp.start_thread()
        tcp.start_thread()
        return port
    raise OSError("no port of 127.0.0.1 was free for both UDP and TCP")


class Resolver(BaseResolver):
    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        name, kind = str(request.q.qname).lower(), QTYPE[request.q.qtype]
        ASKED.append((name, kind))
        reply = request.reply()
        found = answers(name)
        if not found:
            reply.header.rcode = RCODE.NXDOMAIN
        for type_, ttl, value in found:
            if type_ == kind:
                reply.add_answer(RR(request.q.qname, getattr(QTYPE, type_), ttl=ttl, rdata=data(type_, value)))
        if isinstance(handler.server, UDPServer) and len(reply.pack()) > 1232:
            reply = reply.truncate()
        return reply


def answers(name: str) -> list[tuple[str, int, str]]:
    """Type, time to live in seconds and value of what the world is told about `name` now."""
    return [(kind, ttl, value) for at, kind, ttl, values in visible() if at == name for value in values]


def visible(account: str | None = None) -> list[tuple[str, str, int, list[str]]]:
    """All record sets that are INSYNC: of each zone what its latest INSYNC change left."""
    now = time.time()
    latest: dict[tuple[str, str], route53.Change] = {}
    for change in list(route53.CHANGES.values()):
        if change.insync <= now and account in (None, change.account):
            latest[(change.account, change.zone)] = change
    return [
        (record.name, record.type, int(record.ttl or 0), list(record.records))
        for change in latest.values()
        for record in change.records
        if record.type in ("A", "AAAA", "CNAME", "TXT")
    ]


def data(kind: str, value: str) -> A | AAAA | CNAME | TXT:
    if kind == "A":
        return A(value)
    if kind == "AAAA":
        return AAAA(str(ipaddress.IPv6Address(value)))
    if kind == "TXT":
        return TXT([part.encode() for part in LABEL.findall(value)])
    return CNAME(value)
