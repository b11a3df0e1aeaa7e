"""A decision in plain words: which order was sent, or which gate failed first and what would have let it pass."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def moment(ts: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 in UTC.

    >>> moment(1_700_000_000_000_000_001)
    '2023-11-14T22:13:20.000000001Z'
    """
    return f"{np.datetime64(ts, 'ns')}Z"



def _number(value: float) -> str:
    return f"{value:.6g}"


def _side(direction: float) -> str:
    return "long" if direction > 0 else "short"


def _above(what: str) -> Callable[[float, float], str]:
    return lambda value, limit: (f"{what} {_number(value)} is above {_number(limit)}; at most {_number(limit)}, or an "
                                 "order that only reduces the position, would have passed")


SENTENCES: dict[str, Callable[[float, float], str]] = {
    "warm": lambda value, limit: "the symbol's return window is not full yet; a full one would have passed",
    "entry": lambda value, limit: f"|score| {_number(value)} is below {_number(limit)}; {_number(limit)} or more would "
                                  "have passed",
    "direction": lambda value, limit: f"the score points {_side(value)}, as the last target already does; one that "
                                      f"points {_side(-value)} would have passed",
    "cost": lambda value, limit: f"|mu| {_number(value)} is below {_number(limit)}, what the spread asks for; as much "
                                 "or more, or a narrower spread, would have passed",
    "selection": lambda value, limit: f"the symbol ranks {_number(value)} among the account's opportunities; the first "
                                      f"{_number(limit)} would have passed",
    "halt": lambda value, limit: "trading is halted; no order passes until a person ends that",
    "range": lambda value, limit: "an amount is beyond what the ledger counts in, or the tick's price is; a target "
                                  f"that keeps gross within {_number(limit)} would have passed",
    "reducing": lambda value, limit: f"the account may only reduce, and a target of {_number(value)} is not within the "
                                     f"position of {_number(limit)}; one within it would have passed",
    "position": _above("a position worth"),
    "gross": _above("gross exposure"),
    "concentration": _above("the symbol's share of gross,"),
    "account_cvar": _above("the account's CVaR"),
    "quantity": lambda value, limit: f"the target is the position already, to the lot of {_number(limit)}; one at "
                                     "least a lot away would have passed",
}
"""What a failed gate saw, and what would have passed: by its name, from its value and limit."""


WHY_STATE = {"DRAWDOWN": " (the drawdown reached its limit)", "DAY_LOSS": " (the loss of the day reached its limit)",
             "COMMAND": " (an operator's command)", "RANGE": " (an amount left the ledger's range)"}
"""Why an account is not ACTIVE: by state_cause."""


def reason(decision: dict[str, Any], order: dict[str, Any] | None) -> str:
    """One sentence: which order was sent, or which gate failed first and what would have let it pass."""
    if order is not None:
        by = f" by {order['replaced_by']}" if order["replaced_by"] is not None else ""
        at = "" if order["limit"] is None else f" at {_number(order['limit'])} or better"
        return f"sent: order {order['order_id']} for {_number(order['quantity'])}{at}, {order['outcome']}{by}"
    name = decision["failed_gate"]
    gate = next((g for g in decision["gates"] if g["gate"] == name), None)
    if gate is None:
        return "no order: no gate failed and none was sent"
    why = WHY_STATE.get(decision.get("state_cause", ""), "") if name in ("halt", "reducing") else ""
    told = SENTENCES.get(name, lambda value, limit: f"{_number(value)} did not pass against {_number(limit)}")
    return f"{name}: {told(gate['value'], gate['limit'])}{why}"
