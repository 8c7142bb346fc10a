"""Name servers for every hosted zone: they answer what Route 53 holds as INSYNC."""

import ipaddress
import time

from dnslib import AAAA, CAA, CNAME, NS, RCODE, RR, TXT, A, QTYPE, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer, UDPServer

import route53

ASKED: list[tuple[str, str]] = []
"""Every question so far, as name (lower case, with its final dot) and type."""

LABEL = route53.TXT

DELEGATED: dict[str, list[str]] = {}
"""By zone (absolute, lower case) the servers that its parent refers to, where they are not the zone's own."""

PARENT = "parent.name-servers.example."
"""The server of `example.`, the zone above all others."""


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
        if kind == "NS" and refer(request, reply, name):
            return reply
        found = answers(name)
        if not found:
            reply.header.rcode = RCODE.NXDOMAIN
        for type_, ttl, value in found:
            if type_ == kind:
                reply.add_answer(RR(request.q.qname, getattr(QTYPE, type_), ttl=ttl, rdata=data(type_, value)))
        if isinstance(handler.server, UDPServer) and len(reply.pack()) > 1232:
            reply = reply.truncate()
        return reply


def refer(request: DNSRecord, reply: DNSRecord, name: str) -> bool:
    """Answers who serves a zone: as its parent, where recursion is not desired; whether there is such a zone."""
    servers = [PARENT] if name == "example." else DELEGATED.get(name, servers_of(name))
    if servers is None:
        return False
    records = [RR(request.q.qname, QTYPE.NS, ttl=172800, rdata=NS(server)) for server in servers]
    add = reply.add_answer if request.header.rd or name == "example." else reply.add_auth
    for record in records:
        add(record)
    return True


def servers_of(name: str) -> list[str] | None:
    """The servers of a hosted zone; None where there is no such zone."""
    for backends in route53.models.route53_backends.values():
        for zone in backends["aws"].zones.values():
            if zone.name == name:
                return [f"{server}." for server in zone.delegation_set.name_servers]
    return None


def answers(name: str) -> list[tuple[str, int, str]]:
    """Type, time to live in seconds and value of what the world is told about `name` now."""
    # All name servers are this one.
    if name == PARENT or ".awsdns-" in name:
        return [("A", 172800, "127.0.0.1")]
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
        if record.type in ("A", "AAAA", "CAA", "CNAME", "TXT")
    ]


def data(kind: str, value: str) -> A | AAAA | CAA | CNAME | TXT:
    if kind == "A":
        return A(value)
    if kind == "AAAA":
        return AAAA(str(ipaddress.IPv6Address(value)))
    if kind == "CAA":
        flags, tag, text = value.split(" ", 2)
        return CAA(int(flags), tag, text.strip('"'))
    if kind == "TXT":
        return TXT([part.encode() for part in LABEL.findall(value)])
    return CNAME(value)
