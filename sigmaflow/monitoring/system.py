"""The system dashboard: promises kept, and then each job in topology order, servers and edges."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builder

from sigmaflow.monitoring import metrics as m
from sigmaflow.monitoring.panels import (
    HALF,
    Section,
    board,
    choice,
    filled,
    flow,
    number,
    prom,
    quantiles,
    section,
    series,
)

JOBS = ("pipeline", "features", "alphas", "ensemble", "risk", "sizing", "fills")
"""In the order of the topology; those that do not run stay empty."""
JOB = '{job_name=~"$job [(].*"}'
COLLECTION = "flink_taskmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond"


def dashboard() -> builder.Dashboard:
    """The whole dashboard."""
    made = board("sigmaflow-system", "Sigmaflow: system health", "Service levels, jobs, servers, edges.")
    return filled(made.with_variable(choice("job", JOBS)), _promises(), _chain(), _job(), _servers(), _edges())


def _promises() -> Section:
    return section(
        "",
        number("Chain up", "short", "1 while every job of the chain runs.", prom("sigmaflow:chain_up"),
               ("red", None), ("green", 1.0)),
        number("Restarts", "short", "Restarts of all jobs.", prom(f"sum({m.RESTARTS})"),
               ("green", None), ("orange", 1)),
        number("Oldest checkpoint", "s", "Time since the last completed checkpoint of the job that is worst off.",
               prom("max(sigmaflow:checkpoint_age_seconds)"), ("green", None), ("red", 60.0)),
        number("Ticks waiting", "short", "Records that sources have not read yet.", prom(f"sum({m.PENDING})"),
               ("green", None), ("orange", 20_000)),
        number("Signals in time", "percentunit", "Part of ticks whose signal was there within 20 ms, last hour.",
               prom("1 - sigmaflow:signal_errors:ratio_rate1h"), ("red", None), ("green", 0.95)),
        number("Executions in time", "percentunit", "Part of fills within 100 ms of their tick, last hour.",
               prom("1 - sigmaflow:execution_errors:ratio_rate1h"), ("red", None), ("green", 0.95)),
        number("Available", "percentunit", "Part of the last day in which the chain was up.",
               prom("1 - sigmaflow:availability_errors:ratio_rate1d"), ("red", None), ("green", 0.999)),
        number("Disk free", "percentunit", "Of the file system with the data directory.",
               prom("sigmaflow_disk_free_bytes / sigmaflow_disk_size_bytes"), ("red", None), ("green", 0.10)),
    )


def _chain() -> Section:
    return section(
        "Latency and dead letters",
        series("Tick to signal", "s", "Receipt of a tick to the end of the operator that makes its opportunity.",
               *quantiles(f'{m.TICK_AGE}{{operator_name=~".*ensemble.*"}}'), warn=0.02),
        series("Tick to opportunity", "s",
               "Kafka timestamps, where opportunities.v1 is written (six jobs, or --taps).",
               *quantiles("sigmaflow_tick_to_opportunity_seconds_bucket"), warn=0.02),
        series("Tick to decision", "s", "Kafka timestamps; the account's order and the transaction's batch included.",
               *quantiles("sigmaflow_tick_to_decision_seconds_bucket"), warn=0.1),
        series("Dead letters", "ops", "By reason, each second.",
               flow("rate", "sigmaflow_rejected_ticks_total", "reason"), stacked=True),
    )


def _job() -> Section:
    return section(
        "Job $job",
        series("Throughput", "ops", "Ticks each second through each operator of ours.",
               flow("rate", f"{m.TICKS}{JOB}", "operator_name")),
        series("Time of a call", "s", "One micro-batch through an operator's Python.",
               *quantiles(f"{m.CALL}{JOB}", "operator_name")),
        series("Age of a tick", "s", "Receipt of a tick to the end of the first operator.",
               *quantiles(f"{m.TICK_AGE}{JOB}", "operator_name")),
        series("Consumer lag", "short", "Records in Kafka that a source has not read yet.",
               prom(f"sum by (operator_name) ({m.PENDING}{JOB})", "{{operator_name}}")),
        series("Watermark lag", "ms", "Now less the Kafka time of the last record that a source let go.",
               prom(f"max by (operator_name) ({m.EMIT_LAG}{JOB} < 1e12)", "{{operator_name}}")),
        series("Busy and held up", "percentunit",
               "Part of the time that the busiest task works, and that one waits for room.",
               prom(f"max by (task_name) ({m.BUSY}{JOB}) / 1e3", "busy {{task_name}}"),
               prom(f"max by (task_name) ({m.BACK_PRESSURE}{JOB}) / 1e3", "held up {{task_name}}")),
        series("Checkpoints", "s", "Time the last one took, and its age.",
               prom(f"{m.CHECKPOINT_DURATION}{JOB} / 1e3", "took {{job_name}}"),
               prom(f"sigmaflow:checkpoint_age_seconds{JOB}", "age {{job_name}}")),
        series("State, restarts, failed checkpoints", "short",
               "Size of the last checkpoint in bytes; counts since submit.",
               prom(f"{m.STATE_BYTES}{JOB}", "bytes {{job_name}}"),
               prom(f"{m.RESTARTS}{JOB}", "restarts {{job_name}}"),
               prom(f"{m.FAILED_CHECKPOINTS}{JOB}", "failed {{job_name}}")),
        repeat="job",
    )


def _servers() -> Section:
    return section(
        "Servers",
        series("Answering", "short", "1 for each scraped process that answers.", prom("up", "{{job}} {{instance}}")),
        series("Memory of Python workers", "bytes", "Resident memory of each TaskManager, its Python included.",
               prom(f"max by (tm_id) ({m.RESIDENT})", "{{tm_id}}")),
        series("Heap", "bytes", "Java heap in use.",
               prom("flink_taskmanager_Status_JVM_Memory_Heap_Used", "{{tm_id}}"),
               prom("flink_jobmanager_Status_JVM_Memory_Heap_Used", "jobmanager")),
        series("Garbage collection", "percentunit", "Part of the time spent on it.",
               prom(f"{COLLECTION} / 1e3", "{{tm_id}}")),
    )


def _edges() -> Section:
    return section(
        "Edges",
        series("Results lag", "short", "Records that the results process has not read yet.",
               prom("sigmaflow_consumer_lag_records", "{{topic}}")),
        series("Rows waiting for QuestDB", "short", "Read and not yet acknowledged.",
               prom("sigmaflow_results_pending_rows", "rows")),
        series("Failed attempts", "short", "By the server that did not do as asked, in each interval.",
               flow("increase", "sigmaflow_results_errors_total", "where")),
        series("Transactions", "short", "Committed by the exactly-once sinks so far, and those that failed.",
               prom(f"sum by (job_name) ({m.COMMITTED})", "committed {{job_name}}"),
               prom(f"sum by (job_name) ({m.FAILED_COMMITTABLES})", "failed {{job_name}}")),
        series("Auditor", "short", "What the last audit found wrong; empty until `make audit` has run.",
               prom("sigmaflow_audit_found_records", "found"), span=HALF),
    )
