"""`make bench`: how fast the chain is, beside what others would write, and what it costs as the load grows."""
