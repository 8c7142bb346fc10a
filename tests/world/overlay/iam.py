"""IAM's reckoning of what a role may do, which moto does not make.

Of the evaluation logic as much as the tests need: statements that allow, wildcards, and conditions on the keys that were
given (IAM User Guide, "Policy evaluation logic", and the API reference of SimulatePrincipalPolicy).
"""

import fnmatch
import json
from typing import Any

from moto.core.responses import ActionResult
from moto.iam import models, responses
from moto.iam.exceptions import NotFoundException

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


def install() -> None:
    """Adds the call to moto's."""
    responses.IamResponse.simulate_principal_policy = simulate


def make_role(account: str, name: str, policy: str) -> None:
    backend = models.iam_backends[account]["aws"]
    backend.create_role(name, TRUST, "/", None, None, [], 3600)
    backend.put_role_policy(name, "host", policy)


def simulate(self: responses.IamResponse) -> ActionResult:
    name = self._get_param("PolicySourceArn").rsplit("/", 1)[-1]
    role = next((role for role in self.backend.get_roles() if role.name == name), None)
    if role is None:
        raise NotFoundException(f"Role {name} not found")
    statements = [one for text in role.policies.values() for one in json.loads(text)["Statement"]]
    resource = self._get_param("ResourceArns")[0]
    given = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in self._get_param("ContextEntries", [])}
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": "allowed" if allowed(statements, action, resource, given) else "implicitDeny",
        }
        for action in self._get_param("ActionNames")
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def allowed(statements: list[dict[str, Any]], action: str, resource: str, given: dict[str, list[str]]) -> bool:
    return any(
        action in many(one["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in many(one["Resource"]))
        and holds(one.get("Condition", {}), given)
        for one in statements
    )


def holds(condition: dict[str, Any], given: dict[str, list[str]]) -> bool:
    """Values are compared as patterns: those of StringEquals have no wildcards in the tests."""
    return all(
        (operator.startswith("ForAllValues:") or key in given)
        and all(any(fnmatch.fnmatchcase(value, pattern) for pattern in many(wanted)) for value in given.get(key, []))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
