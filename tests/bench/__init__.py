"""Benchmarks: `python -m tests.bench.NAME` prints one line a figure, and fails where a figure is not met."""
