"""The results process, `python -m connectors.results`: from Kafka to QuestDB, Prometheus and Redis.

It reads what the chain has committed (equity, fills, decisions, intents, dead letters) and
- writes equity, positions and fills to QuestDB. Offsets are committed after QuestDB has acknowledged the rows, and a
  row written twice is one row, so a crash at any point loses nothing and doubles nothing;
- serves Prometheus metrics (`metrics.py`);
- keeps the latest account snapshot in Redis (`snapshot.py`).

When QuestDB is away it goes on reading, with metrics and snapshot alive, until MAX_PENDING rows wait; then it stops
reading, and Kafka keeps the rest. Rows are decoded one by one with fastavro: numba would hold 150 MB more for a
process that sees a few hundred rows a second.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

import schemas
from connectors import broker, questdb
from connectors.consume import Decoder
from connectors.host_metrics import HostExporter
from connectors.market_watch import MarketExporter, Watch
from connectors.metrics import Exporter, Totals, serve
from connectors.offsets import Rates, end_offsets
from connectors.questdb import QuestDB, QuestDBError
from connectors.registry import Registry, RegistryError, later
from connectors.snapshot import LAST_INSTRUMENTS, Publisher, Recent
from schemas.codec import NULL_LONG, Columns
from schemas.codec import Decoder as ColumnDecoder
from sigmaflow.errors import UserError
from sigmaflow.settings import Settings, load

log = logging.getLogger("results")

STAGE = "results"
GROUP = "sigmaflow-results"
#: Rows of one request to QuestDB: a few MB of line protocol.
BATCH_ROWS = 10_000
#: Rows kept while QuestDB is away, about 1 KB each: beyond that Kafka keeps them.
MAX_PENDING = 100_000
#: Longest time a row waits for its batch to fill. Unit: s.
FLUSH_S = 0.5
SNAPSHOT_S = 0.5
RATES_S = 1.0
BACKOFF_S = (0.5, 5.0)
READ_MESSAGES = 2_000
DECISIONS_S = 1.0
"""How often the last decisions are decoded whole and published."""
COUNTED = ("account", "venue", "symbol", "partition", "offset", "intent_id", "order_id", "failed_gate", "gates")
"""Fields of a decision that are read here."""


@dataclass(frozen=True)
class Topics:
    """The topics read, by what they carry."""

    equity: str = "equity.v1"
    fills: str = "fills.v1"
    decisions: str = "decisions.v1"
    intents: str = "intents.v1"
    rejected: str = "market.ticks.v1.dlq"

    def names(self) -> list[str]:
        """Return all of them."""
        return [self.equity, self.fills, self.decisions, self.intents, self.rejected]


@dataclass
class Batch:
    """Rows that wait for QuestDB, and the offsets to commit once they are there."""

    lines: list[str] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    since: float = 0.0

    def moved(self, topic: str, partition: int, next_offset: int, now: float) -> None:
        """Note that everything before `next_offset` is in this batch or needs no row."""
        if not self.offsets:
            self.since = now
        self.offsets[topic, partition] = next_offset

    def commits(self) -> list[TopicPartition]:
        """Return the offsets in the client's form."""
        return [TopicPartition(topic, partition, offset) for (topic, partition), offset in self.offsets.items()]


@cache
def gate_names() -> list[str]:
    """Names of the gates by their number in a decision.

    >>> gate_names()[:2]
    ['warm', 'entry']
    """
    gates = next(f for f in schemas.load("decision")["fields"] if f["name"] == "gates")["type"]["items"]
    names: list[str] = next(f for f in gates["fields"] if f["name"] == "gate")["type"]["symbols"]
    return names


class Backoff:
    """When to try again: at once, then after 0.5 s, doubling up to 5 s.

    >>> wait = Backoff((1.0, 4.0))
    >>> [wait.failed(0.0) for _ in range(4)]
    [1.0, 2.0, 4.0, 4.0]
    >>> wait.ready(3.9), wait.ready(4.0)
    (False, True)
    """

    def __init__(self, limits: tuple[float, float] = BACKOFF_S) -> None:
        self._low, self._high = limits
        self.worked()

    def worked(self) -> None:
        """Start over."""
        self._delay, self._until = self._low, 0.0

    def failed(self, now: float) -> float:
        """Note a failure and return the wait it costs. Unit: s."""
        delay = self._delay
        self._until, self._delay = now + delay, min(self._high, 2 * delay)
        return delay

    def ready(self, now: float) -> bool:
        """Whether the next attempt is due."""
        return now >= self._until


class Results:
    """The process: `run` until `stop` is set."""

    def __init__(
        self, settings: Settings, topics: Topics | None = None, group: str = GROUP, sink: QuestDB | None = None
    ) -> None:
        self.totals = Totals()
        self.stop = threading.Event()
        self._settings = settings
        self._topics = topics or Topics()
        self._sink = sink or QuestDB(settings.questdb.http_url)
        self._decoder = Decoder(Registry(settings.registry.url))
        self._counted: ColumnDecoder | None = None
        self._publisher = Publisher(settings.redis.url, self.totals)
        self._recent: dict[str, Recent] = {}
        self._published: dict[str, dict[str, list[bytes]]] = {}
        self._rates = Rates()
        self._batch = Batch()
        self._backoff = Backoff()
        self._paused = False
        self._next_snapshot = self._next_decisions = 0.0
        self._takers: dict[str, Callable[[dict[str, Any], Message], None]] = {
            self._topics.equity: self._equity,
            self._topics.fills: self._fill,
            self._topics.intents: self._intent,
            self._topics.rejected: lambda row, _: self.totals.reject(row),
        }
        self._consumer = Consumer({
            "bootstrap.servers": settings.kafka.bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 32_768,
            "log_level": 0,
            "on_commit": self._committed,
        })  # fmt: skip

    def run(self) -> None:
        """Read, write, commit, until stopped; what waits is written before it returns, if QuestDB takes it."""
        self._assign()
        watcher = threading.Thread(target=self._watch, name="offsets", daemon=True)
        watcher.start()
        try:
            while not self.stop.is_set():
                self.turn()
            self.flush(time.monotonic())
        finally:
            self.stop.set()
            self._consumer.close()
            watcher.join(5.0)

    def _assign(self) -> None:
        """Take every partition from where the group stands.

        Assigned, not subscribed: there is one results process, and after a kill -9 a subscription would wait for the
        dead member's session to expire (45 s). Two by mistake would write the same rows twice, which changes nothing.
        Raises UserError where the broker does not answer or a topic does not exist.
        """
        bootstrap = self._settings.kafka.bootstrap
        everything = [
            TopicPartition(topic, number)
            for topic in self._topics.names()
            for number in range(broker.partitions(self._consumer, bootstrap, topic, STAGE))
        ]
        stored = self._stored(everything)
        self.totals.read = {(at.topic, at.partition): max(0, at.offset) for at in stored}
        self._consumer.assign([
            TopicPartition(at.topic, at.partition, at.offset if at.offset >= 0 else OFFSET_BEGINNING) for at in stored
        ])  # fmt: skip

    def _stored(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the committed offsets, asked for until the broker knows.

        A broker that has just started answers "not coordinator" for a while; the client gives up on that for good
        when the offsets are left to it.
        """
        while True:
            try:
                found = self._consumer.committed(partitions, timeout=broker.TIMEOUT_S)
                if not any(at.error for at in found):
                    return list(found)
                reason = next(at.error.str() for at in found if at.error)
            except KafkaException as error:
                reason = error.args[0].str()
            self.totals.errors["kafka"] += 1
            log.warning("Kafka: committed offsets not known yet: %s", reason)
            if self.stop.wait(0.5):
                return []

    def turn(self) -> None:
        """One round: read what is there, write what is due, publish."""
        self.take(self._consumer.consume(READ_MESSAGES, timeout=0.1))
        now = time.monotonic()
        full = len(self._batch.lines) >= BATCH_ROWS
        if self._batch.offsets and self._backoff.ready(now) and (full or now - self._batch.since >= FLUSH_S):
            self.flush(now)
        self._hold_back()
        if now >= self._next_snapshot:
            self._next_snapshot = now + SNAPSHOT_S
            self._publisher.publish(self._recent, self._rates.per_second())
        if now >= self._next_decisions:
            self._next_decisions = now + DECISIONS_S
            self._publish_decisions()

    def _publish_decisions(self) -> None:
        """Publish the last decisions of every account, of each kind only where there is a new one."""
        for account, past in self._recent.items():
            now = {"newest": list(past.newest.values())[-LAST_INSTRUMENTS:], "judged": list(past.judged)}
            before = self._published.get(account, {})
            fresh = {kind: [self._read(message) for message in reversed(messages)]
                     for kind, messages in now.items() if messages != before.get(kind)}
            if fresh and self._publisher.decisions(account, fresh):
                self._published[account] = now

    def take(self, messages: Iterable[Message]) -> None:
        """Put messages into totals and batch."""
        now = time.monotonic()
        decided: list[Message] = []
        for message in messages:
            error, topic, partition = message.error(), message.topic(), message.partition()
            if error is None:
                if topic == self._topics.decisions:
                    decided.append(message)
                else:
                    self._one(message)
                self._moved(topic, partition, message.offset() + 1, now)
            elif error.code() == KafkaError._PARTITION_EOF:
                # The end of what is committed: unlike the last message's, this offset is past the commit markers.
                self._moved(topic, partition, message.offset(), now)
            else:
                self.totals.errors["kafka"] += 1
                log.warning("Kafka: %s", error.str())
        if decided:
            self._decisions(decided)
        self.totals.pending = len(self._batch.lines)

    def _decisions(self, messages: list[Message]) -> None:
        """Count decisions, one for each tick, by columns: a dictionary for each would cost a fifth of a core."""
        batch = self._verdicts().decode([message.value() for message in messages])
        columns = batch.columns
        for row, verdict in enumerate(batch.verdict.tolist()):
            if verdict:
                self.totals.undecodable[self._topics.decisions] += 1
            else:
                account = columns["account"].at(row).decode()
                self.totals.decision(account, columns["order_id"][row] != NULL_LONG,
                                     columns["failed_gate"].at(row).decode())
                self._past(account).decided((columns["venue"].at(row), columns["symbol"].at(row)),
                                            columns["intent_id"][row] != NULL_LONG, messages[row].value())
                self.totals.decided(int(columns["partition"][row]), int(columns["offset"][row]),
                                    messages[row].timestamp()[1])
        self._gates(columns)

    def _gates(self, columns: Columns) -> None:
        """Take what the gates of the last order judged saw: all of a batch would be many, and the last one counts."""
        judged = columns["gates.count"]
        if not len(judged) or judged.max() == 0:
            return
        row = len(judged) - 1 - int(judged[::-1].argmax())
        account = columns["account"].at(row).decode()
        for k in range(int(judged[row])):
            name = gate_names()[int(columns["gates.gate"][row, k])]
            self.totals.gate(account, name, float(columns["gates.value"][row, k]),
                             float(columns["gates.limit"][row, k]))

    def _verdicts(self) -> ColumnDecoder:
        """The decoder of what is counted, made at the first decision; a registry that is away is waited for."""
        subject = schemas.topics()["decisions.v1"].subject
        while self._counted is None:
            try:
                schema = schemas.load("decision")
                wanted = schema | {"fields": [f for f in schema["fields"] if f["name"] in COUNTED]}
                url = self._settings.registry.url
                self._counted = ColumnDecoder(wanted, Registry(url).versions(subject), later(url, subject))
            except (UserError, RegistryError) as error:
                self.totals.errors["registry"] += 1
                log.warning("%s", error)
                if self.stop.wait(1.0):
                    raise
        return self._counted

    def flush(self, now: float) -> bool:
        """Write the batch to QuestDB, then commit its offsets; False where it has to be tried again."""
        batch = self._batch
        try:
            for first in range(0, len(batch.lines), BATCH_ROWS):
                self._sink.write(batch.lines[first : first + BATCH_ROWS])
        except QuestDBError as error:
            self.totals.errors["questdb"] += 1
            delay = self._backoff.failed(now)
            log.warning("QuestDB: %s; %d rows wait, next attempt in %.1f s", error, len(batch.lines), delay)
            return False
        self._commit(batch)
        self.totals.rows_written += len(batch.lines)
        self.totals.pending = 0
        self._batch = Batch()
        self._backoff.worked()
        return True

    def _commit(self, batch: Batch) -> None:
        """Commit the batch's offsets. A commit that fails is made good by the next: rows read again change nothing.

        Without waiting: after a broker has hung, its client looks for the group's coordinator for minutes.
        """
        try:
            if batch.offsets:
                self._consumer.commit(offsets=batch.commits(), asynchronous=True)
        except KafkaException as error:
            self._committed(error.args[0], [])

    def _committed(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None:
            self.totals.errors["kafka"] += 1
            log.warning("Kafka: offsets not committed: %s", error.str())

    def _one(self, message: Message) -> None:
        topic = message.topic()
        try:
            self._takers[topic](self._read(message.value()), message)
        except (ValueError, KeyError) as error:
            # Nothing of ours writes such a record; stopping for one would hide every later one.
            self.totals.undecodable[topic] += 1
            log.warning("%s [%d] offset %d not readable: %s", topic, message.partition(), message.offset(), error)

    def _read(self, value: bytes | None) -> dict[str, Any]:
        """Decode a value; a registry that is away is waited for, because without it nothing can be read."""
        while True:
            try:
                return self._decoder.decode(value)
            except UserError as error:
                self.totals.errors["registry"] += 1
                log.warning("%s", error)
                if self.stop.wait(1.0):
                    raise

    def _equity(self, row: dict[str, Any], _: Message) -> None:
        self.totals.equity(row)
        self._past(row["account"]).curve.add(row["equity"])
        self._batch.lines += (questdb.EQUITY.line(row), questdb.POSITIONS.line(row))

    def _fill(self, row: dict[str, Any], message: Message) -> None:
        self.totals.fill(row, message.timestamp()[1])
        self._past(row["account"]).fill(row)
        self._batch.lines.append(questdb.FILLS.line(row))

    def _intent(self, row: dict[str, Any], _: Message) -> None:
        self.totals.intent(row)
        self._past(row["account"]).intent(row)

    def _past(self, account: str) -> Recent:
        return self._recent.setdefault(account, Recent())

    def _moved(self, topic: str, partition: int, next_offset: int, now: float) -> None:
        self._batch.moved(topic, partition, next_offset, now)
        self.totals.read[topic, partition] = next_offset

    def _hold_back(self) -> None:
        """Stop reading when too much waits, go on when it is gone."""
        hold = len(self._batch.lines) >= MAX_PENDING
        if hold != self._paused:
            (self._consumer.pause if hold else self._consumer.resume)(self._consumer.assignment())
            self._paused = hold

    def _watch(self) -> None:
        """Sample the topics' ends each second, in a thread of its own: the broker may take its time to answer.

        Asked for and not taken from what the consumer was told last: it asks no more while enough waits in its queue.
        """
        admin = AdminClient({"bootstrap.servers": self._settings.kafka.bootstrap, "log_level": 0})
        names = [*schemas.topics()]
        while not self.stop.wait(RATES_S):
            try:
                self.totals.committed = end_offsets(admin, self._topics.names(), committed=True)
                self.totals.end_offsets = end_offsets(admin, names)
                self._rates.sample(self.totals.end_offsets, time.monotonic())
            except KafkaException:
                self.totals.errors["kafka"] += 1


def main() -> None:
    """Run until TERM or INT, with metrics served."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load()
    results = Results(settings)
    watch = Watch(settings, results.totals.arrivals, results.stop)
    exporters = (Exporter(results.totals), MarketExporter(watch.market), HostExporter(settings.data_dir))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: results.stop.set())
    try:
        server = serve(exporters, settings.metrics.host, settings.metrics.port)
    except OSError as error:
        raise UserError(STAGE, f"port {settings.metrics.port} must be free for metrics", str(error),
                        "change metrics.port in docker/stack.toml") from None
    log.info("reading %s; metrics at %s", ", ".join(results._topics.names()), settings.metrics.url)
    watch.start()
    results.run()
    server.shutdown()


if __name__ == "__main__":
    from connectors.command import run

    run(main)
