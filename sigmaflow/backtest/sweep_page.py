"""The page of a sweep: what every setting did to the Sharpe ratio, all equity curves, and the table; one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from sigmaflow import report_svg as svg
from sigmaflow.output import Record
from sigmaflow.report_page import page
from sigmaflow.report_stats import Floats, Ints

CURVES = 60
"""Curves drawn at most; the best is always one of them."""
WIDE, HIGH, LEFT, FLOOR, TOP = 560, 240, 64, 200, 14
STYLE = """<style>.line.run{stroke:var(--soft);opacity:.45;stroke-width:1}
.line.best{stroke:var(--equity);stroke-width:2}
.dot{fill:var(--soft)}.dot.best{fill:var(--equity)}.whisker{stroke:var(--soft);opacity:.5}
.cell{fill:var(--equity)}tr.best td{font-weight:600}.legend .run::before{background:var(--soft)}
.legend .best::before{background:var(--equity)}</style>"""

COLUMNS = (("return", svg.percent, "Return"), ("profit", svg.money, "Profit"),
           ("sharpe", lambda v: f"{v:.3f}", "Sharpe per bar"), ("sharpe_error", lambda v: f"{v:.3f}", "± error"),
           ("deflated_sharpe", lambda v: f"{100 * v:.1f} %", "Deflated"), ("max_drawdown", svg.percent, "Drawdown"),
           ("fills", svg.whole, "Fills"), ("fees", svg.money, "Fees"), ("slippage", svg.money, "Slippage"),
           ("cvar", svg.money, "CVaR 97.5 %"), ("beyond_cvar", svg.percent, "Beyond CVaR"))


def build(found: Record, curves: Sequence[tuple[Ints, Floats]]) -> str:
    """Return the page; `found` is what `sweep.comparison` gives with source, profile and settings."""
    from sigmaflow.backtest.sweep import verdict

    fixed = " ".join(f"{name}={value}" for name, value in found["settings"].items())
    words = "".join(f"<p>{escape(line)}</p>" for line in verdict(found))
    header = (f"<header><div><h1>Sigmaflow sweep</h1><p>{escape(found['source'])}, profile {escape(found['profile'])} "
              f"{escape(fixed)}</p></div><div><p>{len(found['runs'])} runs</p></div></header>")
    dots = "".join(_dots(name, found) for name in found["runs"][0]["settings"])
    return page("Sigmaflow sweep", f"{STYLE}{header}<section>{words}</section>"
                f'<div class="pair">{dots}{_map(found)}</div>{_curves(found, curves)}{_table(found)}')


def _curves(found: Record, curves: Sequence[tuple[Ints, Floats]]) -> str:
    """Return all equity curves on one axis of time."""
    held = [n for n in _drawn(len(curves), found["best"]) if len(curves[n][0])]
    if not held:
        return "<section><h2>Equity</h2><p>No run has a mark.</p></section>"
    longest = max((curves[n][0] for n in held), key=len)
    lines = [svg.Line(_name(found, n), "best" if n == found["best"] else "run", _on(longest, *curves[n])) for n in held]
    legend = svg.legend([svg.Line("best by Sharpe", "best", np.empty(0)), svg.Line("others", "run", np.empty(0))])
    return (f'<section class="wide"><h2>Equity of {len(held)} runs, quote currency</h2>{legend}'
            f"{svg.line_chart(longest, lines, svg.money, 300)}</section>")


def _drawn(count: int, best: int | None) -> list[int]:
    """Places of the runs to draw, the best last so that nothing covers it.

    >>> _drawn(4, 1)
    [0, 2, 3, 1]
    """
    some = np.unique(np.linspace(0, count - 1, min(count, CURVES)).astype(int)).tolist()
    return [n for n in some if n != best] + ([] if best is None else [best])


def _on(times: Ints, ts_ns: Ints, values: Floats) -> Floats:
    """Return the last value known at each time, the first one before there is any."""
    return values[np.maximum(np.searchsorted(ts_ns, times, "right") - 1, 0)]


def _name(found: Record, n: int) -> str:
    return " ".join(f"{name}={value}" for name, value in found["runs"][n]["settings"].items())


def _dots(name: str, found: Record) -> str:
    """Return a plot of the Sharpe ratio, with its standard error, over the values of one setting."""
    values = list(dict.fromkeys(row["settings"][name] for row in found["runs"]))
    rows = [(n, row) for n, row in enumerate(found["runs"]) if row["sharpe"] is not None]
    if not rows:
        return ""
    ends = [row["sharpe"] + sign * (row["sharpe_error"] or 0.0) for _, row in rows for sign in (-1, 1)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    high = high if high > low else low + 1.0

    def y_of(value: float) -> float:
        return TOP + (high - value) / (high - low) * (FLOOR - TOP)

    step = (WIDE - LEFT - 12) / len(values)
    body = "".join(f'<line class="grid" x1="{LEFT}" x2="{WIDE - 12}" y1="{y_of(v):.1f}" y2="{y_of(v):.1f}"/>'
                   f'<text class="tick" x="{LEFT - 8}" y="{y_of(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
                   for v in svg.ticks(low, high))
    body += "".join(f'<text class="tick" x="{LEFT + (k + 0.5) * step:.1f}" y="{FLOOR + 18}" text-anchor="middle">'
                    f"{escape(_short(value))}</text>" for k, value in enumerate(values))
    for place, value in enumerate(values):
        alike = [(n, row) for n, row in rows if row["settings"][name] == value]
        body += "".join(_dot(found, n, row, LEFT + (place + _spread(k, len(alike))) * step, y_of)
                        for k, (n, row) in enumerate(alike))
    return (f"<section><h2>Sharpe per bar over {escape(name)}</h2>"
            f'<div class="chart"><svg viewBox="0 0 {WIDE} {HIGH}" role="img">{body}</svg></div></section>')


def _short(value: str) -> str:
    return value if len(value) <= 16 else f"{value[:15]}…"


def _spread(k: int, count: int) -> float:
    """Return where the runs of one value stand in its column: side by side, around its middle.

    >>> _spread(0, 1)
    0.5
    """
    return 0.15 + 0.7 * (k + 0.5) / count


def _dot(found: Record, n: int, row: Record, x: float, y_of: Any) -> str:
    ratio, error, kind = row["sharpe"], row["sharpe_error"] or 0.0, "dot best" if n == found["best"] else "dot"
    low, middle, high = (y_of(value) for value in (ratio - error, ratio, ratio + error))
    return (f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            f'<circle class="{kind}" cx="{x:.1f}" cy="{middle:.1f}" r="4">'
            f"<title>{escape(_name(found, n))}: {ratio:.3f} ± {error:.3f}</title></circle>")


def _map(found: Record) -> str:
    """Return a map of the Sharpe ratio where there are exactly two settings: darker is better."""
    rows = found["runs"]
    names = list(rows[0]["settings"])
    known = [row["sharpe"] for row in rows if row["sharpe"] is not None]
    if len(names) != 2 or not known:
        return ""
    across, down = (list(dict.fromkeys(row["settings"][name] for row in rows)) for name in names)
    wide, high = (WIDE - LEFT - 60) / len(across), (FLOOR - TOP) / len(down)
    low, span = min(known), (max(known) - min(known)) or 1.0
    body = ""
    for n, row in enumerate(rows):
        x, y = (of.index(row["settings"][name]) for of, name in zip((across, down), names, strict=True))
        shade = 0.0 if row["sharpe"] is None else 0.08 + 0.82 * (row["sharpe"] - low) / span
        text = "n/a" if row["sharpe"] is None else f"{row['sharpe']:.3f}"
        body += (f'<rect class="cell" x="{LEFT + 48 + x * wide:.1f}" y="{TOP + y * high:.1f}" width="{wide - 2:.1f}" '
                 f'height="{high - 2:.1f}" fill-opacity="{shade:.2f}"><title>{escape(_name(found, n))}: {text}</title>'
                 "</rect>")
    body += "".join(f'<text class="tick" x="{LEFT + 48 + (k + 0.5) * wide:.1f}" y="{FLOOR + 18}" text-anchor="middle">'
                    f"{escape(_short(value))}</text>" for k, value in enumerate(across))
    body += "".join(f'<text class="tick" x="{LEFT + 40}" y="{TOP + (k + 0.5) * high + 4:.1f}" text-anchor="end">'
                    f"{escape(_short(value))}</text>" for k, value in enumerate(down))
    return (f"<section><h2>Sharpe per bar: {escape(names[0])} across, {escape(names[1])} down</h2>"
            f'<div class="chart"><svg viewBox="0 0 {WIDE} {HIGH}" role="img">{body}</svg></div></section>')


def _table(found: Record) -> str:
    names = list(found["runs"][0]["settings"])
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    head += "".join(f'<th class="num">{title}</th>' for _, _, title in COLUMNS)
    rows = ""
    for n, row in enumerate(found["runs"]):
        cells = "".join(f"<td>{escape(row['settings'][name])}</td>" for name in names)
        cells += "".join(f'<td class="num">{"n/a" if row[key] is None else form(row[key])}</td>'
                         for key, form, _ in COLUMNS)
        rows += f'<tr class="{"best" if n == found["best"] else ""}">{cells}</tr>'
    return f'<section><h2>Runs</h2><div class="scroll"><table><tr>{head}</tr>{rows}</table></div></section>'
