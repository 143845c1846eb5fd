"""AdmissionReview, v1 and v1beta1 (both have the same fields), and what its pods hold that matters here."""

from typing import Any

import msgspec

from spo.api.core import SeccompProfileReference

REVIEW_VERSIONS = frozenset({"admission.k8s.io/v1", "admission.k8s.io/v1beta1"})
"""Values of ``apiVersion`` that are answered, each in its own version."""


class AdmittedSecurityContext(msgspec.Struct, rename="camel", kw_only=True):
    """Of a pod or a container."""

    seccomp_profile: SeccompProfileReference | None = None
    privileged: bool | None = None
    se_linux_options: dict[str, Any] | None = None


class AdmittedContainer(msgspec.Struct, rename="camel", kw_only=True):
    """A container of a pod, of whichever sort."""

    name: str = ""
    image: str | None = None
    security_context: AdmittedSecurityContext | None = None


class PodOs(msgspec.Struct, rename="camel", kw_only=True):
    """Operating system of a pod."""

    name: str = ""


class AdmittedPodSpec(msgspec.Struct, rename="camel", kw_only=True):
    """What a pod runs."""

    security_context: AdmittedSecurityContext | None = None
    init_containers: list[AdmittedContainer] | None = None
    containers: list[AdmittedContainer] | None = None
    ephemeral_containers: list[AdmittedContainer] | None = None
    os: PodOs | None = None


class AdmittedPodMeta(msgspec.Struct, rename="camel", kw_only=True):
    """Metadata of a pod; the name may be empty."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class AdmittedPod(msgspec.Struct, rename="camel", kw_only=True):
    """A pod that is about to be stored; every other field is skipped, and survives because we only patch."""

    metadata: AdmittedPodMeta = msgspec.field(default_factory=AdmittedPodMeta)
    spec: AdmittedPodSpec = msgspec.field(default_factory=AdmittedPodSpec)


class GroupResource(msgspec.Struct, rename="camel", kw_only=True):
    """What is written."""

    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(msgspec.Struct, rename="camel", kw_only=True):
    """Who writes."""

    username: str = ""


class AdmissionRequest(msgspec.Struct, rename="camel", kw_only=True):
    """One write that waits for an answer."""

    uid: str
    resource: GroupResource = msgspec.field(default_factory=GroupResource)
    sub_resource: str | None = None
    namespace: str | None = None
    operation: str = ""
    user_info: UserInfo | None = None
    object: msgspec.Raw = msgspec.Raw()
    """JSON; empty or ``null`` if there is none. msgspec has no union of Raw and None."""
    old_object: msgspec.Raw = msgspec.Raw()
    """The same, before the change."""


class AdmissionReview(msgspec.Struct, rename="camel", kw_only=True):
    """What the API server sends."""

    api_version: str
    kind: str
    request: AdmissionRequest


class PatchOperation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a JSON Patch (RFC 6902); ``add`` also replaces what is there."""

    op: str = "add"
    path: str
    value: Any


class AdmissionStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Why, in an answer."""

    code: int = 0
    reason: str = ""
    message: str = ""


class AdmissionResponse(msgspec.Struct, rename="camel", kw_only=True):
    """The answer to one write."""

    uid: str
    allowed: bool
    status: AdmissionStatus | msgspec.UnsetType = msgspec.UNSET
    patch: bytes | msgspec.UnsetType = msgspec.UNSET
    """The JSON Patch; base64 on the wire."""
    patch_type: str | msgspec.UnsetType = msgspec.UNSET
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


class AnsweredReview(msgspec.Struct, rename="camel", kw_only=True):
    """What goes back to the API server."""

    api_version: str
    kind: str = "AdmissionReview"
    response: AdmissionResponse
