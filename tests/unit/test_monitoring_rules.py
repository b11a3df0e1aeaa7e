"""Prometheus rules: they parse, each alert fires when it must and not otherwise, and each has a runbook."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.metrics import BUCKETS_S
from jobs.chain.meters import BOUNDS_S
from sigmaflow.monitoring import rules
from sigmaflow.monitoring.levels import BURNS, LEVELS
from sigmaflow.settings import ROOT

RULES = sorted((ROOT / "docker" / "prometheus" / "rules").glob("*.yml"))
PROMTOOL = shutil.which("promtool")
JOB = 'job_name="pipeline (default)"'
APART = 'job_name="pipeline (default) chaos-1a"'
OPERATOR = "flink_taskmanager_job_task_operator_"
RUNNING = f"flink_jobmanager_job_runningTime{{{JOB}}}"
COMPLETED = f"flink_jobmanager_job_lastCheckpointCompletedTimestamp{{{JOB}}}"
RESTARTS = f"flink_jobmanager_job_numRestarts{{{JOB}}}"
AGE = f'{OPERATOR}le_tick_age_seconds_bucket{{{JOB}, operator_name="admit, features, alphas, ensemble, risk", le="%s"}}'
FAILED = f"{OPERATOR}failedCommittables{{{JOB}}}"
AGE_OF = 'sigmaflow_slow_last_success_age_seconds{source="fred", part="%s", job="slow", instance="a:1"}'
INTERVAL = 'sigmaflow_slow_interval_seconds{source="fred", job="slow", instance="a:1"}'
FILL = 'sigmaflow_tick_to_fill_seconds_bucket{le="%s"}'
Series = dict[str, str]


def source(topic: str, job: str = JOB) -> str:
    """Return the idle time of a source."""
    return f'{OPERATOR}sourceIdleTime{{{job}, operator_name="Source: KafkaSource-default_catalog.d.{topic}"}}'


def audited(second: int, found: int) -> Series:
    """Return an audit that ended then and found so many records wrong."""
    return {"sigmaflow_audit_timestamp_seconds": f"{second}x20", "sigmaflow_audit_found_records": f"{found}x20"}


def late(buckets: str, within: str, good: int) -> Series:
    """Return a histogram of 100 events a second of which so many are in time."""
    return {buckets % within: f"0+{60 * good}x20", buckets % "+Inf": "0+6000x20"}


# For each alert: what makes it fire after twenty minutes, and what does not. Values come once a minute.
CASES: dict[str, tuple[list[Series], list[Series]]] = {
    "JobNotRunning": ([{}, {RUNNING: "1+60000x17 0x10"}, {RUNNING: "1+60000x20", RUNNING.replace("pipe", "x"): "0x20"}],
                      [{RUNNING: "1+60000x20"}, {RUNNING: "1+60000x20", RUNNING.replace(JOB, APART): "0x20"}]),
    "JobRestarting": ([{RESTARTS: "0x12 1 2 3 4 5 5x20"}],
                      [{RESTARTS: "0x12 1 1x20"}, {RESTARTS.replace(JOB, APART): "0+1x20"}]),
    "CheckpointsMissing": ([{COMPLETED: "0+60000x10 600000x20"}],
                           [{COMPLETED: "0+60000x20"}, {COMPLETED.replace(JOB, APART): "0x20"}]),
    "ConsumerLag": ([{f"{OPERATOR}pendingRecords{{{JOB}}}": "30000x20"}],
                    [{f"{OPERATOR}pendingRecords{{{JOB}}}": "500x20"},
                     {f"{OPERATOR}pendingRecords{{{APART}}}": "30000x20"}]),
    "ResultsLag": ([{'sigmaflow_consumer_lag_records{topic="equity.v1"}': "60000x20"},
                    {"sigmaflow_results_pending_rows": "60000x20"}],
                   [{'sigmaflow_consumer_lag_records{topic="equity.v1"}': "10x20",
                     "sigmaflow_results_pending_rows": "10x20"}]),
    "SourceIdle": ([{source("market.ticks.v1"): "61000x20"}],
                   [{source("market.ticks.v1"): "900x20", source("market.ticks.v1.dlq"): "3600000x20"},
                    {source("market.ticks.v1", APART): "61000x20"}]),
    "DeadLetters": ([{'sigmaflow_rejected_ticks_total{reason="crossed"}': "0+120x20",
                      'sigmaflow_topic_records_total{topic="market.ticks.v1"}': "0+6000x20"}],
                    [{'sigmaflow_rejected_ticks_total{reason="crossed"}': "0+30x20",
                      'sigmaflow_rejected_ticks_total{reason="duplicate"}': "0+600x20",
                      'sigmaflow_topic_records_total{topic="market.ticks.v1"}': "0+6000x20"}]),
    "FailedCommittables": ([{FAILED: "0x18 1x2", RUNNING: "1+60000x20"}],
                           [{FAILED: "0x20", RUNNING: "1+60000x20"},
                            {FAILED: "0x10 _x2 1x20", RUNNING: "1+60000x10 0 1+60000x20"},
                            {FAILED: "0x10 _x2 0 1x20", RUNNING: "1+60000x10 0 1+60000x20"}]),
    "CommittablesUnsure": ([{FAILED: "0x10 _x2 1x20", RUNNING: "1+60000x10 0 1+60000x20"},
                            {FAILED: "0x10 _x2 1x20", RUNNING: "1+60000x10 0 1+60000x20", **audited(500, 0)},
                            {FAILED: "0x10 _x2 1x20", RUNNING: "1+60000x10 0 1+60000x20", **audited(1_100, 1)}],
                           [{FAILED: "0x20", RUNNING: "1+60000x20"},
                            {FAILED: "0x10 _x2 1x20", RUNNING: "1+60000x10 0 1+60000x20", **audited(1_100, 0)}]),
    "KillSwitch": ([{'sigmaflow_trading_state{account="paper", state="HALTED"}': "0x19 1"}],
                   [{'sigmaflow_trading_state{account="paper", state="REDUCING"}': "1x20"}]),
    "ReducingOnly": ([{'sigmaflow_trading_state{account="paper", state="REDUCING"}': "1x20"}],
                     [{'sigmaflow_trading_state{account="paper", state="ACTIVE"}': "1x20"}]),
    "LimitBreach": ([{'sigmaflow_limit_use_ratio{account="paper", limit="gross"}': "1.2x20"}],
                    [{'sigmaflow_limit_use_ratio{account="paper", limit="gross"}': "1x20"}]),
    "Drawdown": ([{'sigmaflow_drawdown_ratio{account="paper"}': "0.09x20"}],
                 [{'sigmaflow_drawdown_ratio{account="paper"}': "0.07x20"}]),
    "AuditMismatch": ([{"sigmaflow_audit_found_records": "2x20"}], [{"sigmaflow_audit_found_records": "0x20"}, {}]),
    "FeedStale": ([{'sigmaflow_market_last_tick_timestamp_seconds{venue="SIM", symbol="A"}': "0+60x18 1080x10"}],
                  [{'sigmaflow_market_last_tick_timestamp_seconds{venue="SIM", symbol="A"}': "0+60x20",
                    'sigmaflow_market_last_tick_timestamp_seconds{venue="SIM", symbol="B"}': "0x20"}]),
    "SlowDataStale": ([{AGE_OF % "DFF": "0+60x30", INTERVAL: "60x30"}, {AGE_OF % "DFF": "4000x30", INTERVAL: "60x30"}],
                      [{AGE_OF % "DFF": "70x30", INTERVAL: "60x30"},
                       {AGE_OF % "DFF": "0+60x30", INTERVAL: "3600x30"}]),
    "DiskFilling": ([{"sigmaflow_disk_free_bytes": "9x20", "sigmaflow_disk_size_bytes": "100x20"},
                     {"sigmaflow_disk_free_bytes": "80-0.5x20", "sigmaflow_disk_size_bytes": "100x20"}],
                    [{"sigmaflow_disk_free_bytes": "50x20", "sigmaflow_disk_size_bytes": "100x20"}]),
    "TargetDown": ([{'up{job="flink", instance="a"}': "1x15 0x10"}], [{'up{job="flink", instance="a"}': "1x20"}]),
    "UndecodableRecords": ([{'sigmaflow_undecodable_records_total{topic="fills.v1"}': "0x19 1"}],
                           [{'sigmaflow_undecodable_records_total{topic="fills.v1"}': "0x20"}]),
    "SignalsLate": ([late(AGE, "0.02", 20)], [late(AGE, "0.02", 97), late(AGE.replace(JOB, APART), "0.02", 20), {}]),
    "ExecutionsLate": ([late(FILL, "0.1", 20)], [late(FILL, "0.1", 97)]),
    "ChainUnavailable": ([{RUNNING: "1+60000x10 0x20"}],
                         [{RUNNING: "1+60000x20"}, {RUNNING: "0 1+60000x20"}]),
}


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_case() -> None:
    assert {alert["alert"] for alert in alerts()} == set(CASES)


NOT_CAUSED = {"FailedCommittables"}
"""Why: the head of tests/pipeline/monitoring/test_alerts.py."""


def test_every_other_alert_is_caused_on_a_stack() -> None:
    caused = (ROOT / "tests" / "pipeline" / "monitoring" / "test_alerts.py").read_text()
    assert {a["alert"] for a in alerts() if f'"{a["alert"]}"' not in caused} == NOT_CAUSED


def test_every_alert_has_a_runbook_that_names_it_and_no_runbook_is_left_over() -> None:
    for alert in alerts():
        page = (ROOT / alert["annotations"]["runbook_url"]).read_text()
        assert alert["alert"] in page.splitlines()[0] and "## Look at" in page and "## Do" in page
        assert alert["labels"]["severity"] in ("page", "ticket") and alert["annotations"]["summary"]
    named = {Path(alert["annotations"]["runbook_url"]).name for alert in alerts()}
    assert named == {file.name for file in (ROOT / "deploy" / "runbooks").glob("*.md")} - {"README.md"}


def test_runbooks_name_make_targets_and_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = "".join(file.read_text() for file in (ROOT / "deploy" / "runbooks").glob("*.md"))
    assert set(re.findall(r"`make\s+([a-z][a-z-]*)", pages)) <= targets


def test_promises_are_bounds_of_their_histograms() -> None:
    assert 0.02 in BOUNDS_S and 0.1 in BUCKETS_S
    for level in LEVELS:
        for burn in BURNS:
            assert burn.rate * (1 - level.objective) < 1, "an alert above 100 % bad can never fire"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, part of Prometheus, is not on PATH")
def test_rules_are_valid() -> None:
    checked = subprocess.run([str(PROMTOOL), "check", "rules", *map(str, RULES)], capture_output=True, text=True,
                             check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_quicker_rule_differs_in_durations_alone() -> None:
    for file in RULES:
        shipped, quick = (yaml.safe_load(rules.quicker(file.read_text(), pace)) for pace in (1.0, 0.1))
        for before, after in zip(shipped["groups"], quick["groups"], strict=True):
            for old, new in zip(before["rules"], after["rules"], strict=True):
                assert {k: v for k, v in old.items() if k not in ("expr", "for")} == {
                    k: v for k, v in new.items() if k not in ("expr", "for")}
                assert rules.WINDOW.sub("[]", old["expr"]) == rules.WINDOW.sub("[]", new["expr"])
                assert old.keys() == new.keys()
                assert (old["expr"] != new["expr"]) == bool(rules.WINDOW.search(old["expr"]))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, part of Prometheus, is not on PATH")
def test_quicker_rules_are_valid(tmp_path: Path) -> None:
    for file in RULES:
        (tmp_path / file.name).write_text(rules.quicker(file.read_text(), 0.1))
    checked = subprocess.run([str(PROMTOOL), "check", "rules", *map(str, tmp_path.glob("*.yml"))], capture_output=True,
                             text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def group(alert: str, series: Series, fires: bool) -> dict[str, Any]:
    """Return one promtool test: whether the alert fires after twenty minutes of these series."""
    expr = f'count by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}}) > bool 0'
    return {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": expr, "eval_time": "20m", "exp_samples":
                                  [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if fires else []}]}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool, part of Prometheus, is not on PATH")
def test_alerts_fire_when_they_must_and_not_otherwise(tmp_path: Path) -> None:
    tests = [group(alert, series, fires) for alert, cases in CASES.items()
             for fires, held in zip((True, False), cases, strict=True) for series in held]
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(file) for file in RULES], "evaluation_interval": "30s",
                                    "tests": tests}))
    ran = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
