"""SeccompProfiles, pods and conditions as tests need them."""

from typing import Any

from spo.api.core import Container, Pod, PodSpec, SeccompProfileReference, SecurityContext
from spo.api.meta import Condition, ObjectMeta
from spo.api.seccomp_profile import SeccompProfile, SeccompProfileSpec, SeccompProfileStatus, Syscall
from spo.kube.cache import Cache, Key
from spo.profiles.release import RELEASED

NS = "team-a"
DELETED_AT = "2026-01-02T00:00:00Z"


def profile(
    name: str = "web",
    action: str = "SCMP_ACT_ERRNO",
    *,
    generation: int = 1,
    base: str | None = None,
    deleted: bool = False,
    created: str = "2026-01-01T00:00:00Z",
    finalizers: tuple[str, ...] = (),
    status: SeccompProfileStatus | None = None,
    **spec: Any,
) -> SeccompProfile:
    return SeccompProfile(
        metadata=ObjectMeta(
            name=name,
            namespace=NS,
            uid=f"uid-{name}-{created}",
            resource_version="1",
            generation=generation,
            creation_timestamp=created,
            deletion_timestamp=DELETED_AT if deleted else None,
            finalizers=list(finalizers),
        ),
        spec=SeccompProfileSpec(default_action=action, base_profile_name=base, **spec),
        status=status,
    )


def released(one: SeccompProfile, generation: int | None = None) -> SeccompProfile:
    """The profile being deleted, with the manager's leave to remove its file."""
    condition = Condition(
        type=RELEASED,
        status="True",
        reason="Unused",
        observed_generation=one.metadata.generation if generation is None else generation,
    )
    return SeccompProfile(
        metadata=ObjectMeta(
            name=one.metadata.name,
            namespace=one.metadata.namespace,
            uid=one.metadata.uid,
            resource_version="2",
            generation=one.metadata.generation,
            creation_timestamp=one.metadata.creation_timestamp,
            deletion_timestamp=DELETED_AT,
        ),
        spec=one.spec,
        status=SeccompProfileStatus(conditions=[condition]),
    )


def allow(*names: str) -> list[Syscall]:
    return [Syscall(names=list(names), action="SCMP_ACT_ALLOW")]


def pod(name: str, *paths: str, namespace: str = NS, node: str = "node-1") -> Pod:
    """A pod with one container for each localhost profile."""
    containers = [
        Container(
            name=f"c{index}",
            security_context=SecurityContext(
                seccomp_profile=SeccompProfileReference(type="Localhost", localhost_profile=path)
            ),
        )
        for index, path in enumerate(paths)
    ]
    return Pod(
        metadata=ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}"),
        spec=PodSpec(node_name=node, containers=containers),
    )


def put(cache: Cache[SeccompProfile], *profiles: SeccompProfile) -> None:
    """Let the cache hold these objects, in addition."""
    cache.update([(Key(one.metadata.namespace or "", one.metadata.name), one) for one in profiles])


def drop(cache: Cache[SeccompProfile], name: str) -> None:
    """Let the cache learn that an object is gone."""
    cache.update([(Key(NS, name), None)])
