"""spod.spec.strictSyscalls decides whether an unknown syscall is a warning or an error."""

from collections.abc import Iterator

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, refusing, seccomp_profile


def set_strict(cluster: Cluster, word: str) -> None:
    patch = f'--patch={{"spec":{{"strictSyscalls":{word}}}}}'
    done = cluster.run("--namespace", OPERATOR, "patch", "spod", "spod", "--type=merge", patch)
    assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def _lenient_again(cluster: Cluster) -> Iterator[None]:
    if not cluster.own:
        pytest.skip("changes settings of a cluster that others use")
    yield
    set_strict(cluster, "false")


def test_toggling_it_turns_a_warning_into_an_error_and_back(namespace: Namespace) -> None:
    namespace.apply(
        seccomp_profile("odd", syscalls=refusing("mkdir", "no_such_call")),
        seccomp_profile("fine", syscalls=refusing("mkdir")),
    )
    namespace.wait_ready("odd")
    namespace.wait_ready("fine")
    (warning,) = namespace.status("odd")["warnings"]
    assert "no_such_call" in warning
    good = namespace.file("odd").read_bytes()

    set_strict(namespace.cluster, "true")
    namespace.eventually("state Error", lambda: namespace.status("odd").get("status") == "Error")
    (failing,) = namespace.status("odd")["failingNodes"]
    assert "no_such_call" in failing["message"]
    assert namespace.file("odd").read_bytes() == good
    assert namespace.status("fine")["status"] == "Installed"
    namespace.apply(seccomp_profile("new", syscalls=refusing("no_such_call")))
    namespace.eventually("state Error", lambda: namespace.status("new").get("status") == "Error")
    assert not namespace.file("new").exists()
    namespace.eventually(
        "a Warning event", lambda: "no_such_call" in namespace.kubectl("get", "events", "--output=yaml")
    )

    set_strict(namespace.cluster, "false")
    namespace.wait_ready("odd")
    namespace.wait_ready("new")
