"""The waves of a job, told."""

from datetime import UTC, datetime

from batchyard.cli.waveview import wave_lines
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
