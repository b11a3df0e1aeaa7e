"""Flink wiring: one file a job, the operator they share, and the workers that run the stages inside it."""
import udfs as udfs  # before all else: so numba can be imported in a worker of PyFlink's process mode
