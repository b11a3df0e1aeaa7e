"""Metrics as Prometheus reads them, over HTTP."""

from __future__ import annotations

import socket
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from connectors.metrics import serve

Samples = dict[tuple[str, tuple[str, ...]], float]


def exposed(*collectors: Collector) -> Samples:
    """Every sample, by name and label values in alphabetical order of the labels."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = serve(collectors, "127.0.0.1", port)
    try:
        return scraped(port)
    finally:
        server.shutdown()
        server.server_close()


def scraped(port: int) -> Samples:
    """The same of a server that runs."""
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return {(sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}
