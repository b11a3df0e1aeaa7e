"""Which inputs may be accepted: the rules of dead letters, judged once more from the bytes and the log alone.

The two rules of time need the settings, and that of versions the rulings: they are held in `inputs`.
"""
from __future__ import annotations

import math

from sigmaflow.audit.decode import Message, Row

DETAILS = {
    "bad_magic": "first byte is not 0: write in the Confluent wire format",
    "unknown_schema": "schema id is not registered for this topic: register it, then replay",
    "truncated": "bytes end before the record does, or a value is out of its type's range",
    "trailing_bytes": "bytes go on after the record: writer and schema id do not match",
    "bad_text": "a string is not UTF-8",
    "null_value": "the record has no value",
    "unresolved": "a newer writer's value has no place in this job's schema (enum symbol, range or null): "
                  "restart the job with the newer code, then replay",
    "bad_symbol": "venue or symbol is empty, longer than 64 bytes, or has a zero byte or a colon in the venue",
    "not_finite": "a price or size is NaN or infinite",
    "not_positive_price": "bid or ask is zero or negative",
    "not_positive_size": "a size is zero or negative",
    "crossed": "bid is above ask",
    "out_of_range": "a price or size is above 1e15: sums and products of such numbers are not finite",
    "seq_range": "seq is negative or above 2^53: it would make every later tick of the symbol a duplicate",
    "time_ahead": "event time is further ahead of receive time or of the record's Kafka timestamp than "
                  "admission.max_ahead_s",
    "time_behind": "event time is further behind its partition than admission.max_behind_s",
    "duplicate": "seq is not above the last one of its venue and symbol",
}
"""Every reason, and the text that a dead letter has for it."""

STAGE = "admission"
DUPLICATE, BAD_SYMBOL = "duplicate", "bad_symbol"
LONGEST = 64
"""Bytes that a venue's or symbol's name may have."""

BODY = frozenset({"truncated", "trailing_bytes", "bad_text"})
"""Which of these a broken body shows first depends on how it is read."""

UNRESOLVED = "unresolved"
"""This depends on the code that read the record."""

LARGEST, LAST_SEQ = 1e15, 1 << 53

RECEIVE_TIME, LOCKED, GAP = 1, 2, 4
"""Bits of flags."""


def by_itself(tick: Message) -> str:
    """Reason for which a tick is rejected whatever came before it; empty where there is none."""
    if tick.fault:
        return tick.fault
    row = tick.row
    prices, sizes = (row["bid"], row["ask"]), (row["bid_size"], row["ask_size"])
    rules = (("truncated", -2**31 <= row["flags"] < 2**31),
             ("bad_symbol", _named(row["venue"], ":") and _named(row["symbol"], "\0")),
             ("not_finite", all(map(math.isfinite, prices + sizes))), ("not_positive_price", min(prices) > 0),
             ("not_positive_size", min(sizes) > 0), ("crossed", row["bid"] <= row["ask"]),
             ("out_of_range", not any(abs(n or 0.0) > LARGEST
                                      for n in (*prices, *sizes, row["last_price"], row["last_size"]))),
             ("seq_range", 0 <= row["seq"] <= LAST_SEQ))
    return next((reason for reason, holds in rules if not holds), "")


def _named(name: str, banned: str) -> bool:
    return 0 < len(name.encode()) <= LONGEST and "\0" not in name and banned not in name


def explains(reason: str, tick: Message, last_seq: int | None) -> bool:
    """Whether an input may have been rejected for this reason, which is none of a version or of time.

    `last_seq` is the last accepted of its instrument.
    """
    if reason == UNRESOLVED:
        return True
    found = by_itself(tick)
    if found:
        return reason == found or {reason, found} <= BODY
    return reason == DUPLICATE and last_seq is not None and bool(tick.row["seq"] <= last_seq)


def flags(row: Row, last_seq: int | None) -> int:
    """Qualities of an accepted tick."""
    gap = last_seq is not None and row["seq"] > last_seq + 1
    return int(row["flags"]) & (RECEIVE_TIME | GAP) | (LOCKED if row["bid"] == row["ask"] else 0) | (GAP if gap else 0)
