"""Where the names in a picture stand: beside what they name, and on nothing else.

A name takes the nearest place around its point where it covers least. Where points lie close
together the near places are soon taken; a place further off is joined to its point by a thin line.
Boxes are float64[4], left, bottom, right and top. Lengths are pixels unless they say points
(1/72 inch).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Box = NDArray[np.float64]

RINGS: Final = (7.0, 14.0, 24.0, 36.0, 50.0, 66.0, 84.0, 104.0)
"""Points from a point to the edge of its name."""
TURNS: Final = 24
JOINED: Final = 12.0
"""Points beyond which a name is joined to its point by a line; as it is where another is nearer."""
STEP: Final = 4.0  # points between two looks along a curve
# What it costs to cover a name, a point, a line to a name, a bar or a curve.
TEXT: Final = 40.0
POINT: Final = 20.0
JOIN: Final = 1.5
STROKE: Final = 1.0
CROSSED: Final = 3.0  # at most, by the line from a name to its point
OUTSIDE: Final = 40.0
MISLEADING: Final = 1.5  # to stand nearer to another point
GROUND: Final = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
FAR: Final = 0.02  # for each point (1/72 inch) of distance


@dataclass(frozen=True, slots=True)
class Name:
    """A text that may stand beside any of these points (in data), and how it is written."""

    text: str
    at: Sequence[tuple[float, float]]
    style: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    box: Box
    point: tuple[float, float]
    distance: float


@dataclass
class Names:
    """The names in a picture whose axes have their final limits."""

    axes: Axes
    renderer: Any
    dpi: float
    _taken: list[Box] = field(default_factory=list)
    _weights: list[float] = field(default_factory=list)
    _points: list[tuple[float, float]] = field(default_factory=list)

    def avoid_point(self, x: float, y: float, size: float) -> None:
        """Keeps names off a point (in data) of `size` points across."""
        (at,) = self.axes.transData.transform([(x, y)])
        self._points.append((float(at[0]), float(at[1])))
        self._take(_around(at, self._pixels(size)), POINT)

    def avoid_line(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Keeps names off a curve (in data)."""
        self._take_line(self.axes.transData.transform(np.column_stack((xs, ys))), STROKE)

    def write(self, name: Name) -> None:
        """Puts a name where it covers least, and keeps later ones off it."""
        taken, weights = np.array(self._taken), np.array(self._weights)
        place = min(self._places(name), key=lambda one: self._cost(one, taken, weights))
        data = self.axes.transData.inverted()
        x, y = data.transform((place.box[:2] + place.box[2:]) / 2)
        self.axes.text(
            x, y, name.text, ha="center", va="center", zorder=6, in_layout=False,
            bbox=GROUND, **name.style,
        )  # fmt: skip
        self._take(place.box, TEXT)
        if self._joined(place):
            way = _way(place)
            xs, ys = data.transform(way).T
            colour = name.style["color"]
            self.axes.add_line(Line2D(xs, ys, color=colour, linewidth=0.6, alpha=0.7, zorder=3.5))
            self._take_line(way, JOIN)

    def _take(self, box: Box, weight: float) -> None:
        self._taken.append(box)
        self._weights.append(weight)

    def _take_line(self, drawn: Any, weight: float) -> None:
        for at in _along(drawn, self._pixels(STEP)):
            self._take(_around(at, self._pixels(STEP / 2)), weight)

    def _pixels(self, points: float) -> float:
        return points * self.dpi / 72

    def _places(self, name: Name) -> Iterator[_Place]:
        """All around each of its points, the edge that is nearest to the point on a ring."""
        half = self._size(name) / 2
        for point in self.axes.transData.transform(name.at):
            for ring in map(self._pixels, RINGS):
                for turn in range(TURNS):
                    angle = 2 * math.pi * turn / TURNS
                    to = np.array((math.cos(angle), math.sin(angle)))
                    middle = point + ring * to + half * np.where(abs(to) < 0.3, 0, np.sign(to))
                    box = np.concatenate((middle - half, middle + half))
                    yield _Place(box, (float(point[0]), float(point[1])), ring)

    def _size(self, name: Name) -> Box:
        text = self.axes.text(0, 0, name.text, transform=None, **name.style)
        box = text.get_window_extent(self.renderer).padded(self._pixels(1))
        text.remove()
        return np.array((box.width, box.height))

    def _cost(self, place: _Place, taken: Box, weights: Box) -> float:
        box, frame = place.box, self.axes.get_window_extent(self.renderer)
        covers = (
            (taken[:, 0] < box[2])
            & (box[0] < taken[:, 2])
            & (taken[:, 1] < box[3])
            & (box[1] < taken[:, 3])
        )
        inside = frame.x0 < box[0] and box[2] < frame.x1 and frame.y0 < box[1] and box[3] < frame.y1
        cost = float(weights[covers].sum()) + (0.0 if inside else OUTSIDE)
        cost += FAR * 72 / self.dpi * place.distance
        if not self._joined(place):
            return cost
        cost += MISLEADING if self._misleading(place) else 0.0
        return cost + self._crossed(place, taken, weights)

    def _joined(self, place: _Place) -> bool:
        return place.distance > self._pixels(JOINED) or self._misleading(place)

    def _misleading(self, place: _Place) -> bool:
        others = [_apart(place.box, at) for at in self._points if at != place.point]
        return min(others, default=math.inf) < _apart(place.box, place.point)

    def _crossed(self, place: _Place, taken: Box, weights: Box) -> float:
        """What the line from the point to a name far off runs over."""
        # It begins in its own point.
        other = (weights > STROKE) & (_apart_of(taken, place.point) > 0)
        boxes, over = taken[other], np.zeros(int(other.sum()), bool)
        for at in _along(_way(place), self._pixels(STEP)):
            over |= _apart_of(boxes, at) == 0
        return float(np.minimum(weights[other][over], CROSSED).sum())


def _around(at: Sequence[float], size: float) -> Box:
    return np.array((at[0] - size / 2, at[1] - size / 2, at[0] + size / 2, at[1] + size / 2))


def _way(place: _Place) -> Box:
    """From the point to the point of the box's edge that is nearest to it: float64[2, 2]."""
    point = np.array(place.point)
    return np.stack((point, np.clip(point, place.box[:2], place.box[2:])))


def _apart(box: Box, point: Sequence[float]) -> float:
    return float(_apart_of(box[None], point)[0])


def _apart_of(boxes: Box, point: Sequence[float]) -> Box:
    """How far each of float64[n, 4] boxes is from a point; 0 inside."""
    at = np.array(point)
    return np.asarray(np.hypot(*(at - np.clip(at, boxes[:, :2], boxes[:, 2:])).T), np.float64)


def _along(drawn: Any, step: float) -> Iterator[tuple[float, float]]:
    """Points along a curve, one each `step`."""
    steps = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(drawn, axis=0).T))))
    at = np.linspace(0, steps[-1], max(2, int(steps[-1] / step)))
    places = (np.interp(at, steps, drawn[:, axis]).tolist() for axis in (0, 1))
    yield from zip(*places, strict=True)
