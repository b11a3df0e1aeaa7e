"""`--engine flink`: a backtest as the job graph of the cluster, in a Flink that is started for it and ends with it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.chain.messages import DECISIONS
from sigmaflow.backtest.engine import Ran, edges
from sigmaflow.backtest.inputs import Input
from sigmaflow.backtest.results import Collector
from sigmaflow.errors import Failed
from sigmaflow.installed import flink_home
from sigmaflow.programs import base_environment
from sigmaflow.settings import Settings
from udfs.models import Models
from udfs.profiles import Profile

POLL_S = 0.25
DECISION = f'"topic":"{DECISIONS}"'.encode()


def run(given: Input, profile: Profile, models: Models, settings: Settings,
        progress: Callable[[int], None] = lambda ticks: None) -> Ran:
    """Run in a Flink of its own. Raises Failed with the job's error where it does not come to its end."""
    from jobs.chain.embedded import OUTPUT, BoundedPlan, prepare, written

    with TemporaryDirectory(prefix="sigmaflow-flink-") as made:
        folder = Path(made)
        plan = BoundedPlan(profile, models, given.contracts, edges(given), len(given.log.ends))
        prepare(folder, plan, given.log.batches())
        began = time.perf_counter()
        _execute(folder, settings, lambda: progress(min(given.log.rows, _decided(folder / OUTPUT))))
        seconds, results = time.perf_counter() - began, Collector(given.contracts)
        for emission in written(folder):
            results.take(emission)
    held = len(results.frames[DECISIONS].whole())
    results.counts.ticks, results.counts.accepted = given.log.rows, held
    return Ran(results, seconds)


def _execute(folder: Path, settings: Settings, poll: Callable[[], None]) -> None:
    """Run the job of a folder to its end. Its programs write below the folder and nowhere else."""
    with (folder / "out").open("wb") as out:
        job = subprocess.Popen([str(settings.python), "-m", "jobs.backtest", str(folder)], cwd=settings.root,
                               env=_environment(folder, settings), stdout=out, stderr=subprocess.STDOUT)
        try:
            while job.poll() is None:
                poll()
                time.sleep(POLL_S)
        finally:
            job.terminate()
            job.wait()
    if job.returncode:
        said = (folder / "out").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        causes = [line.strip() for line in said if line.startswith("Caused by:")]
        raise Failed("backtest", "the embedded Flink must run the job to its end", (causes or said)[-1][:300],
                     "run without --engine flink, which gives the same results")


def _environment(folder: Path, settings: Settings) -> dict[str, str]:
    return base_environment(settings) | {
        "FLINK_HOME": str(flink_home(settings)), "FLINK_CONF_DIR": str(flink_home(settings) / "conf"),
        "FLINK_LOG_DIR": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        # It lives for seconds: what a thorough compiler would save it spends.
        "JVM_ARGS": f"-Xmx2g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir={folder}"}


def _decided(folder: Path) -> int:
    """Decisions written so far: the file sink shows what no checkpoint has committed under names with a dot."""
    return sum(_count(path) for path in folder.glob("*part-*")) if folder.is_dir() else 0


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(block.count(DECISION) for block in iter(lambda: file.read(1 << 24), b""))
    except FileNotFoundError:  # renamed at this moment
        return 0
