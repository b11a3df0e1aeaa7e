"""The live view in the terminal; where output is no terminal, plain lines. `make dashboard`."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sigmaflow.live import TICKS, Feed, View
from sigmaflow.report_svg import clock, money, percent
from sigmaflow.settings import load

BLOCKS = " ▁▂▃▄▅▆▇█"
FRAMES_PER_S = 4
PLAIN_EVERY_S = 2.0
PLAIN_SECONDS = 10.0
SHOWN_POSITIONS = 8
SHOWN_FILLS = 6
CURVE_HEIGHT = 5
WAITING = "No account yet: the chain sends its first mark when the strategy is warm."


def run(seconds: float = 0.0, account: str = "paper") -> None:
    """Show the chain and the account live for `seconds`, 0 for until interrupted.

    Without a terminal: one plain line every 2 s, for 10 s where `seconds` is 0.
    """
    settings = load()
    with Feed(settings, account) as feed:
        try:
            if sys.stdout.isatty():
                _watch(feed, account, seconds)
            else:
                _print(feed, seconds or PLAIN_SECONDS)
        except KeyboardInterrupt:
            pass


def _watch(feed: Feed, account: str, seconds: float) -> None:
    console = Console()
    end = time.monotonic() + (seconds or float("inf"))
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while time.monotonic() < end:
            live.update(render(feed.view, account, console.width, console.height), refresh=True)
            time.sleep(1 / FRAMES_PER_S)
    console.print(render(feed.view, account, console.width))


def _print(feed: Feed, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        time.sleep(min(PLAIN_EVERY_S, max(0.0, end - time.monotonic())))
        print(plain(feed.view), flush=True)
        if time.monotonic() >= end:
            return


def plain(view: View) -> str:
    """Return one line that says it all.

    >>> plain(View(at=0.0, missing=("Redis",)))
    '00:00:00 ticks 0/s lag n/a, no job, no account yet; no answer from Redis'
    """
    head = f"{clock(int(view.at * 1e9), '%H:%M:%S')} ticks {view.rates.get(TICKS, 0):,.0f}/s lag {_lag(view)}"
    jobs = f"{len(view.chain.names)} job {view.chain.state}, checkpoints {view.chain.checkpoints:,}"
    chain = jobs if view.chain.names else "no job"
    missing = f"; no answer from {', '.join(view.missing)}" if view.missing else ""
    return f"{head}, {chain}, {_plain_account(view)}{missing}"


def _plain_account(view: View) -> str:
    a = view.account
    if not a:
        return "no account yet"
    return (
        f"signals {a['account_seq']:,} intents {a['intents']:,} orders {a['orders']:,} fills {a['fills']:,} "
        f"equity {a['equity']:,.2f} drawdown {percent(a['drawdown'])} {a['state']}"
    )


def _lag(view: View) -> str:
    return "n/a" if view.lag is None else f"{view.lag:,}"


def render(view: View, account: str, width: int, height: int = 0) -> RenderableType:
    """Return the whole picture for a terminal of this width; tables shrink or go where `height` is short."""
    top = Table.grid(expand=True, padding=0)
    top.add_column(ratio=1)
    top.add_column(ratio=1)
    top.add_row(_panel("Flow", _flow(view)), _panel("Account", _account(view)))
    parts: list[RenderableType] = [_title(view, account), top]
    if view.account:
        parts.append(_panel("Equity", _curve(view.account["curve"], width - 4)))
        held, filled = view.account["positions"][:SHOWN_POSITIONS], view.account["last_fills"][-SHOWN_FILLS:][::-1]
        # Title, the two panels and the curve take 19 rows, a table its rows and 3 for border and head.
        room = height - 19 if height else 1_000
        if held and room > 3:
            parts.append(_panel("Positions", _positions(held[: room - 3])))
            room -= 3 + len(held)
        if filled and room > 3:
            parts.append(_panel("Last fills", _fills(filled[: room - 3])))
    return Group(*parts)


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=f"[bold]{title}", title_align="left", border_style="bright_black", padding=(0, 1))


def _title(view: View, account: str) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    names = view.chain.names
    jobs = names[0] if len(names) == 1 else f"{len(names)} jobs"
    state = Text(f"{jobs} {view.chain.state} {_duration(view.chain.uptime_s)}" if names else "no job runs")
    state.stylize("green" if view.chain.state == "RUNNING" else "bold red")
    if view.missing:
        state = Text(f"no answer from {', '.join(view.missing)}", style="bold red")
    line.add_row(Text.assemble((" Sigmaflow ", "bold reverse"), f" account {account}"), state)
    return line


def _duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _pairs() -> Table:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, ratio=1)
    table.add_column(justify="right", no_wrap=True)
    return table


def _flow(view: View) -> Table:
    table = _pairs()
    a, rates = view.account, view.rates
    table.add_row("ticks", f"{rates.get(TICKS, 0):,.0f}/s", f"{view.topics.get(TICKS, 0):,}")
    table.add_row("lag, not final", _behind(view), _lag(view))
    table.add_row("rejected", "", f"{sum(a.get('rejected', {}).values()):,}")
    for name in ("signals", "opportunities"):
        topic = f"{name}.v1"
        # One for each accepted tick, so the account's own count says it where the topic is not tapped.
        count = view.topics[topic] if view.tapped(topic) else a.get("account_seq", 0)
        rate = rates.get(topic if view.tapped(topic) else "account_seq", 0)
        table.add_row(name, f"{rate:,.0f}/s", f"{count:,}")
    for name in ("intents", "orders", "fills"):
        table.add_row(name, f"{rates.get(name, 0):,.1f}/s", f"{a.get(name, 0):,}")
    took = "" if view.chain.last_checkpoint_ms is None else f"{view.chain.last_checkpoint_ms:,} ms"
    failed = f", {view.chain.failed_checkpoints} failed" if view.chain.failed_checkpoints else ""
    table.add_row("checkpoints", took, f"{view.chain.checkpoints:,}{failed}")
    return table


def _behind(view: View) -> str:
    """Return the lag as time at the present rate."""
    rate = view.rates.get(TICKS, 0)
    return f"{view.lag / rate:,.1f} s" if view.lag is not None and rate >= 1 else ""


def _account(view: View) -> RenderableType:
    a = view.account
    if not a:
        return Text(WAITING, style="bright_black")
    table = _pairs()
    why = "" if a.get("state_cause", "NONE") == "NONE" else f" by {a['state_cause'].lower().replace('_', ' ')}"
    state = Text(a["state"] + why, style="green" if a["state"] == "ACTIVE" else "bold red")
    profit = sum(position["pnl"] for position in a["positions"])
    start = a["equity"] - profit
    table.add_row("equity", money(a["equity"]), state)
    table.add_row("profit", _signed(profit), _signed(profit / start, percent) if start > 0 else "")
    table.add_row("drawdown", "", percent(a["drawdown"]))
    table.add_row("gross", money(a["gross"]), _of(a["gross"], a["equity"]))
    table.add_row("net", money(a["net"]), _of(a["net"], a["equity"]))
    table.add_row("CVaR 97.5 %", money(a["account_cvar_975"]), "one bar")
    table.add_row("event time", "", clock(a["ts_order"], "%H:%M:%S"))
    age = Text(f"{view.age_s:.0f} s old", style="bold red" if view.age_s > 5 else "")
    table.add_row("snapshot", "", age)
    table.add_row("orders stopped", "", f"{sum(n for v, n in a['verdicts'].items() if v != 'sent'):,}")
    return table


def _signed(value: float, form: Any = money) -> Text:
    return Text(form(value), style="green" if value >= 0 else "red")


def _of(value: float, whole: float) -> str:
    return f"{100 * value / whole:.1f} %" if whole > 0 else ""


def chart(values: list[float], width: int, height: int) -> list[str]:
    """Return values as rows of block characters, top row first.

    >>> chart([0.0, 1.0, 2.0, 4.0], 4, 2)
    ['  ▁█', '▁▅██']
    """
    if not values:
        return []
    columns = [values[i * len(values) // width] for i in range(width)] if len(values) > width else values
    columns[-1] = values[-1]
    low, high = min(columns), max(columns)
    scale = (8 * height - 1) / (high - low) if high > low else 0.0
    levels = [1 + int((value - low) * scale + 0.5) for value in columns]
    return ["".join(BLOCKS[min(8, max(0, level - 8 * row))] for level in levels) for row in reversed(range(height))]


def _curve(points: list[float], width: int) -> RenderableType:
    rows = chart(list(points), width - 12, CURVE_HEIGHT)
    low, high = (min(points), max(points)) if points else (0.0, 0.0)
    labels = [f"{high:>11,.2f}"] + [" " * 11] * (CURVE_HEIGHT - 2) + [f"{low:>11,.2f}"]
    style = "green" if points and points[-1] >= points[0] else "red"
    lines = [Text.assemble((row, style), (label, "bright_black")) for row, label in zip(rows, labels, strict=False)]
    return Group(*lines) if lines else Text("no mark yet", style="bright_black")


def _columns(*names: str, left: int = 1) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bright_black", pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return table


def _positions(positions: list[dict[str, Any]]) -> Table:
    table = _columns("symbol", "position", "mark", "value", "profit")
    for p in positions:
        table.add_row(p["symbol"], f"{p['position']:,.6g}", f"{p['mid']:,.8g}", money(p["value"]), _signed(p["pnl"]))
    return table


def _fills(fills: list[dict[str, Any]]) -> Table:
    table = _columns("time", "symbol", "side", "quantity", "price", "led by, bound by")
    table.columns[5].justify = "left"
    table.columns[5].overflow = "ellipsis"
    for f in fills:
        bound = f", {f['binding_constraint']}" if f["binding_constraint"] else ""
        side = Text(f["side"].lower(), style="cyan" if f["side"] == "BUY" else "yellow")
        table.add_row(clock(f["ts_event"], "%H:%M:%S"), f["symbol"], side, f"{f['quantity']:,.5g}",
                      f"{f['price']:,.7g}", f"{f['top_alpha']}{bound}")
    return table
