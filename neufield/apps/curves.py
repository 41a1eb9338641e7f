"""Learning curves: a metric against training seconds, of one run or of many."""

import math
from collections.abc import Mapping, Sequence

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from neufield.core.metrics import Metric

INK = (32, 32, 36)
PAPER = (250, 250, 250)
_GRID = (225, 225, 228)
# Told apart by most of the color-blind too: Okabe and Ito's eight without yellow, and four of Paul Tol's.
_COLORS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
    (70, 70, 70), (136, 34, 85), (51, 34, 136), (153, 153, 51), (68, 170, 153), (121, 85, 61),
)  # fmt: skip
_DECADES = 8.0  # the axis of seconds is logarithmic where the longest run is so many times the shortest
_BELOW = 8.0  # dB below the worst end: what lies lower is the start, in which nobody is interested

Point = tuple[float, float]
Rows = Sequence[Mapping[str, float]]


def curve(history: Rows, metric: Metric) -> Pillow.Image:
    """The ``metric`` of every evaluation of one run."""
    sheet = Pillow.new("RGB", (720, 420), PAPER)
    draw = ImageDraw.Draw(sheet)
    points = evaluations(history, metric)
    axes = _Axes((60, 40, 700, 370), [points])
    axes.draw(draw, f"{metric.axis} against training time (s)")
    places = [axes.place(*point) for point in points]
    _line(draw, places, _COLORS[0])
    if places:
        x, y = places[-1]
        last = metric.number(points[-1][1])
        draw.text((x, y - 8), last, fill=_COLORS[0], font=ImageFont.load_default(13), anchor="rb")
    return sheet


def curves(histories: Mapping[str, Sequence[Rows]], metric: Metric, width: int = 1200) -> Pillow.Image:
    """The runs of each name in its color, and a legend with the best mean on top.

    Every seed has a line of its own: means over runs that were evaluated at different moments would be invented.
    """
    sheet = Pillow.new("RGB", (width, 520), PAPER)
    draw = ImageDraw.Draw(sheet)
    lines = {name: [evaluations(rows, metric) for rows in runs] for name, runs in histories.items()}
    last = [points[-1][1] for runs in lines.values() for points in runs if points]
    floor = min(last, default=0.0) - _BELOW if metric.unit == "dB" else -math.inf
    lines = {name: [[p for p in points if p[1] >= floor] for points in runs] for name, runs in lines.items()}
    axes = _Axes((60, 40, width - 230, 470), [points for runs in lines.values() for points in runs])
    axes.draw(draw, f"{metric.axis} against training time (s)" + (", logarithmic" if axes.logarithmic else ""))
    ends = {name: _mean([points[-1][1] for points in runs if points]) for name, runs in lines.items()}
    for i, runs in enumerate(lines.values()):
        for points in runs:
            _line(draw, [axes.place(*point) for point in points], color(i), dot=2)
    font = ImageFont.load_default(15)
    for row, name in enumerate(sorted(lines, key=lambda name: ends[name], reverse=metric.higher_is_better)):
        y = 48 + 24 * row
        draw.line([width - 212, y, width - 188, y], fill=color(list(lines).index(name)), width=4)
        draw.text((width - 180, y), f"{name}  {metric.number(ends[name])}", fill=INK, font=font, anchor="lm")
    return sheet


def color(i: int) -> tuple[int, int, int]:
    """The color of the ``i``-th of several things."""
    return _COLORS[i % len(_COLORS)]


def evaluations(history: Rows, metric: Metric) -> list[Point]:
    """Seconds and the ``metric`` of every row that has a finite one."""
    return [(row["seconds"], row[metric.name]) for row in history if math.isfinite(row.get(metric.name, math.nan))]


class _Axes:
    """Seconds to the right and a metric upwards, in the box (left, top, right, bottom) of pixels."""

    def __init__(self, box: tuple[int, int, int, int], lines: Sequence[Sequence[Point]]) -> None:
        self.box = box
        ends = [points[-1][0] for points in lines if points]
        self.end = max(ends, default=1.0)
        self.logarithmic = bool(ends) and max(ends) > _DECADES * min(ends)
        self.start = min((points[0][0] for points in lines if points), default=0.0) if self.logarithmic else 0.0
        levels = [y for points in lines for _, y in points] or [0.0]
        self.levels = _ticks(min(levels), max(levels))
        self.low, self.high = min([*self.levels, *levels]), max([*self.levels, *levels])

    def place(self, x: float, y: float) -> Point:
        """Where ``x`` seconds and a value of ``y`` are drawn."""
        left, top, right, bottom = self.box
        share = math.log(x / self.start) / math.log(self.end / self.start) if self.logarithmic else x / self.end
        height = (y - self.low) / max(self.high - self.low, 1e-9)
        return left + share * (right - left), bottom - height * (bottom - top)

    def draw(self, draw: ImageDraw.ImageDraw, title: str) -> None:
        """Lines, ticks and the title."""
        left, _, right, bottom = self.box
        font = ImageFont.load_default(13)
        draw.text((left, 12), title, fill=INK, font=ImageFont.load_default(15))
        for tick in self.levels:
            y = self.place(self.end, tick)[1]
            draw.line([left, y, right, y], fill=_GRID)
            draw.text((left - 8, y), f"{tick:g}", fill=INK, font=font, anchor="rm")
        seconds = round_numbers(self.start, self.end) if self.logarithmic else _ticks(0, self.end)
        for tick in seconds:
            if tick <= self.end:
                x = self.place(tick, self.low)[0]
                draw.line([x, bottom, x, bottom + 4], fill=INK)
                draw.text((x, bottom + 8), f"{tick:g}", fill=INK, font=font, anchor="mt")
        draw.line([left, bottom, right, bottom], fill=INK)


def round_numbers(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times a power of ten in [low, high], for 0 < low."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    return [number for number in every if low <= number <= high]


def _line(draw: ImageDraw.ImageDraw, places: Sequence[Point], color: tuple[int, int, int], dot: int = 3) -> None:
    if len(places) > 1:
        draw.line(list(places), fill=color, width=2, joint="curve")
    for x, y in places:
        draw.ellipse([x - dot, y - dot, x + dot, y + dot], fill=color)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _ticks(low: float, high: float) -> list[float]:
    span = max(high - low, 1e-6)
    step = 10 ** math.floor(math.log10(span))
    step *= min((m for m in (0.1, 0.2, 0.5, 1.0) if span / (m * step) <= 6), default=1.0)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]
