"""Admission: every input offset ends up in exactly one of accepted, duplicate and rejected.

A tick is accepted when it is well-formed, of a known schema, finite and in range, with positive prices and sizes, bid
at most ask (equal is a locked book: accepted with a flag), and event time within bounds of its receive time, of the
time its record was written, and of its partition.
"""
from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from schemas import codec
from udfs.profiles import NS, Profile
from udfs.stage import Columns, Stage, StageState

RECEIVE_TIME, LOCKED, GAP = 1, 2, 4
"""Bits of `flags`. A source sets the first, and the last where its venue has lost messages."""

LARGEST, LAST_SEQ = 1e15, 1 << 53
UNSTAMPED = -1
"""Kafka timestamp of a record that has none; others are seconds since 1970."""

LONGEST = 64
"""Bytes that a venue's or symbol's name may have: names are keys of state."""

ACCEPTED = 0
DUPLICATE = 20
REASONS = {
    codec.BAD_MAGIC: ("bad_magic", "first byte is not 0: write in the Confluent wire format"),
    codec.UNKNOWN_SCHEMA: ("unknown_schema", "schema id is not registered for this topic: register it, then replay"),
    codec.TRUNCATED: ("truncated", "bytes end before the record does, or a value is out of its type's range"),
    codec.TRAILING: ("trailing_bytes", "bytes go on after the record: writer and schema id do not match"),
    codec.BAD_TEXT: ("bad_text", "a string is not UTF-8"),
    codec.NULL_VALUE: ("null_value", "the record has no value"),
    codec.UNRESOLVED: ("unresolved", "a newer writer's value has no place in this job's schema (enum symbol, range or "
                                     "null): restart the job with the newer code, then replay"),
    10: ("bad_symbol", "venue or symbol is empty, longer than 64 bytes, or has a zero byte or a colon in the venue"),
    11: ("not_finite", "a price or size is NaN or infinite"),
    12: ("not_positive_price", "bid or ask is zero or negative"),
    13: ("not_positive_size", "a size is zero or negative"),
    14: ("crossed", "bid is above ask"),
    15: ("time_ahead", "event time is further ahead of receive time or of the record's Kafka timestamp than "
                       "admission.max_ahead_s"),
    16: ("time_behind", "event time is further behind its partition than admission.max_behind_s"),
    17: ("out_of_range", "a price or size is above 1e15: sums and products of such numbers are not finite"),
    18: ("seq_range", "seq is negative or above 2^53: it would make every later tick of the symbol a duplicate"),
    DUPLICATE: ("duplicate", "seq is not above the last one of its venue and symbol"),
}
"""Verdict to reason and remedy, as dead letters carry them."""

SYMBOL = np.dtype([("last_seq", np.int64), ("seen", np.int64)])
SHARED = np.dtype([("ts_order", np.int64)])


@numba.njit(cache=True, inline="always")
def _beyond(later, earlier, most):
    """Whether `later` is more than `most` after `earlier`; their distance may need 64 bits and no sign."""
    return later > earlier and np.uint64(later) - np.uint64(earlier) > np.uint64(most)


@numba.njit(cache=True)
def _sane(number):
    """Whether a number that may be absent (NaN) is finite and no larger than LARGEST."""
    return not abs(number) > LARGEST


@numba.njit(cache=True, inline="always")
def _early(ts_event, stamp, most):
    """Whether event time is more than `most` after the record was written; the stamp is cut to a whole second."""
    return stamp != UNSTAMPED and _beyond(ts_event // NS, stamp + 1, most // NS)


@numba.njit(cache=True)
def _rules(verdict, named, prices, sizes, last, seq, ts_event, ts_recv, stamp, max_ahead):
    """The rules that need nothing but the tick itself and when its record was written. `prices`, `sizes` and `last` are
    two columns each.
    """
    for row in range(verdict.shape[0]):
        if verdict[row] != ACCEPTED:
            continue
        finite = positive_price = positive_size = True
        in_range = _sane(last[0][row]) and _sane(last[1][row])
        for k in range(2):
            finite = finite and np.isfinite(prices[k][row]) and np.isfinite(sizes[k][row])
            positive_price = positive_price and prices[k][row] > 0
            positive_size = positive_size and sizes[k][row] > 0
            in_range = in_range and _sane(prices[k][row]) and _sane(sizes[k][row])
        if not named[row]:
            verdict[row] = 10
        elif not finite:
            verdict[row] = 11
        elif not positive_price:
            verdict[row] = 12
        elif not positive_size:
            verdict[row] = 13
        elif prices[0][row] > prices[1][row]:
            verdict[row] = 14
        elif not in_range:
            verdict[row] = 17
        elif seq[row] < 0 or seq[row] > LAST_SEQ:
            verdict[row] = 18
        elif _beyond(ts_event[row], ts_recv[row], max_ahead) or _early(ts_event[row], stamp[row], max_ahead):
            verdict[row] = 15


@numba.njit(cache=True)
def _legal(pool, start, length, longest, banned, out):
    for row in range(out.shape[0]):
        out[row] = 0 < length[row] <= longest
        if out[row]:
            for k in range(length[row]):
                byte = pool[start[row] + k]
                out[row] = out[row] and byte != 0 and byte != banned


def _named(text: codec.Text, longest: int, banned: int) -> NDArray[np.bool_]:
    """Which rows have a name that can be a key."""
    out = np.empty(len(text.start), np.bool_)
    _legal(text.pool, text.start, text.length, longest, banned, out)
    return out


@numba.njit(cache=True)
def _sequence(symbols, shared, slot, seq, ts_event, bid, ask, flags, max_behind, verdict, ts_order, out_flags):
    """The rules that need the ticks before: duplicates, gaps, time against the partition; and the order time."""
    room = symbols.shape[0] // shared.shape[0]
    for row in range(verdict.shape[0]):
        s, part = symbols[slot[row]], shared[slot[row] // room]
        if s.seen > 0 and seq[row] <= s.last_seq:
            verdict[row] = DUPLICATE
            continue
        if _beyond(part.ts_order, ts_event[row], max_behind):
            verdict[row] = 16
            continue
        bits = flags[row] & (RECEIVE_TIME | GAP)
        if bid[row] == ask[row]:
            bits |= LOCKED
        if s.seen > 0 and seq[row] > s.last_seq + 1:
            bits |= GAP
        out_flags[row] = bits
        s.last_seq = seq[row]
        s.seen += 1
        part.ts_order = max(part.ts_order, ts_event[row])
        ts_order[row] = part.ts_order


@numba.njit(cache=True)
def _fresh(symbols, slot, seq, keep):
    """Which rows are not repeats; for the topics between jobs, where a restart may write a row again."""
    for row in range(slot.shape[0]):
        s = symbols[slot[row]]
        keep[row] = s.seen == 0 or seq[row] > s.last_seq
        if keep[row]:
            s.last_seq = seq[row]
            s.seen += 1


def take(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    """The same columns for some rows."""
    return {name: c.take(rows) if isinstance(c, codec.Text) else c[rows] for name, c in columns.items()}


@dataclass(frozen=True)
class Admission:
    """Judges decoded ticks. Well-formed rows go on to `sequence`, which needs their slots."""

    profile: Profile

    def rules(self, columns: Columns, verdict: NDArray[np.uint8]) -> None:
        """Judge each tick by itself, in place."""
        named = _named(columns["venue"], LONGEST, b":"[0]) & _named(columns["symbol"], LONGEST, 0)
        _rules(verdict, named, (columns["bid"], columns["ask"]), (columns["bid_size"], columns["ask_size"]),
               (columns["last_price"], columns["last_size"]), columns["seq"], columns["ts_event"], columns["ts_recv"],
               columns["stamp"], int(self.profile.admission.max_ahead_s * NS))

    def sequence(self, state: StageState, columns: Columns) -> tuple[Columns, NDArray[np.uint8]]:
        """Columns with order time and flags, and a verdict for each row."""
        rows = len(columns["slot"])
        verdict = np.zeros(rows, np.uint8)
        ts_order, flags = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        _sequence(state.symbols, state.shared, columns["slot"], columns["seq"], columns["ts_event"], columns["bid"],
                  columns["ask"], columns["flags"], int(self.profile.admission.max_behind_s * NS), verdict, ts_order,
                  flags)
        return columns | {"ts_order": ts_order, "flags": flags}, verdict


def fresh(state: StageState, columns: Columns) -> NDArray[np.bool_]:
    """Which rows of an inner topic are seen for the first time."""
    keep = np.empty(len(columns["slot"]), np.bool_)
    _fresh(state.symbols, columns["slot"], columns["seq"], keep)
    return keep


def _nothing(state: StageState, columns: Columns) -> Columns:
    return columns


def stage(profile: Profile) -> Stage:
    """The state of admission as a stage; the shard operator calls `Admission` or `fresh` on it before all others."""
    return Stage("admission", _nothing, SYMBOL, SHARED)
