"""Backtest: the chain's own job on files or on a span of the log, bounded, without servers; one run or a sweep."""
