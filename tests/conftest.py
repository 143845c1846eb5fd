"""Rules for all tests: what needs root says so when it cannot run."""

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong: examples have no time limit.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip root tests for other users, with the reason in the summary."""
    if os.geteuid() == 0:
        return
    needs_root = pytest.mark.skip(reason="needs root: run the tests as root")
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("e2e"):
            item.add_marker(needs_root)
