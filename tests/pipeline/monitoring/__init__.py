"""Panels and alerts on a running stack: a package, so that its files share one market (conftest.py)."""
