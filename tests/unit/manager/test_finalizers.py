"""Which finalizers a profile should have."""

import pytest

from spo.manager.finalizers import wanted_finalizers
from spo.names import IN_USE_FINALIZER as IN_USE
from spo.names import INSTALLED_FINALIZER as INSTALLED
from tests.fakes.profiles_objects import profile

OTHER = "example.com/other"


@pytest.mark.parametrize(
    ("present", "in_use", "expected"),
    [
        pytest.param((), False, [INSTALLED], id="new"),
        pytest.param((), True, [INSTALLED, IN_USE], id="new-and-used"),
        pytest.param((OTHER, INSTALLED), False, [OTHER, INSTALLED], id="nothing-to-do"),
        pytest.param((INSTALLED, IN_USE, OTHER), False, [INSTALLED, OTHER], id="no-longer-used"),
        pytest.param((IN_USE, INSTALLED), True, [IN_USE, INSTALLED], id="order-stays"),
    ],
)
def test_living_profile(present: tuple[str, ...], in_use: bool, expected: list[str]) -> None:
    one = profile(finalizers=present)
    assert wanted_finalizers(one, in_use=in_use, on_nodes=False, released=False) == expected


@pytest.mark.parametrize(
    ("present", "in_use", "on_nodes", "released", "expected"),
    [
        pytest.param((INSTALLED, IN_USE), True, True, False, [INSTALLED, IN_USE], id="used"),
        pytest.param((INSTALLED, IN_USE), False, True, False, [INSTALLED, IN_USE], id="not-sure-yet"),
        pytest.param((INSTALLED, IN_USE), False, True, True, [INSTALLED], id="unused"),
        pytest.param((INSTALLED,), False, False, True, [], id="gone-from-the-nodes"),
        pytest.param((OTHER, INSTALLED), False, False, True, [OTHER], id="others-stay"),
        pytest.param((), True, True, False, [], id="none-is-added"),
    ],
)
def test_profile_in_deletion(
    present: tuple[str, ...], in_use: bool, on_nodes: bool, released: bool, expected: list[str]
) -> None:
    one = profile(finalizers=present, deleted=True)
    assert wanted_finalizers(one, in_use=in_use, on_nodes=on_nodes, released=released) == expected
