"""What the tests themselves ask of the world, beside the AWS protocols: JSON under /overlay/.

Every verb takes its arguments from the query; a body is the bytes of an object or of a secret,
or JSON. What is done here is done behind the agent's back: it passes no proxy and is no call
of the agent's account.
"""

import itertools
import json
import time
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import get_account_id_from
from moto.route53.models import route53_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sts.models import sts_backends

import dns
import ec2
import iam
import pebble
import quotas
import route53
import s3
import secretsmanager

REGION = "us-east-1"
NUMBERS = itertools.count(1)


def answer(verb: str, arguments: dict[str, str], body: bytes) -> Any:
    """Does what `verb` asks; anything JSON can say, or bytes."""
    return VERBS[verb](body=body, **arguments)


def new_account(body: bytes) -> dict[str, str]:
    """An account of its own with an empty versioned bucket, a zone and keys that lead to it."""
    number = next(NUMBERS)
    account = f"{100000000000 + number}"
    role = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assume_role(
        region_name=REGION,
        role_session_name="host",
        role_arn=f"arn:aws:iam::{account}:role/host",
        policy="",
        duration=3600,
        external_id="",
    )
    bucket = f"sites-{number}"
    s3_backends[account]["aws"].create_bucket(bucket, REGION)
    s3_backends[account]["aws"].put_bucket_versioning(bucket, "Enabled")
    zone = route53_backends[account]["aws"].create_hosted_zone(f"t{number}.example.", False, f"{number}")
    return {
        "id": account,
        "access_key": role.access_key_id,
        "secret_key": role.secret_access_key,
        "session_token": role.session_token,
        "bucket": bucket,
        "zone": zone.resource_id,
        "apex": f"t{number}.example",
    }


def session(body: bytes, account: str, instance: str) -> dict[str, str]:
    """The keys that the profile of an instance gives it: a session of the role with the name of the instance."""
    role = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assume_role(
        region_name=REGION,
        role_session_name=instance,
        role_arn=f"arn:aws:iam::{account}:role/host",
        policy="",
        duration=3600,
        external_id="",
    )
    return {
        "access_key": role.access_key_id,
        "secret_key": role.secret_access_key,
        "session_token": role.session_token,
    }


def described(body: bytes, key: str, region: str, kind: str, id: str) -> dict[str, Any]:
    """What IAM looks at of a resource that is in the account of the access key `key`."""
    account = get_account_id_from(key)
    if kind != "secret":
        return ec2.described(account, kind, id)
    secrets = secretsmanager_backends[account][region].secrets
    return {"arn": secrets[id].arn if id in secrets else None}


def untag(body: bytes, account: str, id: str) -> dict[str, str]:
    """Takes the tag of the site from a fleet or an instance."""
    ec2.untag(account, id)
    return {}


def make_role(body: bytes, account: str, name: str) -> dict[str, str]:
    """A role with that policy (JSON)."""
    iam.make_role(account, name, body.decode())
    return {}


def set_quota(body: bytes, account: str, processors: str) -> dict[str, str]:
    """How many virtual processors the spot instances of the account may have."""
    quotas.PROCESSORS[account] = float(processors)
    return {}


def delegate(body: bytes, zone: str, servers: str) -> dict[str, str]:
    """The servers (with blanks between them) that the parent of a zone refers to; none: it does not know the zone."""
    dns.DELEGATED[f"{zone}."] = servers.split()
    return {}


def set_up(body: bytes, account: str, instance: str, options: str, domain: str) -> dict[str, str]:
    """Sets an instance's metadata options (JSON), and its tag of the site; an empty domain takes the tag away."""
    ec2.set_up(account, instance, json.loads(options), domain)
    return {}


def show_missing(body: bytes, account: str) -> dict[str, str]:
    """Gives the callers of the account the right to list: from now on they are told that a key is not there."""
    s3.LISTABLE.add(account)
    return {}


def move_bucket(body: bytes, account: str, bucket: str, region: str, refused_with: str) -> dict[str, str]:
    """Makes a bucket one of that region, which requests of other regions are refused by with that status (301 or 400)."""
    s3_backends[account]["aws"].head_bucket(bucket).region_name = region
    s3.REFUSED_WITH[bucket] = refused_with
    return {}


def put_object(
    body: bytes, account: str, bucket: str, key: str, metadata: str = "{}", crc32: str = ""
) -> dict[str, str]:
    """An object, with user metadata (JSON) and the checksum that S3 is to say of it, if it is to say one."""
    made = s3_backends[account]["aws"].put_object(bucket, key, body)
    made.set_metadata({f"x-amz-meta-{name}": value for name, value in json.loads(metadata).items()})
    if crc32:
        made.checksum_algorithm, made.checksum_value, made.checksum_type = "CRC32", crc32, "FULL_OBJECT"
    return {"etag": made.etag, "version": made.version_id}


def object_text(body: bytes, account: str, bucket: str, key: str) -> str | None:
    """An object's text; None if it is not there."""
    found = s3_backends[account]["aws"].get_object(bucket, key)
    return None if found is None else found.value.decode()


def keys(body: bytes, account: str, bucket: str, prefix: str) -> list[str]:
    """The keys that begin so."""
    backend = s3_backends[account]["aws"]
    begin = sorted(key for key in backend.head_bucket(bucket).keys.keys() if key.startswith(prefix))
    return [key for key in begin if backend.get_object(bucket, key) is not None]


def copy_object(body: bytes, account: str, bucket: str, key: str, to: str) -> dict[str, str]:
    backend = s3_backends[account]["aws"]
    backend.copy_object(backend.get_object(bucket, key), bucket, to)
    return {"etag": backend.get_object(bucket, to).etag}


def delete_object(body: bytes, account: str, bucket: str, key: str) -> dict[str, str]:
    s3_backends[account]["aws"].delete_object(bucket, key)
    return {}


def objects(body: bytes, account: str, bucket: str) -> list[dict[str, Any]]:
    """Every object of the bucket as it is now, with its user metadata."""
    found, _, _, _ = s3_backends[account]["aws"].list_objects(
        s3_backends[account]["aws"].get_bucket(bucket), prefix=None, delimiter=None, marker=None, max_keys=None
    )
    return [{"key": key.name, "etag": key.etag, "size": key.size, "metadata": dict(key.metadata)} for key in found]


def records(body: bytes, account: str) -> list[dict[str, Any]]:
    """Every record set of the account as Route 53 holds it, but those AWS makes by itself."""
    return [
        {
            "name": record.name, "type": record.type, "ttl": int(record.ttl or 0), "values": list(record.records),
            "identifier": record.set_identifier, "check": record.health_check_id,
            "alias": (record.alias_target or {}).get("DNSName"),
        }
        for zone in route53_backends[account]["aws"].zones.values()
        for record in zone.rrsets
        if record.type not in ("NS", "SOA")
    ]


def visible(body: bytes, account: str) -> list[dict[str, Any]]:
    """The same as name servers tell it: only what is INSYNC."""
    return [
        {"name": name, "type": kind, "ttl": ttl, "values": values}
        for name, kind, ttl, values in dns.visible(account)
    ]


def health_checks(body: bytes, account: str) -> list[dict[str, Any]]:
    """Every health check of the account."""
    return [
        {"id": check.id, "reference": check.caller_reference} | check.health_check_config
        for check in route53_backends[account]["aws"].health_checks.values()
    ]


def change(body: bytes, account: str, zone: str) -> dict[str, str]:
    """A change batch by somebody else's hand; the body is the JSON of its `Changes`."""
    number, _ = route53.change(route53_backends[account]["aws"], zone, json.loads(body))
    return {"id": number}


def changes(body: bytes, account: str) -> list[dict[str, Any]]:
    """Every accepted batch of the account, in order, with its times in seconds since 1970."""
    return [
        {"submitted": made.submitted, "insync": made.insync, "changes": made.batch}
        for made in route53.CHANGES.values()
        if made.account == account
    ]


def propagation(body: bytes, account: str, delay: str | None = None, rate: str | None = None) -> dict[str, Any]:
    """Sets the seconds to INSYNC, and the calls a second before `Throttling` (empty: no limit)."""
    setting = route53.propagation(account)
    if delay is not None:
        setting.delay = float(delay)
    if rate is not None:
        setting.rate = float(rate) if rate else None
    return {"delay": setting.delay, "rate": setting.rate}


def asked(body: bytes, name: str) -> int:
    """How often name servers were asked about a name."""
    return sum(1 for question, _ in dns.ASKED if question == name)


def secret(body: bytes, account: str, name: str) -> dict[str, Any] | None:
    """The versions of a secret, oldest first, and the value of AWSCURRENT; None without one."""
    backend = secretsmanager_backends[account][REGION]
    if name not in backend.secrets:
        return None
    held = backend.secrets[name]
    current = [version for version in held.versions.values() if "AWSCURRENT" in version["version_stages"]]
    return {
        "current": current[0].get("secret_string") if current else None,
        "versions": [
            {"id": number, "stages": version["version_stages"], "value": version.get("secret_string")}
            for number, version in held.versions.items()
        ],
    }


def put_secret(body: bytes, account: str, name: str) -> dict[str, Any]:
    """Writes a version by somebody else's hand, whatever is there."""
    backend = secretsmanager_backends[account][REGION]
    if name in backend.secrets:
        backend.put_secret_value(name, body.decode(), None, None, ["AWSCURRENT"])
    else:
        backend.create_secret(
            name=name,
            secret_string=body.decode() or None,
            secret_binary=None,
            description=None,
            tags=None,
            kms_key_id=None,
            client_request_token=None,
            replica_regions=[],
            force_overwrite=False,
        )
    return {}


def lag_secrets(body: bytes, account: str, seconds: str) -> dict[str, str]:
    """Lets reads of secrets lag their writes by so much."""
    secretsmanager.LAG[account] = float(seconds)
    return {}


def schedule_deletion(body: bytes, account: str, name: str) -> dict[str, str]:
    """Schedules a secret for deletion, by somebody else's hand."""
    secretsmanager_backends[account][REGION].delete_secret(name, 7, False)
    return {}


def restore_secret(body: bytes, account: str, name: str) -> dict[str, str]:
    """Brings it back."""
    secretsmanager_backends[account][REGION].restore_secret(name)
    return {}


def secret_arn(body: bytes, account: str, name: str) -> str:
    """The ARN of a secret."""
    return secretsmanager_backends[account][REGION].secrets[name].arn


def launch(body: bytes, account: str, region: str = ec2.REGION) -> str:
    """An instance of no fleet, in that region; its id."""
    return ec2.launch(account, region)


def forget(body: bytes, account: str, instance: str, forgotten: str) -> dict[str, str]:
    """EC2 knows nothing of that instance from now on; `no`: it knows it again."""
    ec2.forget(instance, forgotten != "no")
    return {}


def end(body: bytes, account: str, instance: str) -> dict[str, str]:
    """Ends an instance by somebody else's hand."""
    ec2.end(account, instance)
    return {}


def instances(body: bytes, account: str) -> dict[str, str]:
    """Every instance of the account and its state."""
    return ec2.states(account)


def set_address(body: bytes, account: str, instance: str, address: str) -> dict[str, str]:
    """Says where EC2 sees that instance."""
    ec2.set_address(instance, address)
    return {}


def allocate(body: bytes, account: str, ip: str) -> str:
    """An Elastic IP of that address; its allocation id."""
    return ec2.allocate(account, ip)


def associate(body: bytes, account: str, allocation: str, instance: str = "") -> dict[str, str]:
    """Leads an Elastic IP to an instance, or to nobody, by somebody else's hand."""
    ec2.associate(account, allocation, instance)
    return {}


def associated(body: bytes, account: str, allocation: str) -> str | None:
    """The instance that an Elastic IP leads to."""
    return ec2.associated(account, allocation)


def make_fleet(body: bytes, account: str, kind: str, target: str, weight: str = "1") -> str:
    """A fleet (`spot`, `ec2`, `group`) with so many instances; its id or name."""
    return ec2.make_fleet(account, kind, int(target), int(weight))


def set_target(body: bytes, account: str, fleet: str, target: str, ends_youngest: str = "") -> dict[str, str]:
    """Sets the target of a fleet by somebody else's hand; nothing is ended for it."""
    ec2.set_target(account, fleet, int(target), bool(ends_youngest))
    return {}


def fleet(body: bytes, account: str, fleet: str) -> dict[str, Any]:
    """Target and living instances of a fleet."""
    return ec2.describe(account, fleet)


CA: dict[str, Any] = {}
"""What it takes to start one more CA: `program`, `folder` and `resolver`."""


def new_ca(body: bytes, nonces: str = "5", eab: str = "") -> dict[str, Any]:
    """One more CA, for tests that need it to be different from the shared one."""
    return pebble.beside(**CA, nonces=nonces, eab=bool(eab))


def restart_ca(body: bytes, port: str) -> dict[str, Any]:
    """The CA on that port loses all it knew."""
    return pebble.restart(int(port))


def now(body: bytes) -> float:
    return time.time()


VERBS = {
    function.__name__: function
    for function in (
        new_account, health_checks, show_missing, move_bucket, put_object, object_text, keys, copy_object, delete_object, objects, records, visible, change,
        changes, propagation, asked, secret, put_secret, launch, end, instances, make_fleet, set_target, set_address,
        allocate, associate, associated, forget, fleet, new_ca, restart_ca, now, session, described, untag, make_role, set_quota, delegate, set_up, lag_secrets, schedule_deletion, restore_secret, secret_arn,
    )
}
