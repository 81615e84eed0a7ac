"""The waves of a job that is planned as a whole, in lines for people."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.text import Text

from batchyard.cli.show import count
from db.waves import WaveRow

NONE: Final = {"requests": 0, "quality": 0.0, "usd": 0.0}
FIRST, LAST = 12, 3
"""Waves that are told of a job which has many: towards its end each is of a request or two."""


def wave_lines(waves: Sequence[WaveRow]) -> Iterator[Text]:
    """The sum first, in which what went out again counts once; then each wave: whom it went to,
    what is expected, and what had to give."""
    again = [one.body.get("again", NONE) for one in waves]
    sent = sum(one.body["requests"] for one in waves) - sum(one["requests"] for one in again)
    usd = sum(one.body.get("usd", 0.0) for one in waves) - sum(one["usd"] for one in again)
    reached = sum(one.body["quality"] * one.body["requests"] for one in waves)
    mean = (reached - sum(one["quality"] for one in again)) / max(sent, 1)
    yield Text(
        f"  {count(len(waves), 'wave')}: {count(sent, 'request')} out, {waves[-1].body['left']:,} "
        f"left; expected of them quality {mean:.3f} and ${usd:.4g}"
    )
    if len(waves) <= FIRST + LAST + 1:
        shown, rest = [*waves], []
    else:
        shown, rest = [*waves[:FIRST]], [*waves[-LAST:]]
    yield from (Text(f"  {_told(one)}") for one in shown)
    if rest:
        yield Text(f"       … {len(waves) - FIRST - LAST} more (--json has all)", style="dim")
    yield from (Text(f"  {_told(one)}") for one in rest)


def wave_line(one: WaveRow) -> str:
    """The newest wave of a job in a line: `wave 4: 120 requests planned, 300 left; …`."""
    body, price = one.body, one.body.get("price")
    parts = [
        f"wave {one.wave}: {count(body['requests'], 'request')} planned, {body['left']:,} left",
        f"expected quality {body['quality']:.3f} and ${body.get('usd', 0.0):.4g}",
        f"a dollar brings {price:.3g}" if price else "",
        *body.get("why", []),
    ]
    return "; ".join(part for part in parts if part)


def wave_json(one: WaveRow | None) -> dict[str, Any] | None:
    """The same for scripts; None where the job has no waves."""
    return None if one is None else {"wave": one.wave, **one.body, "at": one.at}


def _told(one: WaveRow) -> str:
    body = one.body
    shares = ", ".join(f"{name} {number:,}" for name, number in body.get("shares", {}).items())
    price = body.get("price")
    parts = [
        f"{one.wave:>3}. {count(body['requests'], 'request')}",
        f"{again:,} of them again" if (again := body.get("again", NONE)["requests"]) else "",
        f"to {shares}" if shares else "",
        f"expected quality {body['quality']:.3f} and ${body.get('usd', 0.0):.4g}",
        f"a dollar brings {price:.3g}" if price else "",
        *(f"a call to {name} {worth:.2g}" for name, worth in body.get("call_prices", {}).items()),
        *body.get("why", []),
    ]
    return "; ".join(part for part in parts if part)
