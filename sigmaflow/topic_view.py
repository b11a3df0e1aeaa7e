"""The answers of `topics` and `setup-topics`: what the log holds, and how far each job has come in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

import schemas
from connectors import broker, topics
from connectors.offsets import Groups, bounds
from jobs.chain.plans import READS
from sigmaflow import submit
from sigmaflow.errors import UserError
from sigmaflow.output import Record, print_table, size
from sigmaflow.settings import Settings, load

STAGE = "topics"
TIMEOUT_S = 10.0
HOUR_MS = 3_600_000
LOCAL = ("127.0.0.1", "localhost", "::1")

Place = tuple[str, int]
"""Topic and partition."""


def look(namespace: str = "", topic: str = "", settings: Settings | None = None) -> dict[str, Any]:
    """Every topic of a run, or one of them, partition by partition.

    Raises NotRunning where the broker does not answer, UserError for a topic that it does not have. Lag is None where
    Flink cannot be asked which jobs run.
    """
    s = settings or load()
    admin = AdminClient(broker.client(s.kafka.bootstrap))
    present = broker.metadata(admin, s.kafka.bootstrap, STAGE)
    found = wanted(namespace, topic, present)
    try:
        held = bounds(admin, {name: present[name] for name in found}, timeout_s=TIMEOUT_S)
        kept = _retention(admin, found)
    except KafkaException as error:
        raise broker.unreachable(STAGE, s.kafka.bootstrap, error.args[0].str()) from None
    jobs = running(s, namespace)
    behind = lags(Groups(s.kafka.bootstrap), jobs or (), namespace, {at: end for at, (_, end) in held.items()})
    stored = sizes(s, found)
    parts = {at: {"partition": at[1], "start": start, "end": end, "messages": end - start,
                  "bytes": stored.get(at), "lag": behind.get(at, {})} for at, (start, end) in held.items()}
    return {"run": namespace or "market", "jobs": None if jobs is None else sorted(jobs),
            "topics": [{"topic": name, "retention_ms": kept[name],
                        "partitions": [parts[name, p] for p in range(present[name])]} for name in found]}


def wanted(namespace: str, topic: str, present: Iterable[str]) -> list[str]:
    """Names of the topics to list, in the order of topics.yaml. Raises UserError where there is none.

    >>> wanted("", "", ["fills.v1", "other", "market.ticks.v1"]), wanted("r", "fills.v1", ["r.fills.v1"])
    (['market.ticks.v1', 'fills.v1'], ['r.fills.v1'])
    """
    names = [schemas.in_run(name, namespace) for name in schemas.topics()]
    chosen = [name for name in names if topic in ("", name, name.removeprefix(f"{namespace}."))]
    found = [name for name in chosen or [topic] if name in set(present)]
    if not found:
        which = f"topic {topic}" if topic else "the topics"
        raise UserError(STAGE, f"{which} of run {namespace or 'market'} must exist", "the broker has none",
                        "run make setup-topics, or name a run with --from")
    return found


def _retention(admin: AdminClient, names: Iterable[str]) -> dict[str, int]:
    """retention.ms of each topic, -1 for ever."""
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    return {resource.name: int(future.result()["retention.ms"].value)
            for resource, future in admin.describe_configs(asked, request_timeout=TIMEOUT_S).items()}


def running(settings: Settings, namespace: str) -> set[str] | None:
    """Names of the jobs of a run that live, for example {"pipeline"}; None where Flink does not answer."""
    try:
        return {job.name.split()[0] for job in submit.jobs(settings) if _run_of(job.name) == namespace}
    except UserError:
        return None


def _run_of(job: str) -> str:
    """Namespace in a job's title.

    >>> _run_of("pipeline (default)"), _run_of("fills (reference) reference-1a1f")
    ('', 'reference-1a1f')
    """
    return job.rpartition(")")[2].strip()


def lags(groups: Groups, jobs: Iterable[str], namespace: str, ends: Mapping[Place, int]) -> dict[Place, dict[str, int]]:
    """Messages of each partition that no completed checkpoint of a job covers, by the jobs that read it."""
    out: dict[Place, dict[str, int]] = defaultdict(dict)
    try:
        for job in sorted(jobs):
            read = {schemas.in_run(name, namespace) for name in READS.get(job, ())}
            for place in (place for place in ends if place[0] in read):
                at = groups.position(schemas.in_run(job, namespace), *place)
                if at is not None:
                    out[place][job] = max(0, ends[place] - at)
    finally:
        groups.close()
    return dict(out)


def sizes(settings: Settings, names: Iterable[str]) -> dict[Place, int]:
    """Bytes on disk of each partition, where the broker's log is this stack's own."""
    logs, wanted_names = settings.data_dir / "kafka" / "logs", set(names)
    if settings.kafka.host not in LOCAL or not logs.is_dir():
        return {}
    found = ((folder, *folder.name.rpartition("-")[::2]) for folder in logs.iterdir())
    return {(name, int(p)): _bytes(folder) for folder, name, p in found if name in wanted_names and p.isdigit()}


def _bytes(folder: Path) -> int:
    """What a partition's log takes; its index files are sparse and not counted."""
    return sum(file.stat().st_size for file in folder.glob("*.log"))


def retention(ms: int) -> str:
    """Retention for people.

    >>> retention(-1), retention(604_800_000), retention(90_000)
    ('for ever', '168 h', '90 s')
    """
    if ms < 0:
        return "for ever"
    return f"{ms // HOUR_MS} h" if ms >= HOUR_MS else f"{ms // 1000} s"


def summed(topic: Record) -> dict[str, Any]:
    """A topic's partitions in one row."""
    parts = topic["partitions"]
    behind: Counter[str] = Counter()
    for part in parts:
        behind.update(part["lag"])
    known = [part["bytes"] for part in parts if part["bytes"] is not None]
    return {"topic": topic["topic"], "partitions": len(parts), "messages": sum(part["messages"] for part in parts),
            "end": sum(part["end"] for part in parts), "size": size(sum(known)) if known else None,
            "kept": retention(topic["retention_ms"]), "lag": shown_lag(behind)}


def shown_lag(behind: Mapping[str, int]) -> str:
    """Lag of each job for people.

    >>> shown_lag({"pipeline": 1500}), shown_lag({})
    ('pipeline 1,500', '')
    """
    return ", ".join(f"{job} {count:,}" for job, count in behind.items())


def draw(answer: Record) -> None:
    """Print one line a topic, or one a partition where there is one topic."""
    topics_found = answer["topics"]
    if len(topics_found) == 1:
        print_table([{**part, "bytes": size(part["bytes"]), "lag": shown_lag(part["lag"])}
                     for part in topics_found[0]["partitions"]],
                    f"{topics_found[0]['topic']}, kept {retention(topics_found[0]['retention_ms'])}")
    else:
        print_table([summed(topic) for topic in topics_found])


def set_up(namespace: str = "") -> dict[str, Any]:
    """Create what is missing and register the schemas; with a namespace also the topics of that run."""
    known, settings = schemas.topics(), load()
    ids = topics.setup(settings)
    if namespace:
        topics.create(AdminClient(broker.client(settings.kafka.bootstrap)),
                      [replace(topic, name=schemas.in_run(topic.name, namespace)) for topic in known.values()])
    return {"topics": [{"topic": schemas.in_run(name, namespace), "partitions": known[name].partitions,
                        "contract": known[name].schema, "schema_id": schema_id} for name, schema_id in ids.items()]}


def draw_set_up(answer: Record) -> None:
    """Print one line a topic."""
    print_table(answer["topics"])
