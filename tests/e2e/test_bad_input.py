"""What the API refuses, and that the message names the field."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, seccomp_profile

SEVEN_ARGS = [{"index": index % 6, "op": "SCMP_CMP_EQ"} for index in range(7)]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"defaultAction": "SCMP_ACT_PERMIT"}, "spec.defaultAction", id="unknown-action"),
        pytest.param({"defaultAction": None}, "spec.defaultAction", id="missing-default-action"),
        pytest.param(
            {"syscalls": [{"action": "SCMP_ACT_ALLOW", "names": ["read"], "args": SEVEN_ARGS}]},
            "spec.syscalls[0].args",
            id="seven-args",
        ),
        pytest.param(
            {"listenerPath": "/tmp/agent.sock"}, "spec.listenerPath", id="listener-outside-its-folder"
        ),
        pytest.param({"defaultAction": "SCMP_ACT_NOTIFY"}, "listenerPath", id="notify-without-listener"),
        pytest.param({"architectures": ["amd64"]}, "spec.architectures[0]", id="unknown-architecture"),
        pytest.param({"defaultActon": "SCMP_ACT_LOG"}, "spec.defaultActon", id="misspelt-field"),
    ],
)
def test_refused_profile_names_the_field(namespace: Namespace, spec: dict[str, Any], field: str) -> None:
    profile = seccomp_profile("bad")
    profile["spec"].update(spec)
    if profile["spec"]["defaultAction"] is None:
        del profile["spec"]["defaultAction"]
    assert field in namespace.refused("apply", "-f", "-", stdin=json.dumps(profile))
    assert "not found" in namespace.refused("get", "seccompprofile", "bad")
