"""Every file in examples/ is accepted as it stands."""

from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def test_examples_are_found() -> None:
    assert len(EXAMPLES) >= 14


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_example_is_accepted(namespace: Namespace, file: Path) -> None:
    output = namespace.kubectl("apply", "-f", str(file))
    assert output.count(" created\n") == file.read_text().count("\nkind: ")


def test_example_profiles_are_installed(namespace: Namespace) -> None:
    for name in (
        "seccompprofile.yaml",
        "baseprofile-runc.yaml",
        "baseprofile-crun.yaml",
        "nginx-1.19.1.yaml",
    ):
        namespace.kubectl("apply", "-f", str(EXAMPLES[0].parent / name))
    namespace.kubectl("wait", "--for=condition=ready", "--all", "seccompprofiles", "--timeout=20s")
