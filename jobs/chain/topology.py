"""The wiring that all jobs share: Kafka to micro-batches, micro-batches to an operator, emissions to Kafka.

One source table reads raw bytes, so that a poison record is a verdict and not a crash loop. The JVM groups what arrives
for a partition within `batch_ms`. Emissions leave through two sinks: at-least-once for hot topics, exactly-once for the
ledger's. Flink options live in flink-conf/, nowhere here.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from pyflink.common import Types
from pyflink.datastream import KeyedStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table

from jobs.chain import plans
from jobs.chain.account import AccountPlan, AccountWorker
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
    ROWS,
    RULINGS,
    RecordReader,
    RecordWriter,
)
from jobs.chain.microbatch import OUTPUT, MicroBatchOperator, spread_keys
from jobs.chain.options import Options
from jobs.chain.shard import DEAD, TICKS, ShardPlan, ShardWorker
from jobs.chain.total_order import QUIET
from udfs.profiles import Profile
from udfs.stage import Store

BATCH = Types.ROW([Types.STRING(), Types.INT(), Types.OBJECT_ARRAY(Types.PRIMITIVE_ARRAY(Types.BYTE())),
                   Types.OBJECT_ARRAY(Types.LONG()), Types.OBJECT_ARRAY(Types.LONG())])
"""source, shard, messages, offsets, stamps: what a worker's MicroBatch is made of."""

KEYED = Types.ROW([Types.INT(), BATCH])

NO_STAMPS = "ARRAY[CAST(-1 AS BIGINT)]"

FETCH_BYTES = 65_536
"""Most that one partition gives at a time. At the default of 1 MB one partition runs 25,000 ticks ahead of the others
in a fast replay, and all of them wait in the account's state: 50 MB in every checkpoint.
"""


@dataclass
class Topology:
    """A job under construction. `tables` and the two sinks belong to one Flink job."""

    name: str
    options: Options
    contracts: Contracts
    streams: StreamExecutionEnvironment
    tables: StreamTableEnvironment
    _outputs: list[str] = field(default_factory=list)

    def source(self, *topics: str) -> str:
        """A view of micro-batches (source, shard, messages, offsets, stamps) of these topics, one partition each."""
        o = self.options
        names = ";".join(o.source(topic) for topic in topics)
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE `{_title(topics)}` (
                v BYTES, topic STRING METADATA VIRTUAL, shard INT METADATA FROM 'partition' VIRTUAL,
                `offset` BIGINT METADATA VIRTUAL, `timestamp` TIMESTAMP_LTZ(3) METADATA VIRTUAL, arrived AS PROCTIME()
            ) WITH (
                'connector' = 'kafka', 'topic' = '{names}', 'value.format' = 'raw',
                'properties.bootstrap.servers' = '{o.bootstrap}', 'properties.group.id' = '{o.topic(self.name)}',
                'properties.fetch.min.bytes' = '1', 'properties.isolation.level' = 'read_committed',
                'properties.max.partition.fetch.bytes' = '{FETCH_BYTES}',
                'scan.startup.mode' = 'earliest-offset')""")
        prefix = len(o.source(topics[0])) - len(topics[0]) + 1
        stamps = "ARRAY_AGG(EXTRACT(EPOCH FROM `timestamp`))" if TICKS in topics else NO_STAMPS
        view = f"micro-batches of {_title(topics)}"
        self.tables.create_temporary_view(f"`{view}`", self.tables.sql_query(f"""
            SELECT SUBSTRING(topic, {prefix}) AS source, shard, ARRAY_AGG(v) AS messages,
                ARRAY_AGG(`offset`) AS offsets, {stamps} AS stamps
            FROM TABLE(TUMBLE(TABLE `{_title(topics)}`, DESCRIPTOR(arrived), INTERVAL '{o.batch_ms / 1000}' SECOND))
            GROUP BY topic, shard, window_start, window_end"""))
        return view

    def shards(self, view: str, plan: ShardPlan) -> str:
        """Run a shard plan over micro-batches; a view of its emissions."""
        keys = " ".join(f"WHEN {n} THEN {key}" for n, key in enumerate(spread_keys(self.options.shards)))
        keyed = self._keyed(self.tables.from_path(f"`{view}`"), f"CASE shard {keys} ELSE -1 END")
        make = partial(_shard_worker, plan, self._edges(plan.profile) if plan.learns else None)
        names = [stage.name for stage in plan.stages]
        return self._operate(keyed, MicroBatchOperator(make), f"admit, {', '.join(names)}" if names else "admit")

    def account(self, views: Sequence[Table], plan: AccountPlan, group: str | None = None) -> str:
        """Run an account plan over rows of shards and dead letters, or over proposals; a view of its emissions."""
        whole = views[0]
        for view in views[1:]:
            whole = whole.union_all(view)
        keyed = self._keyed(whole, "0")
        make = partial(_account_worker, plan, self._edges(plan.profile, plan.writes) if plan.ordered else None)
        operator = MicroBatchOperator(make, max(1, self.options.idle_ms // QUIET) if plan.ordered else 0)
        title = ", ".join([*(["order"] if plan.ordered else []), *(stage.name for stage in plan.stages)])
        return self._operate(keyed, operator, title, parallelism=1, group=group)

    def _edges(self, profile: Profile, writes: Sequence[str] = ()) -> BrokerEdges:
        o, c = self.options, self.contracts
        written = tuple((o.topic(topic), RecordReader(c.writers(topic))) for topic in writes)
        return BrokerEdges(o.bootstrap, o.source(TICKS), self._small_log(FRONTIERS, profile),
                           self._small_log(RULINGS, profile), o.topic(COMMANDS), RecordReader(c.writers(COMMANDS)),
                           o.topic(INDICATORS), RecordReader(c.writers(INDICATORS)), written)

    def _small_log(self, topic: str, profile: Profile) -> SmallLog:
        o, c = self.options, self.contracts
        recorded = (o.source(topic),) if o.source(topic) != o.topic(topic) else ()
        return SmallLog(o.bootstrap, o.topic(topic), recorded, profile.fills.account, RecordWriter(topic, c.id(topic)),
                        RecordReader(c.writers(topic)))

    def next(self, view: str) -> Table:
        """The emissions of a view that are rows for the next operator, as its micro-batches."""
        return self.tables.sql_query(f"""
            SELECT '{ROWS}' AS source, shard, ARRAY[payload] AS messages, ARRAY[CAST(0 AS BIGINT)] AS offsets,
                {NO_STAMPS} AS stamps
            FROM `{view}` WHERE sink = {NEXT}""")

    def write(self, topics: Sequence[str]) -> None:
        """Send every operator's messages to Kafka and build the job."""
        statements = self.tables.create_statement_set()
        for sink, title, guarantee in ((HOT, "hot topics", "at-least-once"), (LEDGER, "ledger topics", "exactly-once")):
            held = [self.options.topic(topic) for topic in topics if (topic in EXACTLY_ONCE) == (sink == LEDGER)]
            if held:
                # The connector takes the topic from a column only where there are several to choose from.
                column = "topic, " if len(held) > 1 else ""
                self._sink(title, held, guarantee, "topic STRING METADATA, " if column else "")
                statements.add_insert_sql(f"""
                    INSERT INTO `{title}` SELECT {column}o.keys[LEAST(u.place, CARDINALITY(o.keys))], u.v FROM
                    ({self._messages(sink)}) AS o CROSS JOIN UNNEST(o.vals) WITH ORDINALITY AS u (v, place)""")
        statements.attach_as_datastream()

    def _messages(self, sink: int) -> str:
        prefix = f"'{self.options.namespace}.' || topic" if self.options.namespace else "topic"
        return " UNION ALL ".join(f"SELECT {prefix} AS topic, keys, vals FROM `{view}` WHERE sink = {sink}"
                                  for view in self._outputs)

    def _keyed(self, table: Table, key: str) -> KeyedStream:
        """Micro-batches keyed by an SQL expression.

        What `key_by` does, without its Python operator: there every message would enter and leave the interpreter once
        more (36,000 against 49,000 ticks/s). A keyed Python operator takes rows of key and value.
        """
        name = f"keyed micro-batches {len(self._outputs) + 1}"
        self.tables.create_temporary_view(f"`{name}`", table)
        rows = self.tables.to_append_stream(self.tables.sql_query(f"""
            SELECT CAST({key} AS INT) AS key, ROW(source, shard, messages, offsets, stamps) AS batch
            FROM `{name}`"""), KEYED)
        selector = get_gateway().jvm.KeyByKeySelector()
        keyed = rows._j_data_stream.keyBy(selector, Types.ROW([Types.INT()]).get_java_type_info())
        return KeyedStream(keyed, BATCH, rows)

    def _operate(self, keyed: KeyedStream, operator: MicroBatchOperator, title: str,
                 parallelism: int | None = None, group: str | None = None) -> str:
        # Two thread-mode Python operators in one task deadlock, and a key_by is one: keep this operator by itself.
        out = keyed.process(operator, output_type=OUTPUT).name(title).uid(title).disable_chaining()
        if parallelism:
            out = out.set_parallelism(parallelism)
        if group:
            out = out.slot_sharing_group(group)
        self.tables.create_temporary_view(f"`{title}`", self.tables.from_data_stream(out))
        self._outputs.append(title)
        return title

    def _sink(self, title: str, topics: Sequence[str], guarantee: str, column: str) -> None:
        o = self.options
        exactly = f""", 'sink.transactional-id-prefix' = '{o.topic(self.name)}',
            'sink.transaction-naming-strategy' = 'POOLING',
            'properties.transaction.timeout.ms' = '{o.transaction_s * 1_000}'"""
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE `{title}` ({column}k BYTES, v BYTES) WITH (
                'connector' = 'kafka', 'topic' = '{";".join(topics)}', 'key.format' = 'raw', 'key.fields' = 'k',
                'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
                'properties.bootstrap.servers' = '{o.bootstrap}', 'properties.compression.type' = 'lz4',
                'properties.linger.ms' = '{max(1, o.batch_ms // 10)}',
                'properties.batch.size' = '262144', 'properties.acks' = 'all',
                'properties.max.request.size' = '4194304',
                'sink.delivery-guarantee' = '{guarantee}'{exactly if guarantee == "exactly-once" else ""})""")


def _title(topics: Sequence[str]) -> str:
    return ", ".join(topics)


def _shard_worker(plan: ShardPlan, edges: BrokerEdges | None, key: int, store: Store) -> ShardWorker:
    return ShardWorker(plan, spread_keys(plan.shards).index(key), store, edges)


def _account_worker(plan: AccountPlan, edges: BrokerEdges | None, key: int, store: Store) -> AccountWorker:
    return AccountWorker(plan, store, edges)


def start(job: str, options: Options) -> Topology:
    """A topology for a job, with the contracts of the topics it reads and writes."""
    contracts = lookup(options.registry, plans.topics(job))
    streams = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(streams)
    # Order: two writers of one partition would mix the account's messages, so what surrounds the Python operators runs
    # once; they take the job's parallelism. No choice of a deployment, hence not in flink-conf.
    tables.get_config().set("table.exec.resource.default-parallelism", "1")
    return Topology(job, options, contracts, streams, tables)


def keyed_job(job: str, options: Options) -> Topology:
    """features, alphas, ensemble or risk: one stage keyed by venue and symbol, from its topic to its topic."""
    t = start(job, options)
    plan = plans.shard(job, options.profile, t.contracts, options.shards, models=options.models)
    t.shards(t.source(plan.source), plan)
    t.write([*plan.topics, *([DEAD] if plan.dead_letters else [])])
    return t


def account_job(job: str, options: Options) -> Topology:
    """pipeline and sizing: shards, then the account, with no Kafka between the two."""
    t = start(job, options)
    shard = plans.shard(job, options.profile, t.contracts, options.shards, options.taps, options.models)
    account = plans.account(job, options.profile, t.contracts, options.shards, options.taps)
    inputs = [t.next(t.shards(t.source(shard.source), shard))]
    if account.refused:
        inputs.append(t.tables.from_path(f"`{t.source(DEAD)}`"))
    # In a slot of its own the account gets another TaskManager, and so another interpreter than the shards.
    t.account(inputs, account, "account" if job == "pipeline" else None)
    t.write([*shard.topics, *([DEAD] if shard.dead_letters else []), *account.writes])
    return t


def ledger_job(job: str, options: Options) -> Topology:
    """fills: the account alone, from what sizing made of every opportunity."""
    t = start(job, options)
    account = plans.account(job, options.profile, t.contracts, options.shards)
    t.account([t.tables.from_path(f"`{t.source(*plans.READS[job])}`")], account)
    t.write(account.writes)
    return t
