"""Pure: which pods a binding has bound, and which it should have bound."""

from typing import Any

import pytest

from spo.api.core import Container, Pod, PodSpec, PodStatus, SeccompProfileReference, SecurityContext
from spo.api.meta import ObjectMeta
from spo.manager.bound_pods import WorkloadRecord, project_workload
from spo.manager.profile_binding import Unbound, bound_pods, unbound_containers
from spo.profiles.binding_rule import BindingRule
from spo.profiles.image_reference import parse_image

STRICT = "operator/shop/strict.json"


def rule(name: str, image: str, profile: str = "strict") -> BindingRule:
    return BindingRule(name, profile, image, parse_image(image), None, (0 if image == "*" else 2, 0))


def context(path: str | None) -> SecurityContext | None:
    if path is None:
        return None
    return SecurityContext(seccomp_profile=SeccompProfileReference(type="Localhost", localhost_profile=path))


def workload(
    path: str | None = None,
    image: str = "nginx",
    created: str = "2026-01-02T00:00:00Z",
    phase: str = "Running",
    pod_path: str | None = None,
    init: bool = False,
    **meta: Any,
) -> WorkloadRecord:
    one = Container(name="c", image=image, security_context=context(path))
    spec = PodSpec(
        security_context=context(pod_path),
        init_containers=[one] if init else [],
        containers=[] if init else [one],
    )
    metadata = ObjectMeta(name="p", namespace="shop", creation_timestamp=created, **meta)
    return project_workload(Pod(metadata=metadata, spec=spec, status=PodStatus(phase=phase)))


NGINX, EVERY = rule("nginx", "nginx"), rule("every", "*")
OTHER = rule("other", "nginx", "loose")


@pytest.mark.parametrize(
    ("pod", "about", "rules", "expected"),
    [
        pytest.param(workload(STRICT), NGINX, [NGINX], True, id="profile-and-image"),
        pytest.param(workload(STRICT, init=True), NGINX, [NGINX], True, id="init-container"),
        pytest.param(workload(STRICT, image="redis"), NGINX, [NGINX], False, id="other-image"),
        pytest.param(workload("operator/shop/x.json"), NGINX, [NGINX], False, id="other-profile"),
        pytest.param(workload(None), NGINX, [NGINX], False, id="no-profile"),
        pytest.param(workload(STRICT), EVERY, [NGINX, EVERY], False, id="closer-binding-counts"),
        pytest.param(workload(STRICT), NGINX, [NGINX, EVERY], True, id="it-is-the-closer-one"),
        pytest.param(workload(STRICT), NGINX, [OTHER, NGINX], True, id="another-profile-does-not-compete"),
        pytest.param(workload(STRICT), NGINX, [], True, id="binding-is-being-deleted"),
        pytest.param(workload(STRICT, phase="Succeeded"), NGINX, [NGINX], True, id="finished-pod-exists"),
    ],
)
def test_bound_pods(
    pod: WorkloadRecord, about: BindingRule, rules: list[BindingRule], expected: bool
) -> None:
    assert bound_pods("shop", about, rules, [pod]) == (["shop/p"] if expected else [])


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(workload(), True, id="younger"),
        pytest.param(workload(created="2026-01-01T00:00:00Z"), True, id="same-second"),
        pytest.param(workload(created="2025-12-31T23:59:59Z"), False, id="older"),
        pytest.param(workload(created=""), False, id="nobody-knows"),
        pytest.param(workload(image="redis"), False, id="other-image"),
        pytest.param(workload("mine.json"), False, id="profile-of-its-own"),
        pytest.param(workload(pod_path="mine.json"), False, id="profile-of-the-pod"),
        pytest.param(workload(phase="Failed"), False, id="over"),
        pytest.param(workload(deletion_timestamp="2026-01-03T00:00:00Z"), False, id="going"),
        pytest.param(workload(annotations={"kubernetes.io/config.mirror": "x"}), False, id="static-pod"),
    ],
)
def test_pods_that_should_have_been_bound(pod: WorkloadRecord, expected: bool) -> None:
    found = unbound_containers(NGINX, [NGINX, EVERY], [pod], "2026-01-01T00:00:00Z")
    assert found == ([Unbound("p", "c")] if expected else [])
