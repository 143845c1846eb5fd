"""Ages as kubectl shows them."""

from datetime import UTC, datetime

import pytest

from onenode.durations import age, human_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_duration_has_at_most_two_units(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_age_of_nothing_is_unknown() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert (age(None, now), age("soon", now), age("2026-01-01T00:00:00Z", now)) == (
        "<unknown>",
        "<invalid>",
        "60s",
    )
