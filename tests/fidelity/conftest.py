"""The table is written only when asked for: `make test` runs the suite and leaves bench/FIDELITY.md alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.bpf.recorder import Recorder
from tests.fidelity.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fidelity-table", type=Path, help="write the table of the fidelity suite to this file")


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Collects what the tests found; written at the end, also if some failed."""
    collected = Report()
    yield collected
    path: Path | None = request.config.getoption("--fidelity-table")
    if path is not None:
        collected.write(path)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A recorder of its own for each test: nothing of another program is in its maps."""
    with Recorder.load() as loaded:
        yield loaded
