"""The maths: pure steps over columns with explicit state, no Flink, no clock, no randomness."""
import builtins

# PyFlink's process mode puts a method of its own in print's place (beam_sdk_worker_main.py), and numba, which looks
# print up by name, then refuses to be imported in the worker. Give it the real one back.
builtins.print = getattr(getattr(print, "__self__", None), "_print", print)
