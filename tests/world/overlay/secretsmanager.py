"""Secrets Manager's rules for staging labels, and its late reads, which moto does not hold.

A label is on one version at most; AWSCURRENT always is on one; the value without a version and
without a stage is that of AWSCURRENT (API reference: GetSecretValue, UpdateSecretVersionStage).
A secret that is scheduled for deletion takes and gives nothing until it is restored. Reads lag
writes by as much as a test says; writes are judged by what is there.
"""

import copy
import time
from typing import Any

from moto.secretsmanager import models
from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceNotFoundException,
)

LARGEST_VALUE = 65536
"""Bytes of a secret's value (Secrets Manager's quotas)."""

LAG: dict[str, float] = {}
"""By account: seconds by which reads lag writes."""

LONGEST_LAG = 60.0
"""What was there longer ago no read shows."""

PAST: dict[tuple[str, str], list[tuple[float, dict[str, Any] | None]]] = {}
"""By account and ARN, oldest first: since when which versions were there."""

DELETED = "You can't perform this operation on the secret because it was marked for deletion."

plain_get = models.SecretsManagerBackend.get_secret_value
plain_put = models.SecretsManagerBackend.put_secret_value
plain_create = models.SecretsManagerBackend.create_secret
plain_move = models.SecretsManagerBackend.update_secret_version_stage


def install() -> None:
    """Puts these rules in the place of moto's."""
    models.SecretsManagerBackend.get_secret_value = get
    models.SecretsManagerBackend.put_secret_value = put
    models.SecretsManagerBackend.create_secret = create
    models.SecretsManagerBackend.update_secret_version_stage = move
    models.FakeSecret.reset_default_version = make_current


def holder(secret: models.FakeSecret, label: str) -> str | None:
    """The version that holds a label."""
    return next((number for number, version in secret.versions.items() if label in version["version_stages"]), None)


def remember(self: models.SecretsManagerBackend, secret_id: str) -> None:
    """What is there from now on, for reads that come late."""
    secret = self.secrets[secret_id]
    past = PAST.setdefault((self.account_id, secret.arn), [])
    now = time.time()
    while len(past) > 1 and past[1][0] < now - LONGEST_LAG:
        past.pop(0)
    past.append((now, copy.deepcopy(secret.versions)))


def seen(self: models.SecretsManagerBackend, secret: models.FakeSecret) -> dict[str, Any] | None:
    """The versions as a read shows them now; None where it does not show the secret yet."""
    lag = LAG.get(self.account_id, 0.0)
    past = PAST.get((self.account_id, secret.arn), [])
    if not lag or not past:
        return secret.versions
    shown = [versions for since, versions in past if since <= time.time() - lag]
    return shown[-1] if shown else None


def get(self: models.SecretsManagerBackend, secret_id: str, version_id: str, version_stage: str) -> dict[str, Any]:
    if secret_id in self.secrets:
        secret = self.secrets[secret_id]
        if secret.is_deleted():
            raise InvalidRequestException(DELETED)
        shown = seen(self, secret)
        if shown is None:
            raise ResourceNotFoundException("Secrets Manager can't find the specified secret.")
        kept, secret.versions = secret.versions, shown
        try:
            return plain_get(self, secret_id, version_id, version_stage or ("" if version_id else "AWSCURRENT"))
        finally:
            secret.versions = kept
    return plain_get(self, secret_id, version_id, version_stage or ("" if version_id else "AWSCURRENT"))


def create(self: models.SecretsManagerBackend, *args: Any, **kwargs: Any) -> str:
    check_size(kwargs.get("secret_string"), kwargs.get("secret_binary"))
    name = kwargs["name"]
    if name in self.secrets and self.secrets[name].is_deleted():
        raise InvalidRequestException(
            "You can't create this secret because a secret with this name is already scheduled for deletion."
        )
    made = plain_create(self, *args, **kwargs)
    remember(self, name)
    return made


def put(
    self: models.SecretsManagerBackend,
    secret_id: str,
    secret_string: str,
    secret_binary: str,
    client_request_token: str,
    version_stages: list[str],
) -> str:
    check_size(secret_string, secret_binary)
    if secret_id in self.secrets and self.secrets[secret_id].is_deleted():
        raise InvalidRequestException(DELETED)
    put = plain_put(self, secret_id, secret_string, secret_binary, client_request_token, version_stages)
    remember(self, secret_id)
    return put


def check_size(text: str | None, binary: str | None) -> None:
    if len((text or binary or "").encode()) > LARGEST_VALUE:
        raise InvalidParameterException("The secret value must be at most 65536 bytes long.")


def make_current(self: models.FakeSecret, secret_version: dict[str, Any], version_id: str) -> None:
    """The new version takes AWSCURRENT (and its other labels) from whichever version holds them."""
    previous = holder(self, "AWSCURRENT")
    self.remove_version_stages_from_old_versions([*secret_version["version_stages"], "AWSPREVIOUS"])
    if previous:
        self.versions[previous]["version_stages"].append("AWSPREVIOUS")
    self.versions[version_id] = secret_version
    self.default_version_id = version_id


def move(
    self: models.SecretsManagerBackend,
    secret_id: str,
    version_stage: str,
    remove_from_version_id: str,
    move_to_version_id: str,
) -> tuple[str, str]:
    """Judged before anything is changed: a refused move leaves every label where it was."""
    if secret_id in self.secrets:
        secret = self.secrets[secret_id]
        if secret.is_deleted():
            raise InvalidRequestException(DELETED)
        if move_to_version_id and move_to_version_id not in secret.versions:
            raise ResourceNotFoundException(
                f"Secrets Manager can't find the specified secret value for VersionId: {move_to_version_id}"
            )
        found = holder(secret, version_stage)
        if found and move_to_version_id and found not in (remove_from_version_id, move_to_version_id):
            raise InvalidParameterException(
                f"The parameter RemoveFromVersionId must name {found}, to which staging label {version_stage} is attached."
            )
    answer = plain_move(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
    secret = self.secrets[secret_id]
    secret.default_version_id = holder(secret, "AWSCURRENT")
    remember(self, secret_id)
    return answer
