"""What a run's log answers: the path of a tick to its fill, why nothing was sent, the account as of any past input.

Everything here goes over `History`; `explain_view` prints it. All messages of an account name the tick that caused them
and its place in the account's total order, `account_seq`; decisions.v1 has one record for every accepted tick.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.chain.messages import DECISIONS, EQUITY, FILLS, INTENTS
from jobs.chain.plans import KEYED_TOPICS
from jobs.chain.shard import DEAD, TICKS
from schemas.codec import NULL_LONG
from sigmaflow.errors import UserError
from sigmaflow.history import History, Table, find_input, table
from sigmaflow.reasons import moment, reason
from udfs import profiles
from udfs.stages.fills import ACTIVE, HALTED, REDUCING

IDS = ("decision_id", "tick_id", "intent_id", "order_id")
"""Ids that a decision carries, in the order in which they are looked for."""
STATES = {ACTIVE: "ACTIVE", REDUCING: "REDUCING", HALTED: "HALTED"}
CAUSE = ("account_seq", "partition", "offset", "ts_event", "ts_order", "venue", "symbol")
Record = dict[str, Any]


@dataclass
class Position:
    """What an account holds of one instrument. `average` is its average cost, `mark` the last mid; quote currency."""

    instrument: str
    quantity: float = 0.0
    average: float = 0.0
    realized_pnl: float = 0.0
    fees: float = 0.0
    mark: float = 0.0

    def fill(self, quantity: float, price: float) -> None:
        """Take a signed quantity into the average: it moves as the position grows and starts anew as it turns."""
        after = self.quantity + quantity
        if self.quantity * quantity < 0:
            self.average = price if abs(quantity) > abs(self.quantity) else self.average
        elif after:
            self.average = (self.quantity * self.average + quantity * price) / after
        self.quantity = after


class Account:
    """The account of a run. Topics are read once, when a question first needs them."""

    def __init__(self, history: History) -> None:
        self._history = history

    @cached_property
    def _decisions(self) -> Table:
        return table(self._history, DECISIONS, (*CAUSE, *IDS, "mid", "equity", "order_quantity"))

    @cached_property
    def _fills(self) -> Table:
        return table(self._history, FILLS, (*CAUSE, "fill_id", "order_id", "side", "quantity", "price", "fee",
                                            "position", "cash", "realized_pnl"))

    @cached_property
    def _marks(self) -> Table:
        return table(self._history, EQUITY, ("account_seq", "equity", "peak_equity", "state", "account_cvar_975",
                                             "orders"))

    @cached_property
    def _intents(self) -> Table:
        return table(self._history, INTENTS, ("intent_id",))

    @cached_property
    def _refused(self) -> Table:
        return table(self._history, DEAD, ("partition", "offset"))

    # ------------------------------------------------------------------------------------------------------ explain

    def explain(self, wanted: int) -> Record:
        """The path that the tick, decision, intent, order or fill of this id is on, from the tick to the fill.

        `tick`, a tap or `intent` is None where its topic does not hold it (any more). Raises UserError for an id that
        is none of these.
        """
        kind, n = self._find(wanted)
        decision = self._decisions.row(n)
        order = self._order(n)
        fills = [self._fills.row(f) for f in self._of_order(order["order_id"])] if order else []
        seq = fills[-1]["account_seq"] if fills else decision["account_seq"]
        at = decision["partition"], decision["offset"]
        return {"id": wanted, "kind": kind, "tick": self._tick(*at),
                "taps": {tap: find_input(self._history, tap, *at) for tap in KEYED_TOPICS.values()},
                "decision": decision, "intent": self._intent(decision["intent_id"]), "order": order, "fills": fills,
                "after": self._after(int(self._decisions["instrument"][n]), seq)}

    def _tick(self, partition: int, offset: int) -> Record | None:
        kept = self._history.at(TICKS, partition, offset)
        return self._history.decode(TICKS, kept.value) if kept and kept.value and kept.offset == offset else None

    def _find(self, wanted: int) -> tuple[str, int]:
        """Which id it is, and the number of the decision on its path."""
        if NULL_LONG < wanted < -NULL_LONG:
            for kind in IDS:
                n = self._decisions.last(self._decisions[kind] == wanted)
                if n is not None:
                    return kind, n
            f = self._fills.last(self._fills["fill_id"] == wanted)
            order = NULL_LONG if f is None else int(self._fills["order_id"][f])
            n = None if f is None else self._decisions.last(self._decisions["order_id"] == order)
            if n is not None:
                return "fill_id", n
        raise UserError("explain", "the id must be that of a tick, decision, intent, order or fill",
                        f"{wanted} is none of {self._searched()}",
                        "take an id from `make monitor-topics TOPIC=decisions.v1`, or name its run with --from; a tick "
                        "that was refused is in `sigmaflow dlq list`")

    def _searched(self) -> str:
        return (f"{len(self._decisions):,} decisions in {self._history.name(DECISIONS)} and {len(self._fills):,} fills "
                f"in {self._history.name(FILLS)}")

    def _order(self, n: int) -> Record | None:
        """The order of decision n and what became of it; None where none was sent."""
        d = self._decisions
        order_id = int(d["order_id"][n])
        if order_id == NULL_LONG:
            return None
        later = np.flatnonzero((d["instrument"][n + 1:] == d["instrument"][n]) & (d["order_id"][n + 1:] != NULL_LONG))
        by = int(d["order_id"][n + 1 + later[0]]) if len(later) else None
        filled = len(self._of_order(order_id)) > 0
        until = n + 1 + int(later[0]) if len(later) else len(d)
        cancelled = not filled and self._cancelled(n, until)
        outcome = "filled" if filled else "cancelled" if cancelled else "replaced" if by else "open"
        return {"order_id": order_id, "instrument": d.instruments[int(d["instrument"][n])],
                "quantity": float(d["order_quantity"][n]), "account_seq": int(d["account_seq"][n]),
                "ts_order": int(d["ts_order"][n]), "outcome": outcome,
                "replaced_by": by if outcome == "replaced" else None}

    def _cancelled(self, n: int, until: int) -> bool:
        """Whether an intent between decision n and `until` found the position where it wants it: that cancels."""
        d = self._decisions
        between = slice(n + 1, until)
        intents = (d["instrument"][between] == d["instrument"][n]) & (d["intent_id"][between] != NULL_LONG)
        return any(d.row(n + 1 + int(at))["failed_gate"] == "quantity" for at in np.flatnonzero(intents))

    def _of_order(self, order_id: int) -> list[int]:
        """Numbers of an order's fills."""
        found: list[int] = np.flatnonzero(self._fills["order_id"] == order_id).tolist()
        return found

    def _intent(self, intent_id: int | None) -> Record | None:
        n = None if intent_id is None else self._intents.last(self._intents["intent_id"] == intent_id)
        return None if n is None else self._intents.row(n)

    def _after(self, instrument: int, seq: int) -> Record:
        """The position in one instrument and the cash after the tick of an account_seq."""
        f, name = self._fills, self._decisions.instruments[instrument]
        reached = f["account_seq"] <= seq
        last = f.last(reached)
        own = f.last(reached & (f["instrument"] == f.instruments.index(name))) if name in f.instruments else None
        return {"account_seq": seq, "instrument": name, "position": 0.0 if own is None else float(f["position"][own]),
                "cash": self._initial_cash() if last is None else float(f["cash"][last])}

    def _initial_cash(self) -> float:
        """The account's first equity: its first tick finds it without a position."""
        return float(self._decisions["equity"][0]) if len(self._decisions) else 0.0

    # ------------------------------------------------------------------------------------------------------ why-not

    def why_not(self, symbol: str, ts: int) -> Record:
        """The last decision on a symbol at or before event time `ts` (ns since 1970), and in a sentence what it was.

        `symbol` may have its venue in front, VENUE:SYMBOL. Raises UserError for a symbol or time without a decision.
        """
        d = self._decisions
        instrument = self._instrument(symbol)
        own = d["instrument"] == instrument
        n = d.last(own & (d["ts_event"] <= ts))
        if n is None:
            first = moment(int(d["ts_event"][own].min()))
            raise UserError("why-not", f"{symbol} must have a decision at or before {moment(ts)}",
                            f"its first one is of {first}", "ask for a later time")
        decision, order = d.row(n), self._order(n)
        return {"asked": {"symbol": d.instruments[instrument], "time": moment(ts)}, "decision": decision,
                "order": order, "reason": reason(decision, order)}

    def _instrument(self, symbol: str) -> int:
        known = self._decisions.instruments
        found = [name for name in known if symbol in (name, name.split(":", 1)[1])]
        if len(found) == 1:
            return known.index(found[0])
        where = f"{len(self._decisions):,} decisions in {self._history.name(DECISIONS)}"
        if found:
            raise UserError("why-not", f"SYMBOL must be one instrument of {where}", f"{symbol} is several",
                            "name the venue: " + " or ".join(found))
        raise UserError("why-not", f"SYMBOL must be an instrument of {where}", f"{symbol!r} is none",
                        "use one of " + ", ".join(sorted(known)) if known else "let the chain run, or name its run")

    # -------------------------------------------------------------------------------------------------------- state

    def state(self, partition: int, offset: int) -> Record:
        """Positions, cash, risk state and open orders right after one input of market.ticks.v1.

        That is after everything up to its place in the account's total order. Where the input was refused, `refused` is
        its dead letter, and the state is that after the latest accepted one before it in its partition. Raises
        UserError for an input that nothing is known of (yet).
        """
        seq, refused = self._place(partition, offset)
        return {"at": f"{self._history.name(TICKS)}:{partition}:{offset}", "refused": refused, **self.book(seq)}

    def _place(self, partition: int, offset: int) -> tuple[int, Record | None]:
        """The account_seq that an input stands for, and its dead letter where it was refused."""
        d = self._decisions
        own = (d["partition"] == partition) & (d["offset"] <= offset)
        n = d.last(own)
        latest = np.flatnonzero(own)[d["offset"][own].argmax()] if n is not None else None
        seq = 0 if latest is None else int(d["account_seq"][latest])
        if latest is not None and int(d["offset"][latest]) == offset:
            return seq, None
        row = self._refused.last((self._refused["partition"] == partition) & (self._refused["offset"] == offset))
        if row is None:
            raise self._unknown(partition, offset)
        return seq, self._refused.row(row)

    def _unknown(self, partition: int, offset: int) -> UserError:
        name, (low, high) = self._history.name(TICKS), self._history.bounds(TICKS, partition)
        inside = low <= offset < high
        return UserError("state", f"{name}:{partition}:{offset} must have a decision or a dead letter",
                         f"neither {len(self._decisions):,} decisions nor {len(self._refused):,} dead letters name it; "
                         f"the partition holds offsets {low} to {high - 1}",
                         "wait until the chain has come to it" if inside else "name an offset that is there")

    def book(self, seq: int) -> Record:
        """The account right after the tick of an account_seq; 0 is before the first one."""
        d, f, m = self._decisions, self._fills, self._marks
        decided = int(np.searchsorted(d["account_seq"], seq, "right"))
        filled = int(np.searchsorted(f["account_seq"], seq, "right"))
        marked = int(np.searchsorted(m["account_seq"], seq, "right"))
        positions = self._positions(decided, filled)
        values = [p.quantity * p.mark for p in positions]
        cash = float(f["cash"][filled - 1]) if filled else self._initial_cash()
        equity = cash + sum(values)
        peak = max(equity, self._initial_cash(), d["equity"][:decided].max(initial=equity),
                   m["peak_equity"][:marked].max(initial=equity))
        return {"account_seq": int(d["account_seq"][decided - 1]) if decided else 0,
                "time": moment(int(d["ts_order"][decided - 1])) if decided else None,
                "cash": cash, "equity": equity, "peak_equity": float(peak), "gross": sum(map(abs, values)),
                "net": sum(values), "drawdown": 1 - equity / float(peak) if peak > 0 else 0.0,
                "account_cvar_975": float(m["account_cvar_975"][marked - 1]) if marked else 0.0,
                **self._trading_state(decided, marked),
                "orders": int((d["order_id"][:decided] != NULL_LONG).sum()), "fills": filled,
                "positions": [asdict(p) for p in positions if p.quantity or p.fees or p.realized_pnl],
                "open_orders": self._open(decided, filled)}

    def _positions(self, decided: int, filled: int) -> list[Position]:
        """Every instrument of the first decisions, in their order, after the first fills."""
        d, f = self._decisions, self._fills
        seen, place = np.unique(d["instrument"][:decided][::-1], return_index=True)
        made = {d.instruments[n]: Position(d.instruments[n], mark=float(d["mid"][decided - 1 - at]))
                for n, at in zip(seen.tolist(), place.tolist(), strict=True)}
        signed = np.where(f["side"] == 0, f["quantity"], -f["quantity"])
        columns = (f["instrument"], signed, f["price"], f["position"], f["realized_pnl"], f["fee"])
        for instrument, quantity, price, after, realized, fee in zip(*(c[:filled].tolist() for c in columns),
                                                                     strict=True):
            p = made[f.instruments[instrument]]
            p.fill(quantity, price)
            p.quantity = after
            p.realized_pnl += realized
            p.fees += fee
        return list(made.values())

    def _open(self, decided: int, filled: int) -> list[Record]:
        """Each instrument's last order where it is not filled yet: an order replaces the one before it."""
        d = self._decisions
        sent = np.flatnonzero(d["order_id"][:decided] != NULL_LONG)
        latest = {int(d["instrument"][n]): int(n) for n in sent.tolist()}
        done = set(self._fills["order_id"][:filled].tolist())
        return [{"order_id": int(d["order_id"][n]), "instrument": d.instruments[instrument],
                 "quantity": float(d["order_quantity"][n]), "account_seq": int(d["account_seq"][n])}
                for instrument, n in latest.items()
                if int(d["order_id"][n]) not in done and not self._cancelled(n, decided)]

    def _trading_state(self, decided: int, marked: int) -> Record:
        """The state of the last mark, carried on by the drawdown of each tick since where the profile is known."""
        d, m = self._decisions, self._marks
        state = int(m["state"][marked - 1]) if marked else ACTIVE
        since = int(m["account_seq"][marked - 1]) if marked else 0
        first = int(np.searchsorted(d["account_seq"], since, "right"))
        if first < decided and self._limits is not None:
            peak = float(m["peak_equity"][marked - 1]) if marked else self._initial_cash()
            state = carried(state, peak, d["equity"][first:decided], *self._limits)
            since = int(d["account_seq"][decided - 1])
        return {"state": STATES.get(state, "UNKNOWN"), "state_as_of": since}

    @cached_property
    def _limits(self) -> tuple[float, float] | None:
        """Drawdowns that reduce and halt, where this code has the run's profile with the same settings."""
        first = self._decisions.row(0)
        known = profiles.get(first["strategy"]) if first["strategy"] in profiles.names() else None
        same = known is not None and known.digest == first["config_digest"]
        return (known.fills.reduce_drawdown, known.fills.halt_drawdown) if same and known else None


def carried(state: int, peak: float, equity: NDArray[np.float64], reduce: float, halt: float) -> int:
    """Trading state after some ticks' equity, from a state and a peak; the rule of the ledger (udfs/stages/fills.py).

    >>> carried(ACTIVE, 100.0, np.array([89.0, 95.0]), 0.10, 0.15), carried(ACTIVE, 100.0, np.array([84.0]), 0.1, 0.15)
    (0, 2)
    """
    if state == HALTED or not len(equity):
        return state
    peaks = np.maximum.accumulate(np.maximum(equity, peak))
    drawdown = 1 - equity / peaks
    if (drawdown >= halt).any():
        return HALTED
    return REDUCING if drawdown[-1] >= reduce else ACTIVE
