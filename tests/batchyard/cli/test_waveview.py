"""The waves of a job, told."""

from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from batchyard.cli.waveview import FIRST, LAST, wave_lines
from db.waves import WaveRow


def test_waves_are_summed_up_and_told_one_by_one() -> None:
    body = {"requests": 10, "left": 30, "quality": 0.8, "usd": 0.5, "shares": {"small": 10}}
    dear = body | {"left": 20, "quality": 0.6, "price": 12.0, "call_prices": {"large": 0.25}}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [WaveRow(1, body, now), WaveRow(2, dear | {"why": ["time is short"]}, now)]
    first, *others = [line.plain for line in wave_lines(rows)]
    assert "2 waves: 20 requests out, 20 left; expected of them quality 0.700 and $1" in first
    assert others[0] == "    1. 10 requests; to small 10; expected quality 0.800 and $0.5"
    assert others[1].endswith("a dollar brings 12; a call to large 0.25; time is short")


def test_a_request_that_went_out_again_counts_once() -> None:
    body = {"requests": 10, "left": 30, "quality": 0.8, "usd": 0.5}
    again = {"requests": 4, "quality": 3.2, "usd": 0.2}
    more = body | {"left": 24, "quality": 0.6, "again": again}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [WaveRow(1, body, now), WaveRow(2, more, now)]
    first, _, second = [line.plain for line in wave_lines(rows)]
    assert "2 waves: 16 requests out, 24 left; expected of them quality 0.675 and $0.8" in first
    assert "10 requests; 4 of them again; expected quality 0.600" in second


def test_of_many_waves_the_first_and_the_last_are_told() -> None:
    body = {"requests": 1, "left": 0, "quality": 0.8, "usd": 0.5}
    rows = [WaveRow(n, body, datetime(2026, 1, 1, tzinfo=UTC)) for n in range(1, 91)]
    told = [line.plain for line in wave_lines(rows)]
    assert len(told) == 1 + FIRST + 1 + LAST
    assert told[1 + FIRST].strip() == "… 75 more (--json has all)"
    assert told[-1].startswith("   90. 1 request")


def test_a_job_shows_its_newest_wave(inn, program) -> None:
    job = inn.submit(["a", "b"])
    body = {"requests": 10, "left": 30, "quality": 0.8, "usd": 0.5, "price": 12.0}
    for wave in (1, 2):
        inn.put("waves", job_id=job, wave=wave, body=Jsonb(body))
    where = {"BATCHYARD_DATABASE_URL": inn.database_url}
    assert program("job", str(job), "--json", **where).json["wave"]["wave"] == 2
    shown = program("job", str(job), **where).out
    assert "plan: wave 2: 10 requests planned, 30 left; expected quality 0.800" in shown
    assert "a dollar brings 12" in shown
