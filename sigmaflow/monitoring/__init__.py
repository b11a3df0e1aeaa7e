"""Dashboards and service levels as code: `python -m sigmaflow.monitoring` writes them into docker/.

Tests hold the files to this code, every query to its database, and every alert to a runbook. Building needs the
development packages; reading the dashboards (`queries.py`) does not.
"""
