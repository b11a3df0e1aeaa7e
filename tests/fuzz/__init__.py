"""Coverage-guided fuzzing of what reads bytes from outside: admission, and every reader of recorded market data.

`make fuzz CASES=1000000` or `python -m tests.fuzz`; the last line is one JSON object, the exit code 1 when anything was
lost, doubled, different or crashed. No fuzzing engine is a dependency: the common one for Python (atheris) has no wheel
for Linux on ARM, where it would have to be compiled.
"""
