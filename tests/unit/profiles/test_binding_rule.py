"""The binding that decides is the most specific one."""

import random

import pytest

from spo.api.meta import LabelSelector, ObjectMeta
from spo.api.profile_binding import ProfileBinding, ProfileBindingSpec, ProfileRef
from spo.profiles.binding_rule import BindingRule, deciding_rule, rule_of

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER_DIGEST = "sha256:" + "f" * 64


def binding(name: str, image: str, selector: dict[str, str] | None = None, **meta: str) -> ProfileBinding:
    return ProfileBinding(
        metadata=ObjectMeta(name=name, namespace="ns", **meta),
        spec=ProfileBindingSpec(
            profile_ref=ProfileRef(kind="SeccompProfile", name=f"for-{name}"),
            image=image,
            pod_selector=None if selector is None else LabelSelector(match_labels=selector),
        ),
    )


def rule(name: str, image: str, selector: dict[str, str] | None = None) -> BindingRule:
    made = rule_of(binding(name, image, selector))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("bound", "image", "expected"),
    [
        ("nginx:1.19.1", "nginx:1.19.1", True),
        ("nginx:1.19.1", "docker.io/library/nginx:1.19.1", True),
        ("index.docker.io/nginx", "nginx:latest", True),
        ("nginx", "nginx", True),
        ("nginx", "nginx:1.19.1", False),
        ("nginx:1.19.1", f"nginx@{DIGEST}", False),
        ("nginx:latest", f"nginx@{DIGEST}", False),
        ("nginx", f"nginx@{DIGEST}", False),
        ("nginx:1.19.1", f"nginx:1.19.1@{DIGEST}", True),
        ("nginx:1.20", f"nginx:1.19.1@{DIGEST}", False),
        (f"nginx@{DIGEST}", f"nginx:1.19.1@{DIGEST}", True),
        (f"nginx:1.20@{DIGEST}", f"nginx@{DIGEST}", True),
        (f"nginx@{OTHER_DIGEST}", f"nginx@{DIGEST}", False),
        (f"nginx@{DIGEST}", "nginx", False),
        ("quay.io/nginx", "nginx", False),
        ("reg:5000/nginx", "reg:5000/nginx:latest", True),
        ("reg:5000/nginx", "reg/nginx", False),
        ("*", "Any Thing", True),
        ("*", "", True),
        ("No Image", "No Image", True),
        ("No Image", "No image", False),
    ],
)
def test_image_of_a_binding(bound: str, image: str, expected: bool) -> None:
    assert (deciding_rule([rule("b", bound)], image, {}) is not None) is expected


def test_selector_narrows_a_binding() -> None:
    selective = rule("b", "*", {"app": "web"})
    assert deciding_rule([selective], "nginx", {"app": "web"}) is selective
    assert deciding_rule([selective], "nginx", {}) is None


def test_most_specific_binding_decides_whatever_the_order() -> None:
    ranked = [
        rule("z-digest", f"nginx:1@{DIGEST}"),
        rule("y-tag-selector", "nginx:1", {"app": "web", "tier": "front"}),
        rule("x-tag-less-selector", "nginx:1", {"app": "web"}),
        rule("w-tag", "nginx:1"),
        rule("u-selector", "*", {"app": "web"}),
        rule("a-every", "*"),
    ]
    labels = {"app": "web", "tier": "front"}
    while ranked:
        shuffled = random.sample(ranked, len(ranked))
        assert deciding_rule(shuffled, f"nginx:1@{DIGEST}", labels) is ranked.pop(0)
    assert deciding_rule([], "nginx", labels) is None


def test_ties_are_decided_by_name() -> None:
    first, second = rule("a", "nginx"), rule("b", "docker.io/nginx")
    assert deciding_rule([second, first], "nginx", {}) is first


def test_binding_that_is_being_deleted_or_of_another_kind_binds_nothing() -> None:
    assert rule_of(binding("b", "nginx", deletion_timestamp="2026-01-01T00:00:00Z")) is None
    other = binding("b", "nginx")
    other.spec.profile_ref.kind = "SelinuxProfile"
    assert rule_of(other) is None
