"""frontiers.v1: which partitions were no longer waited for, and from which order time on.

A tick's order time is the latest event time of its partition so far, or that of a frontier which it lies behind: so
every decision's place in the account's order follows from the ticks and the frontiers. That every tick was waited for,
or a frontier says otherwise, is checked at the end: in between a later tick of a partition shows it.
"""
from __future__ import annotations

from sigmaflow.audit.decode import Decoder, Message
from sigmaflow.audit.findings import Findings
from sigmaflow.audit.log import FRONTIERS, Source
from sigmaflow.audit.stream import Chain, Stream, readable


def check(log: Source, decoder: Decoder, account: str, findings: Findings) -> str:
    """Hold the topic against its hash chain; the position of its last record."""
    last = f"{FRONTIERS}:0:0"
    for number in log.partitions(FRONTIERS):
        chain = Chain(not log.starts.get((FRONTIERS, number), 0), findings)
        for m in readable(decoder.messages(log, FRONTIERS, number), findings):
            chain.check(m)
            last = m.position
            if {m.key, m.row["account"].encode()} != {account.encode()}:
                findings.damaged(m, "key and account are those of the run", m.key, account.encode())
    return last


class Frontiers:
    """Those of one partition, in order. `order` is the least order time that they leave to its next tick."""

    def __init__(self, log: Source, decoder: Decoder, partition: int) -> None:
        self._stream = Stream(m for number in log.partitions(FRONTIERS)
                              for m in decoder.messages(log, FRONTIERS, number)
                              if m.row.get("partition") == partition)
        self.trimmed = any(log.starts.get((FRONTIERS, number), 0) for number in log.partitions(FRONTIERS))
        self.order = -1

    def reach(self, offset: int) -> int:
        """Least order time of a tick at an offset; offsets do not fall."""
        head = self._stream.peek()
        while head is not None and head.row["offset"] <= offset:
            self._pass(self._stream.next())
            head = self._stream.peek()
        return self.order

    def _pass(self, m: Message) -> None:
        self.order = max(self.order, m.row["ts_order"])
