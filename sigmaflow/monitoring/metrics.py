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

MEANINGS = {
    TICKS: "Ticks that an operator has taken. A counter, as are all of the operator's own.",
    f"{OPERATOR}gaps": "Ticks before which sequence numbers are missing.",
    TICK_AGE: "Age of a tick behind the operator, from receipt by the source; a bucket for each `le`, in seconds.",
    f"{OPERATOR}tick_age_milliseconds_sum": "Sum of these ages.",
    CALL: "Time of one call of Python, a micro-batch; a bucket for each `le`, in seconds.",
    f"{OPERATOR}call_milliseconds_sum": "Sum of these times.",
    RESIDENT: "Memory of the process that runs Python, in thread mode the whole TaskManager; it rises and falls.",
    RESTARTS: "Restarts of a job.",
    RUNNING_TIME: "Time that a job has been running without a break, ms; 0 while it does not run.",
    CHECKPOINT_DURATION: "Time the last completed checkpoint took, ms.",
    CHECKPOINT_COMPLETED: "When it completed, ms since 1970.",
    FAILED_CHECKPOINTS: "Checkpoints that failed.",
    STATE_BYTES: "Full size of the last checkpoint.",
    PENDING: "Records in Kafka that a source has not read yet.",
    EMIT_LAG: "Event time of what a source last gave, behind the clock, ms.",
    SOURCE_IDLE: "Time since a source last had a record, ms.",
    BUSY: "Time in a second that a task worked, ms.",
    BACK_PRESSURE: "Time in a second that a task was held up by the one behind it, ms.",
    COMMITTED: "Transactions that an exactly-once sink has committed.",
    FAILED_COMMITTABLES: "Transactions that the broker refused; each is lost records, see the alert.",
    "flink_jobmanager_Status_JVM_Memory_Heap_Used": "Java heap in use in the JobManager, bytes.",
    "flink_taskmanager_Status_JVM_Memory_Heap_Used": "The same in a TaskManager.",
    "flink_taskmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond": "Garbage collection in a second, ms.",
}
"""What each metric of Flink means that dashboards and rules use, by its name."""
