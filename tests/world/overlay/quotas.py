"""The quota of spot instances, which moto's Service Quotas does not know."""

from typing import Any

from moto.servicequotas import models

PROCESSORS: dict[str, float] = {}
"""By account; AWS gives new ones 5 or 32."""

plain_get = models.ServiceQuotasBackend.get_service_quota


def install() -> None:
    """Adds the quota to moto's."""
    models.ServiceQuotasBackend.get_service_quota = get


def get(self: models.ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    if (service_code, quota_code) != ("ec2", "L-34B43A08"):
        return plain_get(self, service_code, quota_code)
    return {"ServiceCode": "ec2", "QuotaCode": quota_code, "Value": PROCESSORS.get(self.account_id, 32.0)}
