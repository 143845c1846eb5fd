"""MutatingWebhookConfiguration, its webhooks as plain JSON: clusters add fields of their own to them."""

from typing import Any

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource


class MutatingWebhookConfiguration(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Which writes are sent to which webhooks."""

    metadata: ObjectMeta
    webhooks: list[dict[str, Any]] = []


WEBHOOK_CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    False,
    MutatingWebhookConfiguration,
)
