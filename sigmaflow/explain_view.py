"""The answers of `explain`, printed: as plain tables, or with --json as one JSON object."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.markup import escape
from rich.table import Table

import schemas
from jobs.chain.shard import TICKS
from sigmaflow.errors import UserError
from sigmaflow.explain import Account
from sigmaflow.history import KafkaHistory
from sigmaflow.output import Record, console, plain, print_json, print_table
from sigmaflow.reasons import moment, reason
from sigmaflow.settings import load
from udfs.profiles import NS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = ("ts_event", "ts_recv", "ts_order", "ts_order_sent")
NOT_HELD = "not in its topic: not tapped, or no longer kept"


def explain(wanted: str, namespace: str, as_json: bool) -> None:
    """Print the path of an id. Raises UserError where it is no number or not found."""
    number = identity(wanted)
    answer = Account(KafkaHistory(load(), namespace)).explain(number)
    print_json(answer) if as_json else print_path(answer)


def why_not(symbol: str, time: str, namespace: str, as_json: bool) -> None:
    """Print the last decision on a symbol at or before a time. Raises UserError where there is none."""
    when = instant(time)
    answer = Account(KafkaHistory(load(), namespace)).why_not(symbol, when)
    print_json(answer) if as_json else print_decision(answer)


def state(at: str, namespace: str, as_json: bool) -> None:
    """Print the account as of an input. Raises UserError for an input that nothing is known of."""
    partition, offset = place(at, schemas.in_run(TICKS, namespace))
    answer = Account(KafkaHistory(load(), namespace)).state(partition, offset)
    print_json(answer) if as_json else print_state(answer)


# -------------------------------------------------------------------------------------------------------- arguments


def identity(text: str) -> int:
    """An id. Raises UserError where it is no 64-bit integer."""
    try:
        return int(text)
    except ValueError:
        raise UserError("explain", "ID must be a signed 64-bit integer", f"it is {text!r}",
                        "copy an id as `make monitor-topics` shows it") from None


def instant(text: str) -> int:
    """A time as nanoseconds since 1970, from ISO 8601 (UTC where it names no zone) or nanoseconds.

    Raises UserError for anything else.

    >>> instant("2023-11-14T22:13:20.000000001Z"), instant("1700000000000000001")
    (1700000000000000001, 1700000000000000001)
    """
    try:
        if re.fullmatch(r"-?\d{9,}", text):
            return int(text)
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UserError("why-not", "TIME must be ISO 8601 or nanoseconds since 1970", f"it is {text!r}",
                        "write for example 2026-01-31T09:30:00Z") from None
    finer = re.search(r"[.,]\d{6}(\d{1,3})", text)  # the standard library cuts at microseconds
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - EPOCH
    return since // timedelta(microseconds=1) * (NS // 1_000_000) + int(finer[1].ljust(3, "0") if finer else 0)


def place(text: str, inputs: str) -> tuple[int, int]:
    """Partition and offset of TOPIC:PARTITION:OFFSET, TOPIC the run's `inputs` or the name it has without a namespace.

    Raises UserError for anything else.
    """
    topic, *numbers = text.rsplit(":", 2)
    if topic not in (TICKS, inputs) or len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
        raise UserError("state", f"--at must be {inputs}:PARTITION:OFFSET", f"it is {text!r}",
                        f"write for example --at {inputs}:0:1234")
    return int(numbers[0]), int(numbers[1])


# ------------------------------------------------------------------------------------------------------------ print


def print_path(answer: Record) -> None:
    """Print a path from tick to fill, one table a step."""
    decision, order = answer["decision"], answer["order"]
    console().print(f"{answer['id']} is a {answer['kind']}; {reason(decision, order)}")
    _print_record("tick", answer["tick"])
    for tap, value in answer["taps"].items():
        _print_record(tap, value)
    _print_decision(decision)
    _print_record("intent", answer["intent"] if decision["intent_id"] is not None else {}, "none")
    _print_order(order)
    for fill in answer["fills"]:
        _print_record("fill", fill)
    if not answer["fills"]:
        _print_record("fill", {}, "none")
    _print_record(f"after account_seq {answer['after']['account_seq']}", answer["after"])


def print_decision(answer: Record) -> None:
    """Print why an order was or was not sent."""
    decision = answer["decision"]
    console().print(f"{answer['asked']['symbol']} at {moment(decision['ts_event'])}, the last decision at or before "
                    f"{answer['asked']['time']}:\n{answer['reason']}")
    _print_decision(decision)
    if answer["order"]:
        _print_order(answer["order"])


def print_state(answer: Record) -> None:
    """Print the account as of an input."""
    refused = answer["refused"]
    if refused:
        console().print(f"{answer['at']} was refused as {refused['reason']}: {refused['detail']}\nThe state is that "
                        "after the latest accepted tick before it in its partition.")
    lists = ("positions", "open_orders")
    _print_record(f"account after {answer['at']}",
                  {name: value for name, value in answer.items() if name not in (*lists, "at", "refused")})
    for name in lists:
        print_rows(name.replace("_", " "), answer[name])


def print_rows(title: str, rows: Sequence[Record]) -> None:
    """Print records of the same fields as one table."""
    console().print()
    print_table(rows, title, cell=lambda name, value: escape(shown(name, value)))


def _print_decision(decision: Record) -> None:
    _print_record("decision", {name: value for name, value in decision.items() if name != "gates"})
    print_rows("gates", decision["gates"])


def _print_order(order: Record | None) -> None:
    _print_record("order", {name: value for name, value in (order or {}).items() if name != "life"}, "none was sent")
    if order:
        print_rows("life of the order", order["life"])


def _print_record(title: str, record: Record | None, empty: str = NOT_HELD) -> None:
    if not record:
        console().print(f"\n{title}: {empty if record is not None else NOT_HELD}")
        return
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name, shown(name, value))
    console().print("", table)


def shown(name: str, value: Any) -> str:
    """A field's value for people; times also as ISO 8601."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if name in TIMES:
        return f"{value} ({moment(value)})"
    if isinstance(value, list):
        return "; ".join(shown("", held) for held in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(key, held)}" for key, held in value.items())
    return "-" if value is None or value == "" else str(plain(value))
