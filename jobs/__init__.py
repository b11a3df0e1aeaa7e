"""Flink wiring: one file a job, the operator they share, and the workers that run the stages inside it."""
