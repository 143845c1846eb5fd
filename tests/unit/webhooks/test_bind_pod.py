"""Which containers get which profile, and when a pod is refused instead."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import LabelSelector
from spo.profiles.binding_rule import BindingRule
from spo.profiles.image_reference import parse_image
from spo.webhooks.binding import Availability, Bindable, bind
from spo.webhooks.decision import UNCHANGED, Decision
from tests.fakes.json_patch import as_admitted, patched

Obj = dict[str, Any]


def rule(image: str, profile: str = "strict", name: str = "b", selector: Obj | None = None) -> BindingRule:
    wanted = LabelSelector(match_labels=selector) if selector is not None else None
    rank = (0 if image == "*" else 2, len(selector or {}))
    return BindingRule(name, profile, image, parse_image(image), wanted, rank)


def container(name: str, image: str = "nginx:1", **context: Any) -> Obj:
    return {"name": name, "image": image, **({"securityContext": context} if context else {})}


def pod(*containers: Obj, labels: Obj | None = None, annotations: Obj | None = None, **spec: Any) -> Obj:
    metadata: Obj = {"generateName": "web-"}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": {"containers": list(containers), **spec}}


def decide(
    obj: Obj,
    *rules: BindingRule,
    states: Mapping[str, Availability] | None = None,
    logged: tuple[str, ...] = (),
) -> Decision:
    known = states or {}
    about = Bindable("shop", as_admitted(obj), None, logged)
    return bind(about, rules, lambda name: known.get(name, Availability.USABLE))


def profiles(obj: Obj, field: str = "containers") -> list[str | None]:
    contexts = [one.get("securityContext") or {} for one in obj["spec"].get(field, [])]
    return [context.get("seccompProfile", {}).get("localhostProfile") for context in contexts]


STRICT = "operator/shop/strict.json"


def test_container_with_the_image_gets_the_profile_and_others_do_not() -> None:
    obj = pod(container("a"), container("b", "redis:6"))
    bound = patched(obj, decide(obj, rule("docker.io/library/nginx:1")).patch)
    assert bound["spec"]["containers"][0]["securityContext"] == {
        "seccompProfile": {"type": "Localhost", "localhostProfile": STRICT}
    }
    assert bound["spec"]["containers"][1] == obj["spec"]["containers"][1]


@pytest.mark.parametrize("context", [{"runAsUser": 5}, {"seccompProfile": None, "runAsUser": 5}])
def test_other_fields_of_the_security_context_stay(context: Obj) -> None:
    obj = pod(container("a", **context))
    bound = patched(obj, decide(obj, rule("nginx:1")).patch)
    made = bound["spec"]["containers"][0]["securityContext"]
    assert made["runAsUser"] == 5
    assert made["seccompProfile"]["localhostProfile"] == STRICT


def test_null_security_context_counts_as_absent() -> None:
    obj = pod({"name": "a", "image": "nginx:1", "securityContext": None})
    assert profiles(patched(obj, decide(obj, rule("nginx:1")).patch)) == [STRICT]


def test_init_containers_are_bound_too() -> None:
    obj = pod(container("a"), initContainers=[container("i"), container("j", "redis")])
    bound = patched(obj, decide(obj, rule("nginx:1")).patch)
    assert profiles(bound, "initContainers") == [STRICT, None]
    assert profiles(bound) == [STRICT]


def test_earlier_container_is_bound_although_the_last_one_has_a_profile() -> None:
    obj = pod(container("a"), container("b", seccompProfile={"type": "RuntimeDefault"}))
    bound = patched(obj, decide(obj, rule("nginx:1")).patch)
    assert profiles(bound) == [STRICT, None]
    assert bound["spec"]["containers"][1] == obj["spec"]["containers"][1]


def test_profile_of_the_pod_wins_over_a_binding() -> None:
    chosen = {"seccompProfile": {"type": "Unconfined"}}
    assert decide(pod(container("a"), securityContext=chosen), rule("*")) is UNCHANGED
    old = {"seccomp.security.alpha.kubernetes.io/pod": "localhost/x.json"}
    assert decide(pod(container("a"), annotations=old), rule("*")) is UNCHANGED


def test_pod_security_context_without_a_profile_is_no_choice() -> None:
    obj = pod(container("a"), securityContext={"runAsUser": 7})
    assert profiles(patched(obj, decide(obj, rule("*")).patch)) == [STRICT]


def test_every_image_is_bound_by_a_star_unless_another_binding_is_closer() -> None:
    obj = pod(container("a"), container("b", "redis"))
    bound = patched(obj, decide(obj, rule("*", "loose"), rule("nginx:1")).patch)
    assert profiles(bound) == [STRICT, "operator/shop/loose.json"]


def test_selector_decides_by_the_labels_of_the_pod() -> None:
    selective = rule("*", selector={"app": "web"})
    assert decide(pod(container("a")), selective) == UNCHANGED
    obj = pod(container("a"), labels={"app": "web"})
    assert profiles(patched(obj, decide(obj, selective).patch)) == [STRICT]


def test_container_of_a_logs_recording_is_left_to_it() -> None:
    obj = pod(container("a"), container("b"))
    decision = decide(obj, rule("nginx:1"), logged=("a",))
    assert profiles(patched(obj, decision.patch)) == [None, STRICT]


@pytest.mark.parametrize(
    ("state", "problem"),
    [(Availability.MISSING, "does not exist in shop"), (Availability.DELETING, "is being deleted")],
)
def test_profile_that_cannot_be_had_refuses_the_pod_and_both_are_named(
    state: Availability, problem: str
) -> None:
    decision = decide(pod(container("a")), rule("nginx:1"), states={"strict": state})
    assert decision.refusal == (
        "ProfileBinding shop/b binds container 'a' to SeccompProfile 'strict', "
        f"which {problem}; create the profile, or delete or correct the binding"
    )
    assert decision.missing == ("strict",)
    assert not decision.patch


def test_missing_profile_of_a_binding_that_does_not_decide_is_no_reason_to_refuse() -> None:
    rules = rule("nginx:1"), rule("*", "missing", "every")
    decision = decide(pod(container("a")), *rules, states={"missing": Availability.MISSING})
    assert not decision.refusal


def test_warnings_tell_what_a_binding_cannot_do() -> None:
    obj = pod(container("a", privileged=True))
    decision = decide(obj, rule("nginx:1"), states={"strict": Availability.NOT_INSTALLED})
    privileged, waiting = decision.warnings
    assert "container 'a' is privileged" in privileged
    assert "'strict' is not installed on every node" in waiting
    assert decision.patch


def test_windows_has_no_seccomp() -> None:
    assert decide(pod(container("a"), os={"name": "windows"}), rule("*")) is UNCHANGED


def test_mirror_of_a_static_pod_is_left_alone_if_a_kubelet_makes_it() -> None:
    obj = pod(container("a"), annotations={"kubernetes.io/config.mirror": "x"})
    for by_node in (True, False):
        about = Bindable("shop", as_admitted(obj), by_node=by_node)
        assert (bind(about, [rule("*")], lambda _: Availability.USABLE) is UNCHANGED) is by_node


def test_binding_is_safe_to_run_twice() -> None:
    obj = pod(container("a"), container("b", runAsUser=1), initContainers=[container("i")])
    once = patched(obj, decide(obj, rule("*")).patch)
    assert decide(once, rule("*")) == UNCHANGED


def test_new_ephemeral_containers_are_bound_and_old_ones_are_not_touched() -> None:
    old = pod(container("a"), ephemeralContainers=[container("e1")])
    new = pod(container("a"), ephemeralContainers=[container("e1"), container("e2")])
    about = Bindable("shop", as_admitted(new), as_admitted(old))
    decision = bind(about, [rule("nginx:1")], lambda _: Availability.USABLE, ephemeral=True)
    bound = patched(new, decision.patch)
    assert profiles(bound, "ephemeralContainers") == [None, STRICT]
    assert profiles(bound) == [None]


def test_profile_name_that_is_no_file_name_refuses() -> None:
    decision = decide(pod(container("a")), rule("nginx:1", "a" * 251))
    assert "ProfileBinding shop/b" in decision.refusal
    assert "over 250 characters" in decision.refusal


texts = st.text(max_size=12) | st.sampled_from(["nginx:1", "nginx", "redis:6", "operator"])
contexts = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "seccompProfile": st.none() | st.fixed_dictionaries({"type": texts}),
        "privileged": st.booleans(),
        "capabilities": st.fixed_dictionaries({"add": st.lists(texts, max_size=2)}),
    },
)
containers = st.lists(
    st.fixed_dictionaries({"name": texts, "image": texts}, optional={"securityContext": contexts}), max_size=4
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.none() | st.dictionaries(texts, texts, max_size=3), "x": texts}
        ),
        "spec": st.fixed_dictionaries(
            {"containers": containers},
            optional={"initContainers": st.none() | containers, "securityContext": contexts, "x": texts},
        ),
    }
)


@given(pods)
def test_any_pod_keeps_all_it_had_and_only_gains_profiles(obj: Obj) -> None:
    decision = decide(obj, rule("nginx"), rule("*", "loose", "every", {"app": "operator"}))
    bound = patched(obj, decision.patch)
    assert decide(bound, rule("nginx"), rule("*", "loose", "every", {"app": "operator"})).patch == ()
    for field in ("containers", "initContainers"):
        for before, after in zip(obj["spec"].get(field) or (), bound["spec"].get(field) or (), strict=True):
            context = dict(after.get("securityContext") or {})
            if (before.get("securityContext") or {}).get("seccompProfile") is None:
                context.pop("seccompProfile", None)
            kept = dict(before.get("securityContext") or {})
            if kept.get("seccompProfile") is None:
                kept.pop("seccompProfile", None)
            assert context == kept
            assert {**after, "securityContext": 0} == {**before, "securityContext": 0}
    assert bound["metadata"] == obj["metadata"]
