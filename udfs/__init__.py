"""The maths: pure steps over columns with explicit state, no Flink, no clock, no randomness."""
