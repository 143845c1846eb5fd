import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.recording.identity import ContainerIdentity, container_of, container_of_proc

DATA = Path(__file__).parents[2] / "data/cgroups"
ID = "0123456789abcdef" * 4
OUTER = "f" * 64
UID = "11111111-2222-3333-4444-555555555555"
UID_ = UID.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"


def names(path: str) -> list[str]:
    """The name of a cgroup and of its ancestors, as the recorder reports them."""
    return [name for name in reversed(path.split("/")) if name]


def layouts() -> list[Any]:
    text = (DATA / "layouts.txt").read_text()
    for mark, value in (
        ("<id>", ID),
        ("<other>", OUTER),
        ("<uid>", UID),
        ("<u_i_d>", UID_),
        ("<static>", STATIC),
    ):
        text = text.replace(mark, value)
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert len(rows) > 30
    return [
        pytest.param(path, what == "container", None if pod == "-" else pod, id=name)
        for name, path, what, pod in rows
    ]


@pytest.mark.parametrize(("path", "found", "pod"), layouts())
def test_container_and_pod_are_found(path: str, found: bool, pod: str | None) -> None:
    expected = ContainerIdentity(ID, pod) if found else None

    assert container_of(names(path)) == expected
    assert container_of(names(path)[:6]) == expected
    assert container_of_proc(f"0::{path}\n") == expected


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(ID[:-1], id="63-digits"),
        pytest.param(ID + "0", id="65-digits"),
        pytest.param(ID.upper(), id="upper-case"),
        pytest.param("-" * 300 + ID, id="longer-than-any-name"),
    ],
)
def test_what_only_looks_like_a_container_is_none(name: str) -> None:
    assert container_of([name, "docker"]) is None


def test_pod_of_an_outer_container_is_not_taken() -> None:
    assert container_of(names(f"/kubepods/pod{UID}/{OUTER}/kubelet/kubepods/{ID}")) == (ID, None)


@pytest.mark.parametrize("uid", ["pod1111", f"pod{UID}0", f"podx{UID}", f"mypod{UID}"])
def test_what_only_looks_like_a_pod_is_not_taken(uid: str) -> None:
    assert container_of([ID, uid]) == (ID, None)


def test_first_controller_with_a_container_counts() -> None:
    text = f"3:cpuset:/\n2:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n"
    assert container_of_proc(text) == (ID, None)
    assert container_of_proc("") is None
    assert container_of_proc("garbage\n\n::\n") is None


HOSTILE = st.text(alphabet=string.hexdigits + "-_.:/podconmlib", max_size=300)


@given(st.lists(HOSTILE, max_size=8))
def test_whatever_is_found_is_well_formed(cgroups: list[str]) -> None:
    identity = container_of(cgroups)

    if identity is not None:
        assert len(identity.container_id) == 64
        assert set(identity.container_id) <= set("0123456789abcdef")
        assert any(identity.container_id in name for name in cgroups)


@given(st.lists(st.text(alphabet="abcdefxyz-.", max_size=20), max_size=3))
def test_cgroups_made_inside_a_container_do_not_hide_it(inside: list[str]) -> None:
    assert container_of([*inside, f"cri-containerd-{ID}.scope", f"kubepods-pod{UID_}.slice"]) == (ID, UID)


@given(st.text(max_size=400))
def test_any_text_of_proc_is_read(text: str) -> None:
    container_of_proc(text)
