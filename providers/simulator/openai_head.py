"""What stands above OpenAI's replies: the request's id, and what is left of each limit."""

import math

from providers.simulator.exchange import Levels, Problem
from providers.simulator.limits import Gauge


def duration(seconds: float) -> str:
    """OpenAI's duration text, rounded up to a millisecond: `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    ms = math.ceil(seconds * 1000 - 1e-6)
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    if minutes < 60:
        return f"{minutes}m{text}s" if minutes else f"{text}s"
    return f"{minutes // 60}h{minutes % 60}m{text}s"


def _limit_lines(name: str, gauge: Gauge | None) -> str:
    if gauge is None:
        return ""
    return (
        f"x-ratelimit-limit-{name}: {gauge.limit}\r\n"
        f"x-ratelimit-remaining-{name}: {gauge.remaining}\r\n"
        f"x-ratelimit-reset-{name}: {duration(gauge.reset_s)}\r\n"
    )


def head(token: str, levels: Levels, problem: Problem | None) -> str:
    """Header lines of a reply: request id, buckets, and when to come back."""
    lines = (
        f"x-request-id: req_{token}\r\nopenai-version: 2020-10-01\r\n"
        f"{_limit_lines('requests', levels.requests)}{_limit_lines('tokens', levels.tokens)}"
    )
    if problem is None or problem.retry_after_s is None:
        return lines
    wait = problem.retry_after_s
    return f"{lines}retry-after: {math.ceil(wait)}\r\nretry-after-ms: {math.ceil(wait * 1000)}\r\n"
