"""Pure: what is wrong with a spod object that its schema lets through."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from spo.api.spod import SpodSpec
from spo.errors import TerminalError
from spo.names import BINDING_WEBHOOK, RECORDING_WEBHOOK

_QUANTITY: Final = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?", re.ASCII
)
_MAX_PATH: Final = 4096
_WEBHOOKS: Final = (BINDING_WEBHOOK, RECORDING_WEBHOOK)


class InvalidSpodError(TerminalError):
    """The settings cannot be carried out; the DaemonSet stays as it is."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


def check(spec: SpodSpec, selinuxd_image: str) -> None:
    """Look at what an API server would take, and what would then leave the nodes without a daemon.

    Args:
        spec: of the spod object.
        selinuxd_image: empty if the manager was not told one.

    Raises:
        InvalidSpodError: names the field and what to do.
    """
    _check_path(spec.host_proc_volume_path)
    if spec.enable_selinux and not selinuxd_image:
        raise InvalidSpodError(
            "spec.enableSelinux",
            "no image of selinuxd is known; set RELATED_IMAGE_SELINUXD in the manager's Deployment",
        )
    if spec.enable_app_armor:
        raise InvalidSpodError(
            "spec.enableAppArmor", "AppArmor profiles cannot be loaded yet; set it to false"
        )
    _check_webhooks(spec)
    _check_resources(spec)
    _check_tolerations(spec)


def _check_webhooks(spec: SpodSpec) -> None:
    for index, options in enumerate(spec.webhook_options):
        if options.name not in _WEBHOOKS:
            raise InvalidSpodError(
                f"spec.webhookOptions[{index}].name",
                f"{options.name!r} is no webhook of ours; there are {' and '.join(_WEBHOOKS)}",
            )


def _check_resources(spec: SpodSpec) -> None:
    resources = spec.daemon_resource_requirements
    if resources is not None:
        for kind, quantities in (("limits", resources.limits), ("requests", resources.requests)):
            for name in _malformed(quantities):
                raise InvalidSpodError(
                    f"spec.daemonResourceRequirements.{kind}[{name}]",
                    f"{quantities[name]!r} is not a quantity such as 128Mi or 100m",
                )


def _check_tolerations(spec: SpodSpec) -> None:
    for index, toleration in enumerate(spec.tolerations):
        field = f"spec.tolerations[{index}]"
        if toleration.operator == "Exists" and toleration.value:
            raise InvalidSpodError(f"{field}.value", "must be empty when operator is Exists")
        if not toleration.key and toleration.operator != "Exists":
            raise InvalidSpodError(f"{field}.operator", "must be Exists when key is empty")
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            raise InvalidSpodError(f"{field}.effect", "must be NoExecute when tolerationSeconds is set")


def _check_path(path: str | None) -> None:
    field = "spec.hostProcVolumePath"
    if not path:
        return  # the usual place
    if not path.startswith("/") or len(path) > _MAX_PATH or not path.isprintable():
        raise InvalidSpodError(field, f"{path!r} is not an absolute path, such as /hostproc")
    if ".." in path.split("/"):
        raise InvalidSpodError(field, f"{path!r} must not contain '..'")
    if ":" in path:
        raise InvalidSpodError(field, f"{path!r} must not contain ':'")


def _malformed(quantities: Mapping[str, int | str]) -> Iterator[str]:
    for name, quantity in sorted(quantities.items()):
        negative = quantity < 0 if isinstance(quantity, int) else quantity.startswith("-")
        if negative or (isinstance(quantity, str) and not _QUANTITY.fullmatch(quantity)):
            yield name
