"""Memory of the auditor and of `replay --verify` over a log and one ten times as long: it must not grow with the log.

    python -m tests.bench.log_length            # 10,000 and 100,000 ticks; --ticks 20000 for 20,000 and 200,000

Logs of the in-process chain are laid down as files and streamed from there, each by a process of its own. The figures
are its peak resident memory and its speed; exit code 1 where the longer log takes over a tenth more memory, or is not
clean.
"""
from __future__ import annotations

import argparse
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.chain.inprocess import contracts
from jobs.chain.plans import TAPS
from sigmaflow import sample_log, verify
from sigmaflow.audit.check import audit
from sigmaflow.audit.log import Record

MOST = 1.1
"""Most that the longer log's memory may be of the shorter one's."""


@dataclass(frozen=True)
class Files:
    """A log in a folder, one file for each partition: a Source that holds nothing."""

    folder: Path
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)

    @property
    def schemas(self) -> Mapping[str, Mapping[int, Mapping[str, Any]]]:
        """Schemas of the in-process chain."""
        return contracts().versions

    def partitions(self, topic: str) -> list[int]:
        """Partitions of a topic in order."""
        return sorted(int(path.suffix[1:]) for path in self.folder.glob(f"{topic}.*") if path.stem == topic)

    def stream(self, topic: str, partition: int) -> Iterator[Record]:
        """Records of a partition in order."""
        with (self.folder / f"{topic}.{partition}").open("rb") as file:
            while file.peek(1):
                yield Record(*pickle.load(file))


def make(folder: Path, ticks: int) -> None:
    """Lay a log down."""
    for topic, parts in sample_log.make(ticks=ticks, taps=TAPS).records.items():
        for partition, records in parts.items():
            with (folder / f"{topic}.{partition}").open("wb") as file:
                for record in records:
                    pickle.dump(tuple(record), file)


def measure(kind: str, folder: Path) -> None:
    """Print records, seconds of processor time, faults and peak memory, MiB."""
    began = time.process_time()
    if kind == "audit":
        report = audit(Files(folder), complete=True)
        cases, found = report.cases, report.found
    else:
        verdict = verify.compare(verify.Recorded(Files(folder), contracts()), sample_log.profile())
        cases, found = verdict.cases, verdict.missing + verdict.doubled + len(verdict.differences)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(cases, time.process_time() - began, found, peak)


def child(*arguments: str) -> list[float]:
    """What a process of this module prints."""
    ran = subprocess.run([sys.executable, "-m", "tests.bench.log_length", *arguments], capture_output=True, text=True,
                         check=True)
    return [float(word) for word in ran.stdout.split()]


def main() -> int:
    """Measure both lengths; one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=10_000)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, folder = options.child[0], Path(options.child[1])
        make(folder, int(options.child[2])) if kind == "make" else measure(kind, folder)
        return 0
    peaks: dict[str, list[float]] = {"audit": [], "verify": []}
    clean = True
    for ticks in (options.ticks, 10 * options.ticks):
        with tempfile.TemporaryDirectory() as folder:
            child("--child", "make", folder, str(ticks))
            for kind, held in peaks.items():
                cases, seconds, found, peak = child("--child", kind, folder)
                held.append(peak)
                clean &= found == 0
                print(f"{kind}: {ticks:,} ticks, {cases:,.0f} records, {found:.0f} found, peak {peak:,.0f} MiB, "
                      f"{cases / seconds:,.0f} records/s of processor time", flush=True)
    grown = {kind: held[1] / held[0] for kind, held in peaks.items()}
    print("ten times the log: " + ", ".join(f"{kind} {ratio:.3f} times the memory" for kind, ratio in grown.items()))
    return 0 if clean and max(grown.values()) <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
