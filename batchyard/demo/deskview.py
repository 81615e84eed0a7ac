"""The demo's second part in words: what the router did, beside the best cloud alone."""

from collections.abc import Iterator
from typing import Final

from rich.markup import escape

from batchyard.demo.desk import AMBIGUOUS
from batchyard.demo.plan import ALONE, ROUTER
from batchyard.demo.report import Desk, Way

DESK: Final = (
    f"{ALONE:<10} all of them to summit, the best cloud",
    f"{ROUTER:<10} a model learned from examples/intents.yaml tells what each is about, and keeps",
    "           strange ones out; the rest goes to skyline and harbor, and to summit where those",
    "           two disagree. The strange ones are from CLINC150, CC BY 3.0",
)
WAYS: Final = "ROUTE >ANSWERED >RIGHT >KEPT_OUT >WRONGLY >ASKED_BACK >COST".split()


def ways_row(way: Way) -> list[str]:
    """A line of the table for one route."""
    right = f"{way.right / way.answered:.0%}" if way.answered else "-"
    return [
        way.route,
        str(way.answered),
        right,
        f"{way.kept_out} of {way.strange}",
        str(way.shut_out),
        str(way.asked),
        "unknown" if way.cost_usd is None else f"${way.cost_usd}",
    ]


def desk_told(desk: Desk) -> Iterator[str]:
    """What the table means."""
    alone, routed = desk.ways
    right = f"{_right(routed)} answers right, against {_right(alone)}"
    yield f"[green]✓[/] the router spent {desk.saved:.0%} less: {right}"
    yield "  simulated clouds err independently of each other, which flatters their agreement;"
    yield "  what recorded answers of real models gave stands in docs/router-measured.md"
    if desk.stranger:
        yield f'  kept out uncalled: "{escape(desk.stranger)}"'
    if desk.question:
        yield f'  asked back uncalled: "{AMBIGUOUS.text}" {escape(desk.question)}'
        yield f"  `batchyard clarify {routed.job}` takes answers, and sends those on"


def _right(way: Way) -> str:
    return f"{way.right} of {way.answered}"
