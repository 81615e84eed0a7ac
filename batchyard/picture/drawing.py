"""The picture of cost and quality: what single candidates give, their mixes, and the router.

White ground and dark ink of their own, so that it is the same on light and dark pages; labels
stand beside what they name, where they are in nobody's way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from batchyard.picture.names import Name, Names
from core.errors import InputError
from routing.curve import hull

INK: Final = "#1f2933"
QUIET: Final = "#7b8794"
FAINT: Final = "#e4e7eb"
OURS: Final = "#0b7a75"
REFERENCE: Final = "#c2571a"
ENDINGS: Final = (".svg", ".png", ".pdf")
_COLOURS: Final = {"ours": OURS, "reference": REFERENCE, "single": QUIET}
_POINTS: Final = 120
_WIDE: Final = 15.0  # of the cheapest's cost: beyond, costs are drawn as logarithms
_MIDDLES: Final = (0.55, 0.4, 0.7, 0.25, 0.85)
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "svg.hashsalt": "batchyard",
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A point: `cost` in US dollars for 1,000 requests, `quality` with its interval where it has
    one. `kind`: `ours` (what the router does), `reference`, or `single` (a candidate)."""

    name: str
    cost: float
    quality: float
    kind: str = "single"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with its name at its middle; `low` and `high` are the band around it."""

    name: str
    cost: Sequence[float]
    quality: Sequence[float]
    kind: str = "single"
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def mix_line(singles: Sequence[Mark]) -> list[Line]:
    """The best mixes of two of the points; nothing where the best one is the cheapest, too."""
    mixed = hull(
        np.array([one.cost for one in singles]), np.array([one.quality for one in singles])
    )
    if len(mixed.cost) < 2:
        return []
    return [Line("best mix of two", mixed.cost.tolist(), mixed.quality.tolist())]


def draw(
    path: Path, lines: Sequence[Line], marks: Sequence[Mark], *, title: str, unit: str
) -> None:
    """Writes the picture; `unit` says what the cost is. Raises InputError for a file that is
    neither SVG, PNG nor PDF, or cannot be written."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"--picture {path}: give a name that ends in {', '.join(ENDINGS)}")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.4), dpi=160, facecolor="white", layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _frame(axes, title, unit)
        costs = [one.cost for one in marks if one.cost > 0]
        if len(costs) == len(marks) and costs and max(costs) > _WIDE * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.locator_params(axis="x", nbins=7)
        lines = [_fine(line) for line in lines]
        for line in lines:
            _line(axes, line)
        for mark in marks:
            _mark(axes, mark)
        axes.margins(x=0.16, y=0.12)
        _label(canvas, axes, lines, marks)
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise InputError(f"--picture {path}: cannot be written: {error.strerror}") from error


def _frame(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=12)
    axes.set_xlabel(unit, fontsize=8.5, color=QUIET, labelpad=6)
    axes.set_ylabel("quality (mean score)", fontsize=8.5, color=QUIET, labelpad=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, pad=5)
    axes.locator_params(axis="y", nbins=7)


def _fine(line: Line) -> Line:
    """The same with many points: straight lines are bent where costs are drawn as logarithms."""
    at = np.linspace(line.cost[0], line.cost[-1], _POINTS)
    bent = {
        name: np.interp(at, line.cost, values).tolist()
        for name in ("quality", "low", "high")
        if (values := getattr(line, name)) is not None
    }
    return replace(line, cost=at.tolist(), **bent)


def _line(axes: Axes, line: Line) -> None:
    ours = line.kind == "ours"
    colour = _COLOURS[line.kind]
    if line.low is not None and line.high is not None:
        axes.fill_between(line.cost, line.low, line.high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(
        line.cost, line.quality, color=colour, linewidth=2.2 if ours else 1.2,
        linestyle="-" if ours else (0, (4, 3)), solid_capstyle="round", zorder=3 if ours else 2,
    )  # fmt: skip


def _mark(axes: Axes, mark: Mark) -> None:
    colour = _COLOURS[mark.kind]
    if mark.low is not None and mark.high is not None:
        axes.vlines(
            mark.cost, mark.low, mark.high, color=colour, linewidth=1.4, alpha=0.7, zorder=4
        )
    size = 22 if mark.kind == "single" else 46
    axes.scatter(
        [mark.cost], [mark.quality], s=size, color=colour, edgecolor="white", linewidth=1, zorder=5
    )


def _label(canvas: Any, axes: Axes, lines: Sequence[Line], marks: Sequence[Mark]) -> None:
    """Names beside what they name: the router's first, then those of the single candidates."""
    canvas.draw()
    names = Names(axes, canvas.get_renderer(), canvas.figure.dpi)
    for mark in marks:
        names.avoid_point(mark.cost, mark.quality, 9)
        if mark.low is not None and mark.high is not None:
            names.avoid_line((mark.cost, mark.cost), (mark.low, mark.high))
    for line in lines:
        names.avoid_line(line.cost, line.quality)
    for mark in sorted(marks, key=lambda one: one.kind == "single"):
        single = mark.kind == "single"
        style = {
            "fontsize": 7.5 if single else 8.5,
            "color": QUIET if single else _COLOURS[mark.kind],
            "fontweight": "normal" if single else "bold",
        }
        names.write(Name(mark.name, [(mark.cost, mark.quality)], style))
    for line in lines:
        middles = [int(part * len(line.cost)) for part in _MIDDLES]
        at = [(line.cost[middle], line.quality[middle]) for middle in middles]
        style = {"fontsize": 8.5, "color": _COLOURS[line.kind], "fontstyle": "italic"}
        names.write(Name(line.name, at, style))
