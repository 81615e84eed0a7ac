from datetime import UTC, datetime, timedelta

import pytest

from core.deadline import parse_deadline
from core.errors import InputError


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("45s", timedelta(seconds=45)),
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        (" 1h30m5s ", timedelta(hours=1, minutes=30, seconds=5)),
    ],
)
def test_a_span_counts_from_the_submit(text: str, span: timedelta) -> None:
    assert parse_deadline(text) == span


def test_a_time_is_read_with_its_zone() -> None:
    expected = datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert parse_deadline("2026-12-01T08:00Z") == expected
    assert parse_deadline("2026-12-01 09:00:00+01:00") == expected


@pytest.mark.parametrize("text", ["", "soon", "2", "2h30", "h", "-2h", "2026-13-01T00:00Z"])
def test_what_is_neither_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(InputError, match=r"Write how long from now, as 90m, 2h"):
        parse_deadline(text)


def test_a_time_without_its_zone_could_mean_two() -> None:
    with pytest.raises(InputError, match="no time zone"):
        parse_deadline("2026-12-01T08:00")


def test_a_span_that_no_calendar_holds_is_refused() -> None:
    with pytest.raises(InputError, match="ten years"):
        parse_deadline("999999999999d")
