"""The job graph of `pipeline` on files, in a Flink that lives in this process for as long as the job: no servers.

The operators, their keys and their order are those of the cluster's job; its ends are other: micro-batches come from
one JSON file instead of Kafka, and messages leave through one file sink. A checkpoint commits the file, as it commits
Kafka's transactions.
"""
from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment

import schemas
from jobs.chain.bounded import BoundedEdges
from jobs.chain.contracts import Contracts
from jobs.chain.messages import HOT, LEDGER, Emission, MicroBatch, emit
from jobs.chain.microbatch import spread_keys
from jobs.chain.options import Options
from jobs.chain.packing import BATCHES, pack_batch
from jobs.chain.topology import KEYED, Topology, environment, with_account
from schemas.packed import Packed
from udfs.models import Models
from udfs.profiles import Profile

PLAN, INPUT, OUTPUT = "plan.pickle", "ticks.json", "written"
"""Files of a run's folder: what is to be done, the micro-batches, and the folder of what was written."""

FLINK = {
    "python.execution-mode": "thread", "execution.checkpointing.interval": "1 s", "pipeline.object-reuse": "true",
    "state.backend.type": "hashmap", "restart-strategy.type": "none", "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.memory.managed.size": "64m", "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m", "rest.bind-port": "0",
}
"""No restart: a failure of a run that can be repeated is an answer. Two slots: the account has one of its own."""

NEVER_MS = 3_600_000
"""Nobody asks whether a silent partition has more: it is known where each ends."""


@dataclass(frozen=True)
class BoundedPlan:
    """What an embedded run does. Pickled into its folder."""

    profile: Profile
    models: Models
    contracts: Contracts
    edges: BoundedEdges
    shards: int


@dataclass
class FileTopology(Topology):
    """A topology between files."""

    edges: BoundedEdges = field(default_factory=lambda: BoundedEdges(()))
    folder: Path = Path()

    def source(self, *topics: str, keys: Sequence[int] = (0,)) -> DataStream:
        """The micro-batches of the folder's file, which are in order: a local file is one split."""
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE `micro-batches` (key INT, payload BYTES)
            WITH ('connector' = 'filesystem', 'path' = '{(self.folder / INPUT).absolute().as_uri()}',
                'format' = 'json')""")
        rows = self.tables.sql_query(f"SELECT key, ROW({BATCHES}, payload) AS batch FROM `micro-batches`")
        return self.tables.to_append_stream(rows, KEYED)

    def write(self) -> None:
        """Send every operator's messages to the folder and build the job."""
        target = (self.folder / OUTPUT).absolute().as_uri()
        self.tables.execute_sql(f"""
            CREATE TEMPORARY TABLE written (k BYTES, v BYTES, topic STRING NOT NULL) WITH (
                'connector' = 'filesystem', 'path' = '{target}', 'format' = 'json',
                'sink.rolling-policy.file-size' = '1 tb', 'sink.rolling-policy.rollover-interval' = '365 d',
                'sink.rolling-policy.inactivity-interval' = '365 d')""")
        both = " UNION ALL ".join(self._messages(sink, named=True) for sink in (HOT, LEDGER))
        statements = self.tables.create_statement_set()
        statements.add_insert_sql(f"INSERT INTO written {both}")
        statements.attach_as_datastream()

    def _edges(self, profile: Profile, writes: Sequence[str] = ()) -> BoundedEdges:
        return self.edges


def prepare(folder: Path, plan: BoundedPlan, batches: Iterable[MicroBatch]) -> None:
    """Write plan and input into a folder that is there."""
    (folder / PLAN).write_bytes(pickle.dumps(plan))
    keys, topics = spread_keys(plan.shards), list(schemas.topics())
    with (folder / INPUT).open("w") as file:
        for b in batches:
            payload = base64.b64encode(pack_batch(b, topics)).decode()
            file.write(json.dumps({"key": keys[b.shard], "payload": payload}) + "\n")


def build(folder: Path) -> Topology:
    """The job of a folder that `prepare` has filled."""
    plan: BoundedPlan = pickle.loads((folder / PLAN).read_bytes())
    options = Options(plan.profile, plan.models, "", "", "", None, (), 1, NEVER_MS, plan.shards, 0)
    settings = Configuration()
    for key, value in FLINK.items():
        settings.set_string(key, value)
    settings.set_string("execution.checkpointing.dir", (folder / "checkpoints").absolute().as_uri())
    streams, tables = environment(StreamExecutionEnvironment.get_execution_environment(settings))
    streams.set_parallelism(1)
    return with_account(FileTopology("pipeline", options, plan.contracts, streams, tables, edges=plan.edges,
                                     folder=folder))


def written(folder: Path) -> Iterator[Emission]:
    """All messages that the job of a folder wrote, each topic's in order."""
    for part in sorted((folder / OUTPUT).glob("part-*"), key=lambda path: int(path.name.rsplit("-", 1)[1])):
        with part.open() as file:
            for row in map(json.loads, file):
                key, value = (Packed.of([base64.b64decode(row[name])]) for name in ("k", "v"))
                yield emit(row["topic"], key, value)
