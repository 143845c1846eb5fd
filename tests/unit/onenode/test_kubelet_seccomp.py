import os
from pathlib import Path
from typing import Any

import pytest

from onenode.kubelet.errors import ContainerConfigError, ContainerCreateError
from onenode.kubelet.pod import parse_pod
from onenode.kubelet.seccomp import (
    SeccompChoice,
    SeccompKind,
    checked_profile_path,
    seccomp_choice,
    seccomp_option,
)

POD = "seccomp.security.alpha.kubernetes.io/pod"
OWN = "container.seccomp.security.alpha.kubernetes.io/c"
LOCALHOST = {"type": "Localhost", "localhostProfile": "operator/ns/p.json"}


def choice(
    *,
    own: dict[str, Any] | None = None,
    common: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    privileged: bool = False,
) -> str:
    stored = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "annotations": annotations or {}},
        "spec": {
            "securityContext": {"seccompProfile": common},
            "containers": [
                {"name": "c", "securityContext": {"seccompProfile": own, "privileged": privileged}}
            ],
        },
    }
    pod = parse_pod(stored)
    made: SeccompChoice = seccomp_choice(pod, pod.spec.containers[0])
    return f"{made.kind}:{made.path}" if made.path else str(made.kind)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "Unconfined", id="nothing"),
        pytest.param({"own": {"type": "RuntimeDefault"}}, "RuntimeDefault", id="default"),
        pytest.param({"own": LOCALHOST}, "Localhost:operator/ns/p.json", id="localhost"),
        pytest.param({"common": LOCALHOST}, "Localhost:operator/ns/p.json", id="of-the-pod"),
        pytest.param({"own": {"type": "Unconfined"}, "common": LOCALHOST}, "Unconfined", id="own-wins"),
        pytest.param({"annotations": {POD: "runtime/default"}}, "RuntimeDefault", id="annotation-default"),
        pytest.param({"annotations": {POD: "docker/default"}}, "RuntimeDefault", id="annotation-docker"),
        pytest.param({"annotations": {POD: "unconfined"}}, "Unconfined", id="annotation-unconfined"),
        pytest.param(
            {"annotations": {POD: "localhost/a/b.json"}}, "Localhost:a/b.json", id="annotation-path"
        ),
        pytest.param(
            {"annotations": {POD: "unconfined", OWN: "localhost/a.json"}},
            "Localhost:a.json",
            id="own-annotation",
        ),
        pytest.param(
            {"own": {"type": "RuntimeDefault"}, "annotations": {POD: "localhost/a.json"}},
            "RuntimeDefault",
            id="field-wins-over-annotation",
        ),
        pytest.param({"own": LOCALHOST, "privileged": True}, "Unconfined", id="privileged-has-none"),
    ],
)
def test_seccomp_choice(given: dict[str, Any], expected: str) -> None:
    assert choice(**given) == expected


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"own": {"type": "Wild"}}, id="unknown-type"),
        pytest.param({"own": {"type": "Localhost"}}, id="no-path"),
        pytest.param({"annotations": {POD: "profile.json"}}, id="unknown-annotation"),
        pytest.param({"annotations": {POD: "localhost/../x.json"}}, id="annotation-leads-up"),
    ],
)
def test_choices_that_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ContainerConfigError):
        choice(**given)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "../x", "a/../../x", "a/..", "a\0b", "a\nb"], ids=repr
)
def test_profile_paths_stay_below_the_root(path: str) -> None:
    with pytest.raises(ContainerConfigError):
        checked_profile_path(path)


def test_missing_profile_says_which_file(tmp_path: Path) -> None:
    wanted = SeccompChoice(SeccompKind.LOCALHOST, checked_profile_path("operator/ns/p.json"))
    with pytest.raises(ContainerCreateError) as error:
        seccomp_option(wanted, tmp_path)
    file = tmp_path / "operator/ns/p.json"
    assert str(error.value) == f'cannot load seccomp profile "{file}": open {file}: no such file or directory'


def test_profile_behind_the_operators_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "real/ns").mkdir(parents=True)
    (tmp_path / "real/ns/p.json").write_text("{}")
    root = tmp_path / "seccomp"
    root.mkdir()
    (root / "operator").symlink_to(tmp_path / "real")
    wanted = SeccompChoice(SeccompKind.LOCALHOST, checked_profile_path("operator/ns/p.json"))
    assert seccomp_option(wanted, root) == f"seccomp={root}/operator/ns/p.json"


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_profile_that_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ContainerCreateError, match="not a regular file"):
        seccomp_option(SeccompChoice(SeccompKind.LOCALHOST, checked_profile_path("p.json")), tmp_path)
