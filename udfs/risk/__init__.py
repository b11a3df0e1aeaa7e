"""Estimators of market risk and their backtests: pure functions on arrays, and the kernels that the stages run."""
