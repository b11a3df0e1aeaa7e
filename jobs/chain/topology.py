"""The wiring that all jobs share: Kafka to micro-batches, micro-batches to an operator, emissions to Kafka.

One source table reads raw bytes, so that a poison record is a verdict and not a crash loop. The JVM groups what arrives
for a partition within `batch_ms`. Emissions leave through two sinks: at-least-once for hot topics, exactly-once for the
ledger's. Flink options live in flink-conf/, here only those that follow from what these operators are.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment
from pyflink.util.java_utils import get_j_env_configuration

import schemas
from jobs.chain import jvm, plans
from jobs.chain.account import AccountPlan, AccountWorker
from jobs.chain.chained import Chained
from jobs.chain.commands import group
from jobs.chain.contracts import Contracts, lookup
from jobs.chain.edges import BrokerEdges, SmallLog
from jobs.chain.messages import (
    COMMANDS,
    EXACTLY_ONCE,
    FRONTIERS,
    HOT,
    INDICATORS,
    LEDGER,
    NEXT,
    RULINGS,
    RecordReader,
    RecordWriter,
)
from jobs.chain.microbatch import BATCH, OUTPUT, Make, MicroBatchOperator, spread_keys
from jobs.chain.options import Options
from jobs.chain.packing import BATCHES, CHECKPOINT, OPEN
from jobs.chain.shard import DEAD, TICKS, ShardPlan, ShardWorker
from jobs.chain.total_order import QUIET, Edges
from udfs.profiles import Profile
from udfs.stage import Store

KEYED = Types.ROW([Types.INT(), BATCH])

MOST = 2_048
"""Messages of one micro-batch at most: half a megabyte of rows for the account. With 4,096 shards and account wait for
each other's network buffers, with 1,024 calls of Python cost a tenth more.
"""

TOGETHER = 262_144
"""Bytes of micro-batches that an operator is called with together at most, for the same reason: 2,000 ticks."""

ALONE = 786_432
"""The same where no exchange follows: some 2,000 messages of any topic. In calls of 600 Python takes a fifth more."""

FETCH_BYTES = 65_536
"""Most that one partition gives at a time, some 1,600 ticks: so much may still come of one that is paused (READ_AHEAD).
At the default of 1 MB it would be 25,000.
"""

FETCH_LEAST = 32_768
"""Bytes for which the broker answers a fetch at once. With 1 it answers every few ticks, hundreds of times a second."""

FETCH_WAIT_MS = 12
"""How long the broker waits for so much at most: all of a short micro-batch, since a timer here takes 1 to 2 ms more.
A consumer has one fetch under way for partitions of which it holds nothing: at the default of 500 ms the others stood
still that long once one was read to its end. At 12 ms a partition can still give 130,000 ticks a second.
"""

BUNDLE_MS = 60_000
"""Time between two wakings of a Python operator. The cluster's 2 ms, for Pandas UDFs, are 500 of them a second."""

RETRY_MS = 10
"""First wait of a producer that asks the broker again, longer each time. A new producer id costs one, in the account's
thread, at the start and at the first checkpoint: at the default of 100 ms nothing leaves for that long.
"""

READ_AHEAD = 10_000
"""Messages of a partition that may be later than what the slowest one has given: they wait in the account's state,
224 bytes each. Fewer would pause the others of a market in which one has few ticks.
"""


@dataclass
class Topology:
    """A job under construction. `tables` and the two sinks belong to one Flink job."""

    name: str
    options: Options
    contracts: Contracts
    streams: StreamExecutionEnvironment
    tables: StreamTableEnvironment
    _outputs: dict[str, tuple[DataStream, tuple[str, ...]]] = field(default_factory=dict)
    """By title what each operator gives, and the topics that it writes."""
    _topics: tuple[str, ...] = field(default_factory=lambda: tuple(schemas.topics()))

    def source(self, *topics: str, keys: Sequence[int] = (0,)) -> DataStream:
        """Micro-batches of these topics, one partition each, keyed by the `keys` of the partitions.

        One key is that of all partitions.
        """
        o, title = self.options, _title(topics)
        numbers = [self._topics.index(topic) for topic in topics]
        fetch_ms = min(FETCH_WAIT_MS, o.batch_ms)
        names = [o.source(topic) for topic in topics]
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE `{title}` (
                v BYTES, topic STRING NOT NULL METADATA VIRTUAL, shard INT NOT NULL METADATA FROM 'partition' VIRTUAL,
                `offset` BIGINT NOT NULL METADATA VIRTUAL, `timestamp` TIMESTAMP_LTZ(3) NOT NULL METADATA VIRTUAL
            ) WITH (
                'connector' = 'kafka', 'topic' = '{";".join(names)}', 'value.format' = 'raw',
                'properties.bootstrap.servers' = '{o.bootstrap}', 'properties.group.id' = '{o.topic(self.name)}',
                'properties.max.poll.records' = '{MOST}', 'properties.fetch.min.bytes' = '{FETCH_LEAST}',
                'properties.isolation.level' = 'read_committed',
                'properties.max.partition.fetch.bytes' = '{FETCH_BYTES}',
                'properties.fetch.max.wait.ms' = '{fetch_ms}',
                'scan.startup.mode' = 'earliest-offset')""")
        rows = jvm.rows_of(self.tables, f"SELECT v, topic, shard, `offset`, `timestamp` FROM `{title}`")
        rows = self._read(rows, topics, title)
        return jvm.run("MicroBatches", rows, KEYED, f"micro-batches of {title}",
                       [o.batch_ms - fetch_ms, MOST, " ".join(names), " ".join(map(str, numbers)),
                        " ".join(map(str, keys)), BATCHES, CHECKPOINT])

    def _read(self, rows: DataStream, topics: Sequence[str], title: str) -> DataStream:
        """The same rows, partitions in step where there are several with times, and committed when checkpoints are."""
        times = [self.contracts.before(topic, "ts_event") for topic in topics if schemas.topics()[topic].partitions > 1]
        known = " ".join(f"{number}={kinds}" for of_topic in times for number, kinds in of_topic.items())
        return jvm.run("Reading", rows, None, f"reading of {title}",
                       [READ_AHEAD, known, int(self.options.profile.admission.max_ahead_s)])

    def shards(self, plan: ShardPlan) -> DataStream:
        """Run a shard plan over its topic; what its workers give."""
        keys = spread_keys(self.options.shards)
        make = partial(_shard_worker, plan, self._edges(plan.profile) if plan.learns else None)
        names = [stage.name for stage in plan.stages]
        writes = [*plan.topics, *([DEAD] if plan.dead_letters else [])]
        return self._operate(self.source(plan.source, keys=keys), make, keys, ", ".join(["admit", *names]), writes,
                             together=TOGETHER if plan.forward else ALONE)

    def account(self, inputs: Sequence[DataStream], plan: AccountPlan, group: str | None = None) -> None:
        """Run an account plan over rows of shards and dead letters, or over proposals."""
        make = partial(_account_worker, plan, self._edges(plan.profile, plan.writes) if plan.ordered else None)
        title = ", ".join([*(["order"] if plan.ordered else []), *(stage.name for stage in plan.stages)])
        whole = inputs[0].union(*inputs[1:]) if len(inputs) > 1 else inputs[0]
        beat_ms = max(1, self.options.idle_ms // QUIET) if plan.ordered else 0
        self._operate(whole, make, (0,), title, plan.writes, beat_ms, parallelism=1, group=group)

    def _edges(self, profile: Profile, writes: Sequence[str] = ()) -> Edges:
        o, c = self.options, self.contracts
        written = tuple((o.topic(topic), RecordReader(c.writers(topic))) for topic in writes)
        return BrokerEdges(o.bootstrap, o.source(TICKS), self._small_log(FRONTIERS, profile, _one_chain),
                           self._small_log(RULINGS, profile, group), o.topic(COMMANDS),
                           RecordReader(c.writers(COMMANDS)), o.topic(INDICATORS), RecordReader(c.writers(INDICATORS)),
                           written)

    def _small_log(self, topic: str, profile: Profile, scope: Callable[[Mapping[str, Any]], object]) -> SmallLog:
        o, c = self.options, self.contracts
        recorded = (o.source(topic),) if o.source(topic) != o.topic(topic) else ()
        return SmallLog(o.bootstrap, o.topic(topic), recorded, profile.fills.account,
                        Chained(RecordWriter(topic, c.id(topic)), scope), RecordReader(c.writers(topic)))

    def next(self, stream: DataStream) -> DataStream:
        """What an operator gives for the account's, keyed for it."""
        return jvm.run("Rows", stream, KEYED, "rows for the account", [NEXT, BATCHES, CHECKPOINT])

    def write(self) -> None:
        """Send every operator's messages to Kafka and build the job."""
        statements = self.tables.create_statement_set()
        for sink, title, guarantee in ((HOT, "hot topics", "at-least-once"), (LEDGER, "ledger topics", "exactly-once")):
            held = [self.options.topic(topic) for _, every in self._outputs.values() for topic in _of_sink(sink, every)]
            if held:
                # The connector takes the topic from a column only where there are several to choose from.
                named = len(held) > 1
                self._sink(title, held, guarantee, ", topic STRING NOT NULL METADATA" if named else "")
                statements.add_insert_sql(f"INSERT INTO `{title}` {self._messages(sink, named)}")
        statements.attach_as_datastream()

    def _messages(self, sink: int, named: bool) -> str:
        """The messages for a sink, as a query: of one operator, where one writes there, since a union costs a hop.

        With their topics if `named`.
        """
        names = " ".join(self.options.topic(topic) for topic in self._topics)
        views = []
        for title, (stream, topics) in self._outputs.items():
            if _of_sink(sink, topics):
                view = f"messages of {title} for sink {sink}"
                jvm.view(self.tables, view, jvm.messages(stream, sink, named, names, view))
                views.append(f"SELECT * FROM `{view}`")
        return " UNION ALL ".join(views)

    def _operate(self, batches: DataStream, make: Make, keys: Sequence[int], title: str, writes: Sequence[str],
                 beat_ms: int = 0, parallelism: int | None = None, group: str | None = None,
                 together: int = ALONE) -> DataStream:
        """Run workers over keyed micro-batches.

        The operator is keyed as `key_by` does it, without the Python operator of `key_by`: there every message would
        enter and leave the interpreter once more. A keyed Python operator takes rows of key and value. What gathers
        micro-batches stands between the exchange and it, in its thread: each key stays where the exchange brought it.
        """
        java = get_gateway().jvm
        selector, kind = java.KeyByKeySelector(), Types.ROW([Types.INT()]).get_java_type_info()
        spread = DataStream(batches._j_data_stream.keyBy(selector, kind))
        gathered = jvm.run("Gather", spread, KEYED, f"{title}: gather", [BATCHES, OPEN, together],
                           parallelism or self.streams.get_parallelism(), group)
        keyed = java.org.apache.flink.streaming.api.datastream.DataStreamUtils.reinterpretAsKeyedStream(
            gathered._j_data_stream, selector, kind)
        operator = MicroBatchOperator(make, keys, self._topics, beat_ms)
        out = KeyedStream(keyed, BATCH, gathered).process(operator, output_type=OUTPUT).name(title).uid(title)
        if parallelism:
            out = out.set_parallelism(parallelism)
        if group:
            out = out.slot_sharing_group(group)
        self._outputs[title] = out, tuple(writes)
        return out

    def _sink(self, title: str, topics: Sequence[str], guarantee: str, column: str) -> None:
        o = self.options
        exactly = f""", 'sink.transactional-id-prefix' = '{o.topic(self.name)}',
            'sink.transaction-naming-strategy' = 'POOLING',
            'properties.transaction.timeout.ms' = '{o.transaction_s * 1_000}'"""
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE `{title}` (k BYTES, v BYTES{column}) WITH (
                'connector' = 'kafka', 'topic' = '{";".join(topics)}', 'key.format' = 'raw', 'key.fields' = 'k',
                'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
                'properties.bootstrap.servers' = '{o.bootstrap}', 'properties.compression.type' = 'lz4',
                'properties.linger.ms' = '{max(1, o.batch_ms // 5)}',
                'properties.batch.size' = '262144', 'properties.acks' = 'all',
                'properties.max.request.size' = '4194304',
                'properties.retry.backoff.ms' = '{RETRY_MS}',
                'sink.delivery-guarantee' = '{guarantee}'{exactly if guarantee == "exactly-once" else ""})""")


def _one_chain(record: Mapping[str, Any]) -> None:
    """Scope of frontiers: one worker writes all of an account."""


def _of_sink(sink: int, topics: Sequence[str]) -> list[str]:
    return [topic for topic in topics if (topic in EXACTLY_ONCE) == (sink == LEDGER)]


def _title(topics: Sequence[str]) -> str:
    return ", ".join(topics)


def _shard_worker(plan: ShardPlan, edges: Edges | None, held: ShardWorker | None, shard: int, store: Store
                  ) -> ShardWorker:
    worker = held or ShardWorker(plan, edges)
    worker.open(shard, store)
    return worker


def _account_worker(plan: AccountPlan, edges: Edges | None, held: None, key: int, store: Store) -> AccountWorker:
    return AccountWorker(plan, store, edges)


def start(job: str, options: Options) -> Topology:
    """A topology for a job, with the contracts of the topics it reads and writes."""
    contracts = lookup(options.registry, plans.topics(job))
    return Topology(job, options, contracts, *environment(StreamExecutionEnvironment.get_execution_environment()))


def environment(streams: StreamExecutionEnvironment) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """It with its tables."""
    # State is written when the word before a barrier comes (jobs/chain/microbatch.py), so none may overtake it.
    streams.get_checkpoint_config().disable_unaligned_checkpoints()
    # Each source would wake up this often for watermarks, which nothing here reads.
    streams.get_config().set_auto_watermark_interval(0)
    # And each Python operator for the end of a bundle, of which there are none in thread mode.
    options = get_j_env_configuration(streams._j_stream_execution_environment)
    if options.getString("python.execution-mode", "") == "thread":
        options.setString("python.fn-execution.bundle.time", str(BUNDLE_MS))
    tables = StreamTableEnvironment.create(streams)
    # Order: two writers of one partition would mix the account's messages, so what surrounds the Python operators runs
    # once; they take the job's parallelism. No choice of a deployment, hence not in flink-conf.
    tables.get_config().set("table.exec.resource.default-parallelism", "1")
    return streams, tables


def build(job: str, options: Options) -> Topology:
    """A job by its name, without running it."""
    builders = {"pipeline": account_job, "sizing": account_job, "fills": ledger_job}
    return builders.get(job, keyed_job)(job, options)


def keyed_job(job: str, options: Options) -> Topology:
    """features, alphas, ensemble or risk: one stage keyed by venue and symbol, from its topic to its topic."""
    t = start(job, options)
    plan = plans.shard(job, options.profile, t.contracts, options.shards, models=options.models)
    t.shards(plan)
    t.write()
    return t


def account_job(job: str, options: Options) -> Topology:
    """pipeline and sizing: shards, then the account, with no Kafka between the two."""
    return with_account(start(job, options))


def with_account(t: Topology) -> Topology:
    """The same on a topology that has its own edges."""
    job, options = t.name, t.options
    shard = plans.shard(job, options.profile, t.contracts, options.shards, options.taps, options.models)
    account = plans.account(job, options.profile, t.contracts, options.shards, options.taps)
    inputs = [t.next(t.shards(shard)), *([t.source(DEAD)] if account.refused else [])]
    # In a slot of its own the account gets another TaskManager, and so another interpreter than the shards.
    t.account(inputs, account, "account" if job == "pipeline" else None)
    t.write()
    return t


def ledger_job(job: str, options: Options) -> Topology:
    """fills: the account alone, from what sizing made of every opportunity."""
    t = start(job, options)
    account = plans.account(job, options.profile, t.contracts, options.shards)
    t.account([t.source(*plans.READS[job])], account)
    t.write()
    return t
