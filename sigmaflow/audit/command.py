"""`make audit`: the audit of whatever is in the running broker, its findings, and one line of JSON."""
from __future__ import annotations

import json

from sigmaflow.audit.check import Report, audit
from sigmaflow.audit.log import read
from sigmaflow.settings import Settings, load


def run(namespace: str = "", complete: bool = False, settings: Settings | None = None) -> Report:
    """Read, check and print; the last line is one JSON object.

    `namespace` is that of a run apart. `complete` says that every job has come to the end of its input: what has no
    decision is then lost, and not on its way. Raises UserError where broker or registry do not answer.
    """
    report = audit(read(settings or load(), namespace), complete)
    for finding in report.findings:
        print(finding)
    if report.found > len(report.findings):
        print(f"and {report.found - len(report.findings):,} more")
    print(json.dumps(report.summary()), flush=True)
    return report
