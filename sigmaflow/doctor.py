"""`sigmaflow doctor`: this machine and the stack, part by part, with a remedy for whatever is not ok.

Each check looks at one thing, changes nothing, and says ok, warn or bad. A check that breaks is itself bad: the others
go on. What only a running server knows is left out where it does not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from sigmaflow import jars, probes, submit, supervise
from sigmaflow.errors import UserError
from sigmaflow.installed import java_home, site_packages
from sigmaflow.output import Record, console, print_table, size
from sigmaflow.settings import Settings, load

OK, WARN, BAD = "ok", "warn", "bad"
WORST = (BAD, WARN, OK)
GIB = 2**30
LEAST_DISK, LITTLE_DISK = 1 * GIB, 5 * GIB
"""Kafka refuses to start a segment on a full disk; a day of the simulated market takes a few GiB."""
CLOCK_WARN_S, CLOCK_BAD_S = 0.25, 2.0
"""Clocks further apart than this make receive times, and latencies taken from them, untrue."""
STALE_S = 60.0
"""Age of the newest checkpoint of a job that makes one a second."""
LOCAL = ("127.0.0.1", "localhost", "::1")
START = "run make start"


@dataclass(frozen=True)
class Finding:
    """What one check found. `remedy` is empty where the verdict is ok."""

    check: str
    verdict: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """What is examined. `meant` says that the stack is meant to run, so that a silent server is bad."""

    settings: Settings
    meant: bool
    programs: frozenset[int]
    """Process ids of this stack."""

    def silent(self, check: str, program: str) -> Finding:
        """The finding for a server that does not answer."""
        if self.meant:
            return Finding(check, BAD, "does not answer", f"run make logs PROGRAM={program}, then make start")
        return Finding(check, WARN, "not running", START)


Check = Callable[[Patient], list[Finding]]


def examine(running: bool = False, settings: Settings | None = None) -> dict[str, Any]:
    """Every check; the verdict is the worst of theirs. `running` says that the stack must run."""
    s = settings or load()
    up = supervise.is_running(s)
    patient = Patient(s, running or up, frozenset(process.pid for process in supervise.processes(s)))
    found = [finding for check in CHECKS for finding in guarded(check, patient)]
    return {"verdict": next((v for v in WORST if v in {f.verdict for f in found}), OK), "running": up,
            "checks": [asdict(finding) for finding in found]}


def guarded(check: Check, patient: Patient) -> list[Finding]:
    """A check's findings; an error of its own is one."""
    name = check.__name__.replace("_", " ")
    try:
        return check(patient)
    except UserError as error:
        return [Finding(name, BAD if patient.meant else WARN, f"{error.rule}, but {error.found}", error.remedy)]
    except Exception as error:
        return [Finding(name, BAD, f"the check broke: {type(error).__name__}: {str(error)[:200]}",
                        "report it with this line")]


def draw(answer: Record) -> None:
    """Print one line a check."""
    rows = answer["checks"]
    print_table([{"verdict": row["verdict"], "check": row["check"], "found": row["found"], "remedy": row["remedy"]}
                 for row in rows])
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in (OK, WARN, BAD)}
    console().print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


# ---------------------------------------------------------------------------------------------------- the machine


def java(patient: Patient) -> list[Finding]:
    """Java starts and is of the settings' version."""
    wanted, file = patient.settings.versions.java, java_home(patient.settings) / "bin" / "java"
    if not file.exists():
        return [Finding("java", BAD, f"{file} is missing", "run make setup")]
    said = subprocess.run([str(file), "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    version = (re.findall(r'version "([^"]+)"', said) or ["none"])[0]
    good = version.split(".")[0] == wanted
    return [Finding("java", OK if good else BAD, f"{version}, wanted {wanted}", "" if good else "run make setup")]


def python(patient: Patient) -> list[Finding]:
    """The Python that workers run starts, and is of the settings' version."""
    s = patient.settings
    told = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    ran = subprocess.run([str(s.python), "-c", told], capture_output=True, text=True, check=False, timeout=30)
    version = ran.stdout.strip() or "it does not start"
    good = version.rpartition(".")[0] == s.versions.python
    return [Finding("python of the workers", OK if good else BAD, f"{version}, wanted {s.versions.python} ({s.python})",
                    "" if good else "run make setup with Python 3.11: make setup PYTHON=/path/to/python3.11")]


def packages(patient: Patient) -> list[Finding]:
    """Every package of constraints.txt that is installed has the version of it: PyFlink's ceilings are silent."""
    s = patient.settings
    wanted = pins((s.root / "constraints.txt").read_text())
    found = {plain_name(d.metadata["Name"]): d.version for d in distributions(path=[str(site_packages(s))])}
    wrong = drift(wanted, found)
    if wrong:
        return [Finding("packages", BAD, f"{len(wrong)} are not as constraints.txt says: {'; '.join(wrong[:3])}",
                        "run make setup")]
    return [Finding("packages", OK, f"{len(wanted.keys() & found.keys())} as constraints.txt says")]


def plain_name(name: str) -> str:
    """A package's name as indexes compare it.

    >>> plain_name("Apache_Flink")
    'apache-flink'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Versions by package, from pip's constraints.

    >>> pins("# pinned\\nApache_Flink==2.3.0\\n")
    {'apache-flink': '2.3.0'}
    """
    rows = (line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {plain_name(name.partition("[")[0]): version.split(";")[0].strip() for name, _, version in rows}


def drift(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Packages that are installed in another version than wanted.

    >>> drift({"numpy": "2.1.3", "scipy": "1.0"}, {"numpy": "2.2.0"})
    ['numpy is 2.2.0, not 2.1.3']
    """
    return [f"{name} is {found[name]}, not {version}" for name, version in wanted.items()
            if found.get(name, version) != version]


def jar_files(patient: Patient) -> list[Finding]:
    """Every jar of docker/jars.lock is in the cache with the checksum of it."""
    s, locked = patient.settings, jars.read_lock()
    missing = jars.missing(s, locked)
    if missing:
        return [Finding("jars", BAD, f"{len(missing)} of {len(locked)} are missing or cut short, first "
                        f"{missing[0].file_name}", "run make setup")]
    wrong = [jar for jar in locked if jars.sha256_of(jar.path(s.cache_dir)) != jar.sha256]
    if wrong:
        return [Finding("jars", BAD, f"{wrong[0].file_name} has not the sha256 of docker/jars.lock",
                        f"delete {wrong[0].path(s.cache_dir)} and run make setup")]
    return [Finding("jars", OK, f"{len(locked)}, all with the sha256 of docker/jars.lock")]


def ports(patient: Patient) -> list[Finding]:
    """Every port is free, or held by this stack. Ports of parts on other machines are not looked at."""
    s = patient.settings
    wanted = {name: port for name, port in s.ports().items() if _host(s, name) in LOCAL}
    foreign = taken(wanted, listeners(), patient.programs)
    if foreign:
        return [Finding("ports", BAD, f"{name} {port} is held by {_who(pid)}", "stop that program, or start beside "
                        "it: SIGMAFLOW_PORT_OFFSET=1000") for name, port, pid in foreign]
    return [Finding("ports", OK, f"{len(wanted)} free, or held by this stack")]


def _host(settings: Settings, name: str) -> str:
    return str(getattr(settings, name.split(".")[0]).host)


def listeners() -> dict[int, int | None]:
    """Process that listens on each port; None where the kernel does not tell."""
    return {c.laddr.port: c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def taken(wanted: Mapping[str, int], held: Mapping[int, int | None],
          own: Iterable[int]) -> list[tuple[str, int, int | None]]:
    """Ports that others hold: setting, port, and process.

    >>> taken({"kafka.port": 9092, "redis.port": 6379}, {9092: 7, 6379: 8}, [7])
    [('redis.port', 6379, 8)]
    """
    mine = set(own)
    return [(name, port, held[port]) for name, port in wanted.items() if port in held and held[port] not in mine]


def _who(pid: int | None) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})" if pid else "a process of another user"
    except psutil.NoSuchProcess:
        return f"process {pid}"


def disk(patient: Patient) -> list[Finding]:
    """The data directory can be written, and there is room."""
    folder = next(f for f in (patient.settings.data_dir, *patient.settings.data_dir.parents) if f.exists())
    if not os.access(folder, os.W_OK):
        return [Finding("disk", BAD, f"{folder} cannot be written", "choose another folder: SIGMAFLOW_DATA_DIR")]
    return [room(shutil.disk_usage(folder).free, str(folder))]


def room(free: int, folder: str) -> Finding:
    """The finding for so many free bytes.

    >>> room(2**33, "/data").verdict, room(2**31, "/data").verdict, room(0, "/data").verdict
    ('ok', 'warn', 'bad')
    """
    verdict = OK if free >= LITTLE_DISK else WARN if free >= LEAST_DISK else BAD
    return Finding("disk", verdict, f"{size(free)} free at {folder}", "" if verdict == OK else
                   f"make room for at least {size(LITTLE_DISK)}, or choose another folder: SIGMAFLOW_DATA_DIR")


def memory(patient: Patient) -> list[Finding]:
    """What the stack is allowed is free; where it runs, a tenth of the machine's memory is."""
    machine = psutil.virtual_memory()
    free = min(machine.available, _group_limit())
    need = machine.total // 10 if patient.programs else need_bytes(patient.settings)
    good = free >= need
    return [Finding("memory", OK if good else WARN, f"{size(free)} free, {size(need)} wanted", "" if good else
                    "end other programs, or lower *_memory_mb and heap_mb in docker/stack.toml")]


def need_bytes(settings: Settings) -> int:
    """Memory that the servers may take: heaps, and Flink's processes whole."""
    s = settings
    heaps = s.kafka.heap_mb + s.registry.heap_mb + s.zookeeper.heap_mb + s.questdb.heap_mb
    return (heaps + s.flink.jobmanager_memory_mb + s.flink.taskmanagers * s.flink.taskmanager_memory_mb) * 2**20


def _group_limit() -> int:
    """Memory left in this container; as good as endless where there is no limit."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return 2**62


def left_over(patient: Patient) -> list[Finding]:
    """No process of this stack outlives its supervisor."""
    if patient.programs and not supervise.is_running(patient.settings):
        return [Finding("left over", WARN, f"{len(patient.programs)} processes of a stack that does not run",
                        "run make stop")]
    return []


# ---------------------------------------------------------------------------------------------------- the servers


def servers(patient: Patient) -> list[Finding]:
    """Every server answers a question that it can only answer when it works."""
    s = patient.settings
    found = []
    for name, (probe, programs) in probes.servers(s).items():
        if probes.answers(probe, s):
            found.append(Finding(name, OK, "answers"))
        else:
            found.append(patient.silent(name, programs[0]))
    if s.prometheus.executable is None:
        found.append(Finding("Prometheus", WARN, "not installed: no history of metrics, no alerts",
                             "install prometheus, then run make restart"))
    return found


def results(patient: Patient) -> list[Finding]:
    """The results process serves the chain's metrics."""
    try:
        lines = probes.own_metrics(patient.settings).splitlines()
    except UserError:
        return [patient.silent("results", "results")]
    return [Finding("results", OK, f"{sum(line.startswith('sigmaflow_') for line in lines)} series")]


def page(patient: Patient) -> list[Finding]:
    """The web page answers."""
    if probes.answers(probes.web, patient.settings):
        return [Finding("web page", OK, f"answers at {patient.settings.web.url}")]
    return [patient.silent("web page", "web")]


def clocks(patient: Patient) -> list[Finding]:
    """This clock agrees with those of Redis and QuestDB, and no record in Kafka comes from its future."""
    s = patient.settings
    found = []
    for name, ask in (("Redis", redis_time), ("QuestDB", questdb_time)):
        try:
            found.append(clock(name, *apart(ask, s)))
        except Exception:  # the server's own check says that it does not answer
            continue
    newest = newest_record(s) if probes.answers(probes.kafka, s) else None
    if newest is not None:
        ahead = newest - time.time()
        found.append(clock("Kafka's newest record", max(0.0, ahead), 0.0) if ahead > 0 else
                     Finding("clock against Kafka's newest record", OK, f"it is {-ahead:.1f} s old"))
    return found


def apart(ask: Callable[[Settings], float], settings: Settings) -> tuple[float, float]:
    """Seconds that a server's clock is ahead of this one, and how far that may be wrong: half of the round trip."""
    before = time.time()
    theirs = ask(settings)
    after = time.time()
    return theirs - (before + after) / 2, (after - before) / 2


def redis_time(settings: Settings) -> float:
    """Redis's clock, seconds since 1970."""
    from redis import Redis

    with Redis.from_url(settings.redis.url, socket_timeout=2) as client:
        seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6


def questdb_time(settings: Settings) -> float:
    """QuestDB's clock, seconds since 1970."""
    query = urllib.parse.urlencode({"query": "select cast(now() as long)"})
    return float(probes.get_json(f"{settings.questdb.http_url}/exec?{query}")["dataset"][0][0]) / 1e6


def newest_record(settings: Settings) -> float | None:
    """Newest time stamp, of a record or of the broker's own commit markers, in the first and last topics of the chain.

    Seconds since 1970; None where they are empty.
    """
    from confluent_kafka.admin import AdminClient

    import schemas
    from connectors import broker
    from connectors.offsets import newest_ms

    admin, known = AdminClient(broker.client(settings.kafka.bootstrap)), schemas.topics()
    present = broker.metadata(admin, settings.kafka.bootstrap, "doctor")
    newest = newest_ms(admin, {name: known[name].partitions for name in ("market.ticks.v1", "decisions.v1")
                               if name in present})
    return None if newest is None else newest / 1e3


def clock(against: str, ahead_s: float, error_s: float) -> Finding:
    """The finding for a clock that is so far ahead, give or take an error.

    >>> clock("Redis", 0.01, 0.001).verdict, clock("Redis", -0.8, 0.01).verdict, clock("Redis", 5.0, 0.01).verdict
    ('ok', 'warn', 'bad')
    """
    sure = max(0.0, abs(ahead_s) - error_s)
    verdict = OK if sure <= CLOCK_WARN_S else WARN if sure <= CLOCK_BAD_S else BAD
    direction = "ahead of" if ahead_s >= 0 else "behind"
    return Finding(f"clock against {against}", verdict, f"{abs(ahead_s) * 1e3:.0f} ms {direction} this one",
                   "" if verdict == OK else "let both machines follow one time server (chrony, NTP)")


# ------------------------------------------------------------------------------------------------------- the chain


def topics(patient: Patient) -> list[Finding]:
    """Every topic exists, with the partitions and retention of topics.yaml."""
    if not probes.answers(probes.kafka, patient.settings):
        return []
    import schemas
    from sigmaflow import topic_view

    held = {topic["topic"]: topic for topic in _topics(topic_view.look, patient.settings)}
    missing = [name for name in schemas.topics() if name not in held]
    if missing:
        return [Finding("topics", BAD if patient.meant else WARN, f"{len(missing)} missing, first {missing[0]}",
                        "run make setup-topics")]
    wrong = [line for topic in schemas.topics().values() for line in unlike(topic, held[topic.name])]
    if wrong:
        return [Finding("topics", BAD, "; ".join(wrong[:3]), "run make setup-topics")]
    return [Finding("topics", OK, f"{len(held)} as schemas/topics.yaml says")]


def _topics(look: Callable[..., dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """The topics that there are; none where the broker has none yet."""
    try:
        return list(look(settings=settings)["topics"])
    except UserError as error:
        if error.code == UserError.code:
            return []
        raise


def unlike(topic: Any, held: Mapping[str, Any]) -> list[str]:
    """How a topic differs from its row of topics.yaml."""
    hours = held["retention_ms"] // 3_600_000 if held["retention_ms"] >= 0 else -1
    pairs = (("partitions", len(held["partitions"]), topic.partitions), ("retention", hours, topic.retention_hours))
    return [f"{topic.name} has {what} {found}, not {wanted}" for what, found, wanted in pairs if found != wanted]


def contracts(patient: Patient) -> list[Finding]:
    """Every contract may follow all its versions on record."""
    from schemas import compatibility

    found = compatibility.check()
    if found:
        return [Finding("contracts", BAD, f"{len(found)} problems, first: {found[0]}", "run sigmaflow schema check")]
    return [Finding("contracts", OK, "as recorded in schemas/history")]


def registered(patient: Patient) -> list[Finding]:
    """What the registry holds is what this code writes."""
    if not probes.answers(probes.registry, patient.settings):
        return []
    from sigmaflow import schema_view

    subjects = {subject: state for row in schema_view.listing(patient.settings)["contracts"]
                for subject, state in row["subjects"].items()}
    return [schema_drift(subjects)]


def schema_drift(subjects: Mapping[str, str]) -> Finding:
    """The finding for subjects that hold this version of their contract, another, or none.

    >>> schema_drift({"a-value": "this version, id 1", "b-value": "another version, id 2"}).found
    '1 of 2 subjects differ: b-value (another version, id 2)'
    """
    other = [f"{subject} ({state})" for subject, state in subjects.items() if not state.startswith("this version")]
    if other:
        return Finding("schemas in the registry", WARN,
                       f"{len(other)} of {len(subjects)} subjects differ: {', '.join(other[:3])}",
                       "run make setup-topics; see why with: sigmaflow schema check --registry")
    return Finding("schemas in the registry", OK, f"{len(subjects)} subjects as schemas/ says")


def jobs(patient: Patient) -> list[Finding]:
    """The chain runs, and completes checkpoints: a job may be RUNNING and never complete one."""
    s = patient.settings
    if not probes.answers(probes.flink, s):
        return []
    living = submit.jobs(s)
    if not living:
        return [Finding("jobs", BAD if patient.meant else WARN, "Flink runs no job", START)]
    answers = ((job, probes.get_json(f"{s.flink.rest_url}/jobs/{job.id}/checkpoints")) for job in living)
    return [progress(job.name, job.state, now["counts"], now["latest"]["completed"], time.time())
            for job, now in answers]


def progress(name: str, state: str, counts: Mapping[str, int], latest: Mapping[str, Any] | None,
             now_s: float) -> Finding:
    """The finding for one job, from Flink's account of its checkpoints.

    >>> counts = {"completed": 5, "failed": 0}
    >>> progress("pipeline", "RUNNING", counts, {"latest_ack_timestamp": 9_000}, 10.0).found
    'RUNNING, 5 checkpoints, the newest 1 s old'
    >>> progress("pipeline", "RUNNING", counts, None, 10.0).verdict
    'bad'
    """
    remedy = "look at the job in Flink's web UI, and at make logs PROGRAM=taskmanager-1"
    if state != "RUNNING" or latest is None:
        found = f"{state}, no checkpoint completed" if latest is None else state
        return Finding(f"job {name}", BAD, f"{found}, {counts['failed']} failed", remedy)
    age = now_s - latest["latest_ack_timestamp"] / 1e3
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    good = age <= STALE_S
    found = f"{state}, {counts['completed']} checkpoints{failed}, the newest {age:.0f} s old"
    return Finding(f"job {name}", OK if good else BAD, found, "" if good else remedy)


CHECKS: tuple[Check, ...] = (java, python, packages, jar_files, ports, disk, memory, left_over, servers, results,
                             page, clocks, topics, contracts, registered, jobs)
