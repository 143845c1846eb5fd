"""Settings that would leave the nodes without a daemon are refused with their field."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.api.spod import SpodSpec
from spo.manager.spod.checks import InvalidSpodError, check


def spec(**fields: Any) -> SpodSpec:
    return msgspec.convert(fields, SpodSpec)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param(
            {"hostProcVolumePath": "my-proc"},
            "spec.hostProcVolumePath: 'my-proc' is not an absolute path",
            id="relative",
        ),
        pytest.param({"hostProcVolumePath": "/a/../b"}, "must not contain '..'", id="dots"),
        pytest.param({"hostProcVolumePath": "/a:b"}, "must not contain ':'", id="colon"),
        pytest.param({"hostProcVolumePath": "/a\nb"}, "not an absolute path", id="line-break"),
        pytest.param({"hostProcVolumePath": "/" + 4096 * "a"}, "not an absolute path", id="too-long"),
        pytest.param(
            {"enableSelinux": True}, "spec.enableSelinux: .*set RELATED_IMAGE_SELINUXD", id="no-selinuxd"
        ),
        pytest.param({"enableAppArmor": True}, "spec.enableAppArmor: .*set it to false", id="apparmor"),
        pytest.param(
            {"webhookOptions": [{"name": "binding.spo.io"}, {"name": "bindings.spo.io"}]},
            r"spec.webhookOptions\[1\].name: 'bindings.spo.io' is no webhook of ours; there are",
            id="unknown-webhook",
        ),
        pytest.param(
            {"daemonResourceRequirements": {"limits": {"memory": "lots"}}},
            r"spec.daemonResourceRequirements.limits\[memory\]: 'lots' is not a quantity",
            id="no-quantity",
        ),
        pytest.param(
            {"daemonResourceRequirements": {"requests": {"cpu": -1}}},
            r"requests\[cpu\]: -1 is not",
            id="negative",
        ),
        pytest.param(
            {"tolerations": [{"key": "a"}, {"key": "b", "operator": "Exists", "value": "c"}]},
            r"spec.tolerations\[1\].value: must be empty",
            id="value-of-exists",
        ),
        pytest.param({"tolerations": [{}]}, r"spec.tolerations\[0\].operator: must be Exists", id="no-key"),
        pytest.param(
            {"tolerations": [{"key": "a", "tolerationSeconds": 1}]},
            r"spec.tolerations\[0\].effect: must be NoExecute",
            id="seconds",
        ),
    ],
)
def test_problem_names_the_field(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpodError, match=problem):
        check(spec(**fields), "")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"hostProcVolumePath": "/hostproc"},
        {"hostProcVolumePath": ""},
        {"tolerations": [{"operator": "Exists"}]},
        {"daemonResourceRequirements": {"limits": {"memory": "1.5Gi", "cpu": "100m", "x/y": "1e3"}}},
    ],
)
def test_usual_settings_are_fine(fields: dict[str, Any]) -> None:
    check(spec(**fields), "")


def test_selinux_with_an_image_is_fine() -> None:
    check(spec(enableSelinux=True), "selinuxd:1")


@given(path=st.text(max_size=40), quantity=st.text(max_size=12) | st.integers())
def test_whatever_is_written_gets_an_answer(path: str, quantity: str | int) -> None:
    settings = spec(hostProcVolumePath=path, daemonResourceRequirements={"limits": {"memory": quantity}})
    problem = ""
    try:
        check(settings, "")
    except InvalidSpodError as error:
        problem = str(error)
    usable = path == "" or (path.startswith("/") and ".." not in path.split("/"))
    assert problem.startswith("spec.") or (not problem and usable)
