"""What a run's log answers: the path of a tick to its fill, why nothing was sent, the account as of any past input.

Everything here goes over `History`; `explain_view` prints it. All messages of an account name the tick that caused them
and its place in the account's total order, `account_seq`; decisions.v1 has one record for every accepted tick.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from jobs.chain.messages import DECISIONS, EQUITY, FILLS, INTENTS
from jobs.chain.plans import KEYED_TOPICS
from jobs.chain.shard import DEAD, TICKS
from schemas.codec import NULL_LONG
from sigmaflow.errors import UserError
from sigmaflow.history import History, Table, find_input, table
from sigmaflow.reasons import moment, reason
from udfs.gates import ACTIVE, CAUSES, NONE, STATES
from udfs.money import plain, times, units
from udfs.stages.fills import ENDS

IDS = ("decision_id", "tick_id", "intent_id", "order_id")
"""Ids that a decision carries, in the order in which they are looked for."""
CAUSE = ("account_seq", "partition", "offset", "ts_event", "ts_order", "venue", "symbol")
Record = dict[str, Any]


@dataclass
class Position:
    """What an account holds of one instrument, in whole units. `cost` is what it was bought for, `mark` the last one.
    """

    instrument: str
    quantity: int = 0
    cost: int = 0
    realized_pnl: int = 0
    fees: int = 0
    mark: int = 0

    def fill(self, quantity: int, price: int, realized: int, fee: int) -> None:
        """Take a fill of a signed quantity: what it pays and does not realise is cost."""
        self.quantity += quantity
        self.cost += times(quantity, price) + realized
        self.realized_pnl += realized
        self.fees += fee

    def told(self) -> Record:
        """The same in plain numbers, with the average cost of a unit."""
        amounts = {name: plain(value) for name, value in asdict(self).items() if name not in ("instrument", "cost")}
        average = self.cost / self.quantity if self.quantity else 0.0
        return {"instrument": self.instrument, "average": average, **amounts}


class Account:
    """The account of a run. Topics are read once, when a question first needs them."""

    def __init__(self, history: History) -> None:
        self._history = history

    @cached_property
    def _decisions(self) -> Table:
        return table(self._history, DECISIONS, (*CAUSE, *IDS, "mid", "equity", "order_quantity", "order_limit", "state",
                                                "state_cause", "ended_order_id", "ended_as"))

    @cached_property
    def _fills(self) -> Table:
        return table(self._history, FILLS, (*CAUSE, "fill_id", "order_id", "side", "quantity", "price", "fee",
                                            "position", "cash", "realized_pnl", "remaining"))

    @cached_property
    def _marks(self) -> Table:
        return table(self._history, EQUITY, ("account_seq", "peak_equity", "account_cvar_975"))

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
        """The order of decision n and its life so far; None where none was sent."""
        d = self._decisions
        order_id = int(d["order_id"][n])
        if order_id == NULL_LONG:
            return None
        fills, end = self._of_order(order_id), self._ended_at(n)
        remaining = int(self._fills["remaining"][fills[-1]]) if fills else abs(int(d["order_quantity"][n]))
        replaced = end is not None and ENDS[int(d["ended_as"][end])] == "REPLACED"
        limit = int(d["order_limit"][n])
        return {"order_id": order_id, "instrument": d.instruments[int(d["instrument"][n])],
                "quantity": plain(d["order_quantity"][n]), "limit": None if limit == NULL_LONG else plain(limit),
                "account_seq": int(d["account_seq"][n]), "ts_order": int(d["ts_order"][n]),
                "outcome": self._outcome(fills, remaining, end), "remaining": plain(remaining),
                "replaced_by": int(d["order_id"][end]) if replaced and end is not None else None,
                "life": self._life(n, fills, end)}

    def _ended_at(self, n: int) -> int | None:
        """Number of the decision that ended the order of decision n before it was filled whole; None where none did."""
        ended = np.flatnonzero(self._decisions["ended_order_id"][n:] == self._decisions["order_id"][n])
        return n + int(ended[0]) if len(ended) else None

    def _outcome(self, fills: list[int], remaining: int, end: int | None) -> str:
        """filled, open, or how it ended; behind the first part of it, where it has one."""
        if fills and not remaining:
            return "filled"
        how = "open" if end is None else ENDS[int(self._decisions["ended_as"][end])].lower().replace("_", " ")
        return f"partly filled, {how}" if fills else how

    def _life(self, n: int, fills: list[int], end: int | None) -> list[Record]:
        """What happened to the order of decision n: sent, each fill, its end; with what was open behind each."""
        d, f = self._decisions, self._fills
        rest = abs(int(d["order_quantity"][n]))
        events = [(int(d["account_seq"][n]), int(d["ts_order"][n]), "sent", rest)]
        for k in fills:
            rest = int(f["remaining"][k])
            what = "partly filled" if rest else "filled"
            events.append((int(f["account_seq"][k]), int(f["ts_order"][k]), what, rest))
        if end is not None:
            how = ENDS[int(d["ended_as"][end])].lower().replace("_", " ")
            events.append((int(d["account_seq"][end]), int(d["ts_order"][end]), how, rest))
        return [{"account_seq": seq, "ts_order": ts, "event": event, "remaining": plain(left)}
                for seq, ts, event, left in events]

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
        return {"account_seq": seq, "instrument": name, "position": 0.0 if own is None else plain(f["position"][own]),
                "cash": plain(self._initial_cash() if last is None else f["cash"][last])}

    def _initial_cash(self) -> int:
        """The account's first equity, units: its first tick finds it without a position."""
        return int(self._decisions["equity"][0]) if len(self._decisions) else 0

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
        values = [times(p.quantity, p.mark) for p in positions]
        cash = int(f["cash"][filled - 1]) if filled else self._initial_cash()
        equity, peak = cash + sum(values), self._peak(decided, marked, cash + sum(values))
        return {"account_seq": int(d["account_seq"][decided - 1]) if decided else 0,
                "time": moment(int(d["ts_order"][decided - 1])) if decided else None,
                "cash": plain(cash), "equity": plain(equity), "peak_equity": plain(peak),
                "gross": plain(sum(map(abs, values))), "net": plain(sum(values)),
                "drawdown": 1 - plain(equity) / plain(peak) if peak > 0 else 0.0,
                "account_cvar_975": float(m["account_cvar_975"][marked - 1]) if marked else 0.0,
                "state": STATES[int(d["state"][decided - 1])] if decided else STATES[ACTIVE],
                "state_cause": CAUSES[int(d["state_cause"][decided - 1])] if decided else CAUSES[NONE],
                "orders": int((d["order_id"][:decided] != NULL_LONG).sum()), "fills": filled,
                "positions": [p.told() for p in positions if p.quantity or p.fees or p.realized_pnl],
                "open_orders": self._open(decided, filled)}

    def _peak(self, decided: int, marked: int, equity: int) -> int:
        """Highest equity, carried on by the ticks since the last mark, which knows of an operator's new start."""
        d, m = self._decisions, self._marks
        since = int(m["account_seq"][marked - 1]) if marked else 0
        first = int(np.searchsorted(d["account_seq"], since, "right"))
        peak = int(m["peak_equity"][marked - 1]) if marked else self._initial_cash()
        return max(equity, int(d["equity"][first:decided].max(initial=peak)))

    def _positions(self, decided: int, filled: int) -> list[Position]:
        """Every instrument of the first decisions, in their order, after the first fills."""
        d, f = self._decisions, self._fills
        seen, place = np.unique(d["instrument"][:decided][::-1], return_index=True)
        made = {d.instruments[n]: Position(d.instruments[n], mark=units(float(d["mid"][decided - 1 - at])))
                for n, at in zip(seen.tolist(), place.tolist(), strict=True)}
        signed = np.where(f["side"] == 0, f["quantity"], -f["quantity"])
        columns = (f["instrument"], signed, f["price"], f["realized_pnl"], f["fee"])
        for instrument, quantity, price, realized, fee in zip(*(c[:filled].tolist() for c in columns), strict=True):
            made[f.instruments[instrument]].fill(quantity, price, realized, fee)
        return list(made.values())

    def _open(self, decided: int, filled: int) -> list[Record]:
        """Orders sent and neither filled whole nor ended."""
        d, f = self._decisions, self._fills
        left = {int(d["order_id"][n]): int(n) for n in np.flatnonzero(d["order_id"][:decided] != NULL_LONG)}
        rest = dict(zip(f["order_id"][:filled].tolist(), f["remaining"][:filled].tolist(), strict=True))
        over = set(d["ended_order_id"][:decided].tolist()) | {order for order, open_ in rest.items() if not open_}
        return [{"order_id": order, "instrument": d.instruments[int(d["instrument"][n])],
                 "quantity": plain(d["order_quantity"][n]), "account_seq": int(d["account_seq"][n]),
                 "remaining": plain(rest.get(order, abs(int(d["order_quantity"][n]))))}
                for order, n in left.items() if order not in over]
