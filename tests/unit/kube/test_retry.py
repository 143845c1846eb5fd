import pytest

from spo.kube.errors import ConflictError, ForbiddenError, NotFoundError
from spo.kube.retry import is_conflict_or_absent, retry, retry_on_conflict
from tests.fakes.clock import EagerClock

CONFLICT = ConflictError(409, "Conflict", "changed")


class Failing:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_conflicts_are_tried_again() -> None:
    clock = EagerClock()
    assert await retry_on_conflict(Failing(CONFLICT, CONFLICT), clock=clock) == "done"
    assert len(clock.slept) == 2
    assert clock.slept[0] < clock.slept[1]


async def test_last_error_goes_to_the_caller() -> None:
    operation = Failing(*[CONFLICT] * 9)
    with pytest.raises(ConflictError):
        await retry_on_conflict(operation, clock=EagerClock())
    assert operation.calls == 5


async def test_other_errors_are_not_tried_again() -> None:
    operation = Failing(ForbiddenError(403, "Forbidden", "no"))
    with pytest.raises(ForbiddenError):
        await retry_on_conflict(operation, clock=EagerClock())
    assert operation.calls == 1


async def test_default_pauses() -> None:
    clock = EagerClock()
    absent = NotFoundError(404, "NotFound", "gone")
    with pytest.raises(NotFoundError):
        await retry(Failing(*[absent] * 9), is_conflict_or_absent, clock=clock)
    assert clock.slept == [0.5, 0.75, 1.125, 1.6875]
