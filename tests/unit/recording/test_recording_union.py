from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.meta import ObjectMeta
from spo.api.seccomp_profile import Arg, SeccompProfile, SeccompProfileSpec, Syscall
from spo.names import RUNTIME_BASE_ANNOTATION, SYSCALLS_BY_ARCHITECTURE_ANNOTATION
from spo.recording.annotations import AnnotationError
from spo.recording.union import NotMergeableError, union
from spo.recording.verdict import STRICTNESS, Verdicts


def rule(action: str, *names: str, args: Any = (), errno_ret: int | None = None) -> Syscall:
    return Syscall(names=list(names), action=f"SCMP_ACT_{action}", args=list(args), errno_ret=errno_ret)


def first(value: int) -> Arg:
    return Arg(index=0, value=value, op="SCMP_CMP_EQ")


def profile(*rules: Syscall, default: str = "ERRNO", annotations: Any = None, **more: Any) -> SeccompProfile:
    return SeccompProfile(
        metadata=ObjectMeta(name="p", annotations=annotations or {}),
        spec=SeccompProfileSpec(default_action=f"SCMP_ACT_{default}", syscalls=list(rules), **more),
    )


def rules_of(merged: SeccompProfile) -> list[tuple[str, list[str], int]]:
    return [
        (entry.action.removeprefix("SCMP_ACT_"), entry.names, len(entry.args))
        for entry in merged.spec.syscalls
    ]


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        pytest.param(
            [profile(rule("ALLOW", "a", "b")), profile(rule("ALLOW", "c", "a"))],
            [("ALLOW", ["a", "b", "c"], 0)],
            id="names",
        ),
        pytest.param(
            [profile(rule("ALLOW", "a")), profile(rule("LOG", "a", "b"))],
            [("ALLOW", ["a"], 0), ("LOG", ["b"], 0)],
            id="laxer-action-wins",
        ),
        pytest.param(
            [profile(rule("ALLOW", "a", args=[first(1)])), profile(rule("ALLOW", "a", args=[first(2)]))],
            [("ALLOW", ["a"], 1), ("ALLOW", ["a"], 1)],
            id="conditions-of-both",
        ),
        pytest.param(
            [profile(rule("ALLOW", "a", args=[first(1)])), profile(rule("ALLOW", "a"))],
            [("ALLOW", ["a"], 0)],
            id="without-conditions-is-laxer",
        ),
        pytest.param(
            [profile(rule("ERRNO", "a", "b"), default="ALLOW"), profile(rule("ERRNO", "b"), default="ALLOW")],
            [("ERRNO", ["b"], 0)],
            id="refused-only-if-all-refuse",
        ),
        pytest.param(
            [
                profile(rule("ERRNO", "a", args=[first(1)]), default="ALLOW"),
                profile(rule("ERRNO", "a", args=[first(1)]), default="ALLOW"),
            ],
            [("ERRNO", ["a"], 1)],
            id="same-stricter-condition",
        ),
        pytest.param(
            [profile(rule("ERRNO", "a", args=[first(1)]), default="ALLOW"), profile(default="ALLOW")],
            [],
            id="stricter-condition-of-one",
        ),
        pytest.param(
            [
                profile(rule("ERRNO", "a", errno_ret=5), default="KILL"),
                profile(rule("ALLOW", "a", args=[first(1)]), default="KILL"),
            ],
            [("ALLOW", ["a"], 1)],
            id="what-passes-is-kept-when-only-one-can-be",
        ),
        pytest.param([profile(rule("ERRNO", "a"), rule("ALLOW"))], [], id="normalised"),
        pytest.param([profile(rule("ALLOW", "a"), rule("ERRNO", "a"))], [("ALLOW", ["a"], 0)], id="first"),
    ],
)
def test_rules_of_a_union(profiles: list[SeccompProfile], expected: Any) -> None:
    assert rules_of(union(profiles)) == expected


def test_default_is_the_laxest_and_architectures_are_joined() -> None:
    merged = union(
        [
            profile(rule("ALLOW", "a"), default="KILL", architectures=["SCMP_ARCH_X86_64"]),
            profile(
                default="LOG",
                architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
                flags=["SECCOMP_FILTER_FLAG_LOG"],
            ),
        ]
    )

    assert merged.spec.default_action == "SCMP_ACT_LOG"
    assert merged.spec.architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert merged.spec.flags == ["SECCOMP_FILTER_FLAG_LOG"]


def test_runtime_base_shrinks_by_what_a_program_did() -> None:
    base = {RUNTIME_BASE_ANNOTATION: '["capset","prctl"]', "mine": "kept"}
    merged = union(
        [
            profile(rule("ALLOW", "read", "capset", "prctl"), annotations=base),
            profile(rule("ALLOW", "prctl")),
        ]
    )

    assert merged.metadata.annotations == {RUNTIME_BASE_ANNOTATION: '["capset"]', "mine": "kept"}


def test_names_by_architecture_are_joined() -> None:
    both = {SYSCALLS_BY_ARCHITECTURE_ANNOTATION: '{"SCMP_ARCH_X86_64":["a"],"SCMP_ARCH_X86":["b"]}'}
    merged = union(
        [
            profile(
                rule("ALLOW", "a", "b"),
                annotations=both,
                architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            ),
            profile(rule("ALLOW", "c"), architectures=["SCMP_ARCH_X86_64"]),
        ]
    )

    assert merged.metadata.annotations == {
        SYSCALLS_BY_ARCHITECTURE_ANNOTATION: '{"SCMP_ARCH_X86_64":["a","c"],"SCMP_ARCH_X86":["b"]}'
    }


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "[" * 10_000])
def test_broken_annotation_is_named(text: str) -> None:
    with pytest.raises(AnnotationError, match="runtime-base"):
        union([profile(annotations={RUNTIME_BASE_ANNOTATION: text})])


def test_what_has_no_union_is_refused() -> None:
    with pytest.raises(NotMergeableError, match=r"spec.baseProfileName differs \('', 'runc'\)"):
        union([profile(), profile(base_profile_name="runc")])


ACTIONS = st.sampled_from(["ALLOW", "LOG", "ERRNO", "KILL", "TRAP", "TRACE"])
RULES = st.builds(
    lambda action, names, args: rule(action, *names, args=args),
    ACTIONS,
    st.lists(st.sampled_from("abc"), max_size=3),
    st.lists(st.integers(0, 2).map(first), max_size=1),
)
PROFILES = st.builds(lambda rules, default: profile(*rules, default=default), st.lists(RULES), ACTIONS)


@given(st.lists(PROFILES, min_size=1, max_size=4))
def test_union_lets_pass_what_any_lets_pass_and_merging_again_changes_nothing(
    profiles: list[SeccompProfile],
) -> None:
    merged = union(profiles)

    verdicts = Verdicts(merged.spec)
    for one in (Verdicts(part.spec) for part in profiles):
        for name in "abc":
            if one[name].always_passes:
                assert verdicts[name].always_passes
            if not one[name].never_passes:
                assert not verdicts[name].never_passes
            if not one[name].rules and not verdicts[name].rules:
                assert STRICTNESS[verdicts[name].otherwise.action] <= STRICTNESS[
                    one[name].otherwise.action
                ] or (verdicts[name].otherwise.refuses)
    assert union([merged]) == merged
    assert union([merged, merged]) == merged
