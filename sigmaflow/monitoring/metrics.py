"""Flink's metrics by what they mean: names as its PrometheusReporter gives them (2.3)."""
from __future__ import annotations

JOB = "flink_jobmanager_job_"
OPERATOR = "flink_taskmanager_job_task_operator_"
TASK = "flink_taskmanager_job_task_"

# jobs/chain/meters.py
TICKS = f"{OPERATOR}ticks"
TICK_AGE = f"{OPERATOR}le_tick_age_seconds_bucket"
CALL = f"{OPERATOR}le_call_seconds_bucket"
RESIDENT = f"{OPERATOR}process_resident_bytes"

RESTARTS = f"{JOB}numRestarts"
RUNNING_TIME = f"{JOB}runningTime"
CHECKPOINT_DURATION = f"{JOB}lastCheckpointDuration"
CHECKPOINT_COMPLETED = f"{JOB}lastCheckpointCompletedTimestamp"
FAILED_CHECKPOINTS = f"{JOB}numberOfFailedCheckpoints"
STATE_BYTES = f"{JOB}lastCheckpointFullSize"
PENDING = f"{OPERATOR}pendingRecords"
EMIT_LAG = f"{OPERATOR}currentEmitEventTimeLag"
SOURCE_IDLE = f"{OPERATOR}sourceIdleTime"
BUSY = f"{TASK}busyTimeMsPerSecond"
BACK_PRESSURE = f"{TASK}backPressuredTimeMsPerSecond"
COMMITTED = f"{OPERATOR}successfulCommittables"
FAILED_COMMITTABLES = f"{OPERATOR}failedCommittables"

CHAIN = 'job_name=~"[a-z]+ [(][^)]*[)]"'
"""Jobs of the chain: a run apart has its namespace behind the bracket."""
