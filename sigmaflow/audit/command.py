"""`make audit`: the audit of whatever is in the running broker, its findings, and one line of JSON."""
from __future__ import annotations

import json
import time

from connectors.host_metrics import leave
from sigmaflow.audit.check import UNPROVEN, Report, audit
from sigmaflow.audit.log import read
from sigmaflow.settings import Settings, load

GAUGES = {"sigmaflow_audit_found_records": "Records the last audit found wrong.",
          "sigmaflow_audit_checked_records": "Records the last audit checked.",
          "sigmaflow_audit_timestamp_seconds": "When the last audit ended."}
"""What the audit of the running market leaves for Prometheus."""


def run(namespace: str = "", complete: bool = False, settings: Settings | None = None) -> Report:
    """Read, check and print; the last line is one JSON object.

    `namespace` is that of a run apart. `complete` says that every job has come to the end of its input: what has no
    decision is then lost, and not on its way. Raises UserError where broker or registry do not answer.
    The audit of the running market is left for Prometheus too.
    """
    settings = settings or load()
    report = audit(read(settings, namespace), complete)
    if not namespace:
        values = (float(report.found), float(report.cases), time.time())
        leave(settings.data_dir, "audit", {name: (text, value) for (name, text), value in
                                           zip(GAUGES.items(), values, strict=True)})
    for finding in report.findings:
        print(finding)
    if report.found > len(report.findings):
        print(f"and {report.found - len(report.findings):,} more")
    print(f"Kafka alone does not prove {'; '.join(UNPROVEN)}")
    print(json.dumps(report.summary()), flush=True)
    return report
