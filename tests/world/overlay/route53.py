"""Route 53's rules for change batches, which moto does not hold.

A batch is all or nothing; a DELETE must name the values as they are now; a CREATE must find
nothing; sets of one name and type are told apart by their identifiers, and a multivalue answer
stands beside no set of another policy; a change is PENDING before it is INSYNC, and only then do name servers answer with it.
The rules are those of the developer guide's "ChangeResourceRecordSets"; the texts of errors are
those that people quote in public.
"""

import ipaddress
import random
import re
import string
import time
from dataclasses import dataclass, field
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcfromtimestamp
from moto.route53 import models, responses
from moto.route53.exceptions import Route53ClientError

LARGEST_BATCH = 1000
"""Values in one batch; those of an UPSERT count twice."""

Key = tuple[str, str, str]
"""Name, type and set identifier; the last is empty for a simple set."""

TXT = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')


@dataclass
class Change:
    """One accepted batch: where it stands follows from the clock."""

    account: str
    zone: str
    submitted: float
    insync: float
    records: list[models.RecordSet]
    batch: list[dict[str, Any]]


@dataclass
class Propagation:
    """How one account's Route 53 behaves."""

    delay: float = 0.1
    """Seconds from PENDING to INSYNC."""
    rate: float | None = None
    """Calls a second before `Throttling`; AWS allows 5. None: no limit."""
    calls: list[float] = field(default_factory=list)


CHANGES: dict[str, Change] = {}
PROPAGATION: dict[str, Propagation] = {}

REFERENCES: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
"""By account and caller reference: the settings of a health check and its id, also once it is deleted."""

plain_create_check = models.Route53Backend.create_health_check
plain_delete_check = models.Route53Backend.delete_health_check


def propagation(account: str) -> Propagation:
    return PROPAGATION.setdefault(account, Propagation())


def install() -> None:
    """Puts these rules in the place of moto's."""
    responses.Route53.change_resource_record_sets = respond_to_batch
    responses.Route53.get_change = respond_to_question
    models.Route53Backend.change_resource_record_sets = change
    models.Route53Backend.create_health_check = create_check
    models.Route53Backend.delete_health_check = delete_check


def create_check(self: models.Route53Backend, caller_reference: str, health_check_args: dict[str, Any]) -> Any:
    """The same reference and settings are the same check; a reference is used once ("CreateHealthCheck")."""
    known = REFERENCES.get((self.account_id, caller_reference))
    if known is not None:
        settings, number = known
        if settings != health_check_args or number not in self.health_checks:
            raise Route53ClientError("HealthCheckAlreadyExists", f"A health check with caller reference {caller_reference} exists already")
        return self.health_checks[number]
    made = plain_create_check(self, caller_reference, health_check_args)
    REFERENCES[(self.account_id, caller_reference)] = (dict(health_check_args), made.id)
    return made


def delete_check(self: models.Route53Backend, health_check_id: str) -> None:
    if health_check_id not in self.health_checks:
        raise Route53ClientError("NoSuchHealthCheck", f"A health check with id {health_check_id} does not exist.")
    plain_delete_check(self, health_check_id)


def respond_to_batch(self: responses.Route53) -> ActionResult:
    refuse_above_rate(self.current_account)
    number, made = change(self.backend, self._get_param("HostedZoneId"), self._get_param("ChangeBatch.Changes"))
    return ActionResult({"ChangeInfo": described(number, made)})


def respond_to_question(self: responses.Route53) -> ActionResult:
    number = self._get_param("Id").rsplit("/", 1)[-1]
    made = CHANGES.get(number)
    if made is None or made.account != self.current_account:
        raise Route53ClientError("NoSuchChange", f"Could not find resource with ID: {number}")
    return ActionResult({"ChangeInfo": described(number, made)})


def described(number: str, made: Change) -> dict[str, Any]:
    status = "INSYNC" if time.time() >= made.insync else "PENDING"
    return {"Id": f"/change/{number}", "Status": status, "SubmittedAt": utcfromtimestamp(int(made.submitted))}


def refuse_above_rate(account: str) -> None:
    limit = propagation(account)
    now = time.time()
    limit.calls = [at for at in limit.calls if now - at < 1]
    if limit.rate is not None and len(limit.calls) >= limit.rate:
        raise Route53ClientError("Throttling", "Rate exceeded")
    limit.calls.append(now)


def change(self: models.Route53Backend, zoneid: str, changes: list[dict[str, Any]]) -> tuple[str, Change]:
    """Judges the whole batch on a copy; the zone has all of it, or nothing."""
    zone = self.get_hosted_zone(zoneid)
    if sum(weight(one) for one in changes) > LARGEST_BATCH:
        refuse("Number of records limit of 1000 exceeded.")
    records = {key_of(record): record for record in zone.rrsets}
    for one in changes:
        apply(records, zone.name, one)
    check_aliases(records)
    zone.rrsets = list(records.values())
    number = "C" + "".join(random.choices(string.ascii_uppercase + string.digits, k=20))
    now = time.time()
    made = Change(self.account_id, zone.name, now, now + propagation(self.account_id).delay, list(zone.rrsets), changes)
    CHANGES[number] = made
    return number, made


def key_of(record: models.RecordSet) -> Key:
    return (record.name, record.type, record.set_identifier or "")


def weight(one: dict[str, Any]) -> int:
    values = len(one["ResourceRecordSet"].get("ResourceRecords") or [])
    return values * 2 if one["Action"] == "UPSERT" else values


def apply(records: dict[Key, models.RecordSet], zone: str, one: dict[str, Any]) -> None:
    action, wanted = one["Action"], read(one["ResourceRecordSet"])
    key = key_of(wanted)
    text = f"[name='{wanted.name}', type='{wanted.type}'"
    if action not in ("CREATE", "UPSERT", "DELETE"):
        raise models.InvalidActionValue(action)
    if wanted.name != zone and not wanted.name.endswith("." + zone):
        refuse(f"RRSet with DNS name {wanted.name} is not permitted in zone {zone}")
    if action == "DELETE":
        found = records.get(key)
        if found is None:
            refuse(f"Tried to delete resource record set {text}] but it was not found")
        if stated(found) != stated(wanted):
            refuse(f"Tried to delete resource record set {text}] but the values provided do not match the current values")
        del records[key]
        return
    check_values(wanted, text)
    if action == "CREATE" and key in records:
        refuse(f"Tried to create resource record set {text}] but it already exists")
    check_policies(records, wanted)
    records[key] = wanted


POLICIES = {
    "weight": "weighted",
    "region": "latency",
    "failover": "failover",
    "geo_location": "geolocation",
    "geo_proximity_location": "geoproximity",
    "multi_value_answer": "multivalue answer",
    "cidr_routing_config": "cidr",
}
"""The attributes that make a record set one of several, and how Route 53 calls each policy."""


def policy(record: models.RecordSet) -> str:
    """The routing policy of a set; empty for a simple one."""
    return next((name for key, name in POLICIES.items() if getattr(record, key, None) not in (None, False, "")), "")


def stated(record: models.RecordSet) -> tuple[Any, ...]:
    """All that a deletion has to repeat."""
    alias = record.alias_target or {}
    return (
        sorted(record.records), int(record.ttl or 0), record.health_check_id or None, policy(record),
        alias.get("DNSName", "").rstrip(".").lower(), alias.get("HostedZoneId"), str(alias.get("EvaluateTargetHealth", "")).lower(),
    )


def check_policies(records: dict[Key, models.RecordSet], wanted: models.RecordSet) -> None:
    """Sets of one name and type have one policy ("Choosing a routing policy" of the developer guide)."""
    if bool(policy(wanted)) != bool(wanted.set_identifier):
        raise models.InvalidInput("Invalid request: Missing field 'SetIdentifier'" if policy(wanted) else "Invalid request")
    for name, kind, identifier in records:
        if (name, kind) != (wanted.name, wanted.type) or identifier == (wanted.set_identifier or ""):
            continue
        there = policy(records[(name, kind, identifier)])
        if there != policy(wanted):
            refuse(
                f'RRSet with DNS name {name}, type {kind}, SetIdentifier "{wanted.set_identifier}" cannot be created because a '
                f"{there or 'non multivalue answer'} rrset exists with the same name and type."
            )


def read(given: dict[str, Any]) -> models.RecordSet:
    """The record set as Route 53 keeps it: lower case, absolute, with `*` escaped."""
    name = given["Name"].lower().rstrip(".") + "."
    if name.startswith("*."):
        name = "\\052" + name[1:]
    values = [one["Value"] if isinstance(one, dict) else one for one in given.get("ResourceRecords") or []]
    record = models.RecordSet({**given, "Name": name, "ResourceRecords": values})
    # moto knows neither of these.
    record.geo_proximity_location, record.cidr_routing_config = given.get("GeoProximityLocation"), given.get("CidrRoutingConfig")
    return record


def check_values(wanted: models.RecordSet, text: str) -> None:
    if wanted.alias_target:
        if wanted.records or wanted.ttl is not None:
            raise models.InvalidInput("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]")
        return
    if not wanted.records or wanted.ttl is None:
        raise models.InvalidInput(
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or "
            f"TrafficPolicyInstanceId], but found none in Change with [Name={wanted.name}, Type={wanted.type}]"
        )
    if not 0 <= int(wanted.ttl) <= 2147483647:
        refuse(f"Invalid TTL {wanted.ttl} in resource record set {text}]")
    if len(set(wanted.records)) != len(wanted.records):
        refuse("Invalid Resource Record: 'FATAL problem: DuplicateResourceRecord (Duplicate Resource Record) encountered'")
    for value in wanted.records:
        fault = fault_of(wanted.type, value)
        if fault:
            refuse(f"Invalid Resource Record: 'FATAL problem: {fault} encountered with '{value}''")


def fault_of(kind: str, value: str) -> str | None:
    """What is wrong with one value of a record set of that type; None when it is fine."""
    try:
        if kind == "A":
            ipaddress.IPv4Address(value)
        if kind == "AAAA":
            ipaddress.IPv6Address(value)
    except ValueError:
        return "ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)" if kind == "A" else (
            "AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)"
        )
    if kind == "TXT":
        if not value or TXT.sub("", value).strip():
            return "InvalidCharacterString (Value should be enclosed in quotation marks)"
        if any(len(part) > 255 for part in TXT.findall(value)):
            return "CharacterStringTooLong (Value is too long)"
    return None


def check_aliases(records: dict[Key, models.RecordSet]) -> None:
    """RFC 1034 §3.6.2: a name with a CNAME has nothing else."""
    for name, kind, _ in records:
        if kind == "CNAME" and any(other == name and type_ != "CNAME" for other, type_, _ in records):
            refuse(f"RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records with the same DNS name in zone")


def refuse(why: str) -> None:
    raise Route53ClientError("InvalidChangeBatch", f"[{why}]")
