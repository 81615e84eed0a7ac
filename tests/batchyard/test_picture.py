"""Names in a picture: none on another, none on a point."""

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from batchyard.picture.names import Name, Names

STYLE = {"fontsize": 7.5, "color": "black"}


@pytest.mark.parametrize("count", [2, 3, 9, 11])
@pytest.mark.parametrize("apart", [0.02, 0.1])
def test_names_of_points_at_nearly_the_same_place_can_all_be_read(count, apart) -> None:
    figure = Figure(figsize=(7.2, 4.4), dpi=160)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    points = [(0.1 * apart * n, 0.6 + apart * n) for n in range(count)]
    axes.scatter(*zip(*points, strict=True))
    axes.set_ylim(0, 1.8)
    canvas.draw()
    names = Names(axes, canvas.get_renderer(), figure.dpi)
    for point in points:
        names.avoid_point(*point, size=9)
    for n, point in enumerate(points):
        names.write(Name(f"provider/a-model-{n}", [point], STYLE))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == count
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    drawn = axes.transData.transform(points)
    assert not any(box.contains(x, y) for box in boxes for x, y in drawn)
    frame = axes.get_window_extent()
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in boxes)
