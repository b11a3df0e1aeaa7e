"""Drawings of the tear sheet: inline SVG and HTML that take their colours from the page's style sheet.

Pure functions from arrays to markup. Lines are downsampled to what a screen can show, keeping each bucket's extremes,
so that no spike is lost; statistics are computed elsewhere from all rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Format = Callable[[float], str]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000, 74, 12, 10, 24
#: Buckets a line is cut into: 1000 units of width less margins, two points in each.
BUCKETS = 450
NS = 1_000_000_000
#: Distances between time labels. Unit: s.
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name in the legend, its style class and its values."""

    name: str
    style: str
    values: Floats


def money(value: float) -> str:
    """Return an amount with a thousands separator and as many decimals as its size needs.

    >>> money(1234567.8), money(-12.345), money(0.0), money(float("nan"))
    ('1,234,568', '-12.35', '0.00', 'n/a')
    """
    if not math.isfinite(value):
        return "n/a"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{round(value, 2) + 0.0:,.2f}"


def whole(value: float) -> str:
    """Return an axis value: no decimals where it is a whole number.

    >>> whole(2500.0), whole(0.5)
    ('2,500', '0.5')
    """
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def percent(value: float) -> str:
    """Return a fraction as a percentage with two decimals, or two significant digits where it is small.

    >>> percent(0.1234), percent(-0.00042), percent(0.0000021), percent(float("nan"))
    ('12.34 %', '-0.042 %', '0.00021 %', 'n/a')
    """
    if not math.isfinite(value):
        return "n/a"
    size = abs(100 * value)
    digits = 2 if size >= 0.1 or size < 1e-9 else 1 - math.floor(math.log10(size))
    return f"{100 * value:,.{digits}f} %"


def seconds(value: float) -> str:
    """Return a duration in the unit that suits it.

    >>> seconds(0.0000025), seconds(0.0421), seconds(3.2), seconds(0.0)
    ('2.5 us', '42.1 ms', '3.20 s', '0 ms')
    """
    if not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0 ms"
    if abs(value) < 0.001:
        return f"{value * 1e6:.1f} us"
    return f"{value * 1e3:.1f} ms" if abs(value) < 1 else f"{value:.2f} s"


def clock(ts_ns: int, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time of ns since 1970 in UTC."""
    return datetime.fromtimestamp(ts_ns / NS, UTC).strftime(pattern)


def downsample(*values: Floats, buckets: int = BUCKETS) -> Ints:
    """Return the indices to draw: first and last, and each bucket's lowest and highest of every line.

    >>> downsample(np.array([0.0, 9.0, 1.0, -5.0, 2.0, 3.0]), buckets=2).tolist()
    [0, 1, 3, 5]
    """
    count = len(values[0])
    if count <= 2 * buckets:
        return np.arange(count)
    edges = np.linspace(0, count, buckets + 1).astype(np.int64)
    picks = [np.array([0, count - 1])]
    for line in values:
        for low, high in pairwise(edges):
            picks.append(low + np.array([np.argmin(line[low:high]), np.argmax(line[low:high])]))
    return np.unique(np.concatenate(picks))


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers that cover low to high at about `wanted` steps.

    >>> ticks(0.0, 10.0), ticks(-1.0, 1.0, 2)
    ([0.0, 2.5, 5.0, 7.5, 10.0], [-1.0, 0.0, 1.0])
    """
    rough = (high - low) / wanted
    if not rough > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def time_ticks(low_ns: int, high_ns: int, wanted: int = 7) -> list[tuple[int, str]]:
    """Return round times and their labels, at most about `wanted`."""
    span = max(1, (high_ns - low_ns) // NS)
    step = next((s for s in TIME_STEPS if span / s <= wanted), TIME_STEPS[-1])
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
    first = -(-low_ns // (step * NS)) * step * NS
    return [(t, clock(t, pattern)) for t in range(first, high_ns + 1, step * NS)]


def _bounds(lines: Sequence[Line], zero: bool) -> tuple[float, float]:
    """Return the lowest and highest value with a little air; with `zero` the zero line is inside."""
    low = min(float(np.min(line.values)) for line in lines)
    high = max(float(np.max(line.values)) for line in lines)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
        high = high if high > low else 1.0
    air = 0.06 * (high - low) or max(1e-9, abs(high) * 1e-4)
    return (low if zero and low == 0 else low - air), (high if zero and high == 0 else high + air)


def _path(x: Floats, y: Floats) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _grid(low: float, high: float, height: int, y_of: Callable[..., float], form: Format, wide: int = WIDTH) -> str:
    parts = []
    for value in ticks(low, high, 6 if height > 150 else 4):
        y = y_of(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{wide - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{form(value)}</text>')
    return "".join(parts)


def _times(low: int, high: int, height: int, x_of: Callable[[float], float]) -> str:
    return "".join(
        f'<text class="tick" x="{x_of(t):.1f}" y="{height - 6}" text-anchor="middle">{label}</text>'
        for t, label in time_ticks(low, high)
        if LEFT + 20 < x_of(t) < WIDTH - RIGHT - 20
    )


def line_chart(
    ts_ns: Ints, lines: Sequence[Line], form: Format, height: int = 240, area: bool = False, zero: bool = False
) -> str:
    """Return a chart of lines over event time; `area` fills under the first line, `zero` keeps 0 in view.

    `form` writes the values under the pointer, and those of the axis unless it is `money`, whose axis has no cents.
    """
    keep = downsample(*(line.values for line in lines))
    low, high = _bounds(lines, zero)
    start, end = int(ts_ns.min()), max(int(ts_ns.max()), int(ts_ns.min()) + 1)

    def x_of(t: float | Floats) -> float | Floats:
        return LEFT + (t - start) / (end - start) * (WIDTH - LEFT - RIGHT)

    def y_of(v: float | Floats) -> float | Floats:
        return TOP + (high - v) / (high - low) * (height - TOP - BOTTOM)

    x = np.asarray(x_of(ts_ns[keep].astype(np.float64)))
    body = _grid(low, high, height, y_of, whole if form is money else form) + _times(start, end, height, x_of)  # type: ignore[arg-type]
    hover: list[dict[str, object]] = []
    for number, line in enumerate(lines):
        y = np.asarray(y_of(line.values[keep]))
        path = _path(x, y)
        if area and number == 0:
            floor = float(y_of(min(max(low, 0.0), high)))
            body += f'<path class="area {line.style}" d="{path}L{x[-1]:.1f} {floor:.1f}L{x[0]:.1f} {floor:.1f}Z"/>'
        body += f'<path class="line {line.style}" d="{path}"/>'
        labels = [form(float(v)) for v in line.values[keep]]
        hover.append({"name": line.name, "style": line.style, "y": [round(float(v), 1) for v in y], "v": labels})
    data = {"x": [round(float(v), 1) for v in x], "t": [int(t) // 1_000_000 for t in ts_ns[keep]], "lines": hover}
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div class="chart"><svg viewBox="0 0 {WIDTH} {height}" role="img">{body}'
        f'<line class="cross" y1="{TOP}" y2="{height - BOTTOM}"/></svg><div class="tip"></div>'
        f'<script type="application/json">{text}</script></div>'
    )


def legend(lines: Sequence[Line]) -> str:
    """Return the names of the lines beside their colours."""
    names = "".join(f'<span class="{line.style}">{escape(line.name)}</span>' for line in lines)
    return f'<div class="legend">{names}</div>'


def bar_rows(values: pd.Series, form: Format = money) -> str:
    """Return one horizontal bar for each value, gains to the right of the zero line and losses to its left."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = (high - low) or 1.0
    rows = []
    for label, value in values.items():
        left, width = 100 * (min(0.0, value) - low) / span, 100 * abs(value) / span
        rows.append(
            f'<div class="bar"><span class="label" title="{escape(str(label))}">{escape(str(label) or "none")}</span>'
            f'<span class="track"><i class="{"gain" if value >= 0 else "loss"}" '
            f'style="left:{left:.2f}%;width:{max(width, 0.4):.2f}%"></i>'
            f'<b style="left:{100 * -low / span:.2f}%"></b></span><span class="value">{form(float(value))}</span></div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def histogram(values: Floats, form: Format = seconds, wide: int = 560, height: int = 210, bins: int = 36) -> str:
    """Return how often each value occurs, up to the 99.5 % quantile (the rest is in the last column)."""
    top = float(np.quantile(values, 0.995)) or float(values.max()) or 1.0
    counts, edges = np.histogram(np.clip(values, 0, top), bins=bins, range=(0, top * (1 + 1e-9)))
    width = (wide - LEFT - RIGHT) / bins
    scale = (height - TOP - BOTTOM) / max(1, int(counts.max()))
    floor = height - BOTTOM
    body = _grid(0, int(counts.max()), height, lambda v: floor - v * scale, whole, wide)
    for number, count in enumerate(counts):
        title = f"{form(float(edges[number]))} to {form(float(edges[number + 1]))}: {count:,}"
        body += (
            f'<rect class="column" x="{LEFT + number * width + 1:.1f}" y="{floor - count * scale:.1f}" '
            f'width="{width - 2:.1f}" height="{count * scale:.1f}"><title>{title}</title></rect>'
        )
    for value in ticks(0, top, 4):
        x = LEFT + value / top * (wide - LEFT - RIGHT)
        body += f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{form(value)}</text>'
    return f'<div class="chart"><svg viewBox="0 0 {wide} {height}" role="img">{body}</svg></div>'
