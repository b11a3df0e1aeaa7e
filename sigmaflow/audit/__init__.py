"""The independent auditor: reads only Kafka topics and checks that what they say can be true.

It shares no code with the chain that it audits (no import of `jobs`, `udfs` or the codec), so that a fault there cannot
hide itself here. `make audit` runs it over the broker; `check.audit` over a `Log` in memory.
"""
