"""The bench's arithmetic, its result file, its processor sampling, and the peers' strategy against the plain one."""
from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaflow.bench import command, cpu, figures, growth, latency, load, peers, record, throughput, ticks
from sigmaflow.settings import load as settings
from tests.reference_strategy import checksums
from tests.reference_strategy import ticks as plain_ticks

SHARED = Path(__file__).resolve().parents[4] / "shared" / "bench" / "reference.json"


@pytest.mark.parametrize("module", [cpu, figures, latency, load, peers, throughput])
def test_examples_in_docstrings_hold(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0 and found.attempted > 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_percentiles_are_numpys_inverted_distribution(values: list[float]) -> None:
    found = figures.percentiles(values)
    for name, share in figures.POINTS.items():
        assert found[name] == round(float(np.percentile(values, 100 * share, method="inverted_cdf")), 3)
    assert found["max"] == round(max(values), 3) and found["count"] == len(values)


@pytest.mark.parametrize(("name", "by", "wrong"), [("fills", 1, True), ("pnl", 2**-7, True), ("sig", 5e-5, False),
                                                   ("sig", 2e-4, True), ("cv", 1e-12, False), ("cv", 1e-3, True),
                                                   ("sig", float("nan"), True), ("cv", float("nan"), True)])
def test_checksums_differ_where_the_semantics_say_so(name: str, by: float, wrong: bool) -> None:
    wanted = ticks.SUMS[20_000]
    assert bool(figures.differences(wanted | {name: wanted[name] + by}, wanted)) == wrong


def test_sums_are_those_of_the_shared_reference() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not part of the project")
    theirs = {int(rows): {name: sums[name] for name in (*figures.EXACT, "sig", "cv")}
              for rows, sums in json.loads(SHARED.read_text()).items()}
    assert {rows: dict(sums) for rows, sums in ticks.SUMS.items()} == theirs


def test_an_estimate_ends_at_what_runs_once() -> None:
    cost = figures.Cost(shard_us=4.0, single_us=5.0, all_us=20.0, broker_us=4.0)
    found = figures.cluster_estimate(cost, 4)
    rates = [r["ticks_per_s"] for r in found.values()]
    assert rates == sorted(rates) and rates[-1] == 200_000 and found["32"]["bound"] == "single thread"


def test_slots_are_estimated_from_a_throughput_result() -> None:
    threads = {"taskmanagers: Python operator: admit, features": 4.0,
               "taskmanagers: Python operator: order, sizing": 5.0,
               "taskmanagers: compiler": 9.0, "kafka: Kafka requests": 2.0}
    result = {"cpu_us_by_thread": threads, "cpu_us_by_program": {"taskmanagers": 20.0, "kafka": 3.0}}
    assert growth.slots(result)["2"] == {"ticks_per_s": 100_000, "broker_cores": 0.3, "bound": "cores"}


def test_rates_rise_until_one_is_not_kept_up_with() -> None:
    def measure(rate: float) -> dict[str, Any]:
        late = figures.percentiles([20.0 if rate < 4_000 else 5_000.0])
        cost = {"cpu_us_per_tick": 1e6 / rate, "cpu_us_by_program": {}}
        return cost | {"opportunity": late, "decision": late, "else": 1}

    found = growth.rates(measure, (1_000.0, 2_000.0, 4_000.0, 8_000.0))
    assert list(found) == ["1000", "2000", "4000"] and found["2000"]["cpu_us_per_tick"] == 500
    assert found["4000"]["opportunity"]["p50"] == 5_000 and "else" not in found["4000"]


@pytest.mark.parametrize(("times", "values"), [([], []), ([1.0], [2.0])])
def test_flatness_of_too_little_is_unknown(times: list[float], values: list[float]) -> None:
    assert figures.flatness(times, values, 1.0) == {}


@pytest.mark.parametrize("values", [np.zeros(0, np.int64), np.full(3, 7, np.int64)])
def test_latencies_of_nothing_and_of_late_warm_up(values: np.ndarray) -> None:
    assert len(latency.latencies(values, values, np.array([7]), np.array([100]), first_ns=101)) == 0


def test_processor_time_is_found_by_program_and_children_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with cpu.Sampler(cpu.Processes({os.getpid(): "tests"})) as sampler:
            time.sleep(1.2)
        used = cpu.grouped(sampler.between(sampler.at[0], sampler.at[-1]), cpu.by_program)
    finally:
        child.kill()
        child.wait()
    assert used["tests"] > 0.1
    assert cpu.resident({os.getpid(): "tests"})["tests"] > 2**20


def test_samples_are_linear_between_two_moments() -> None:
    held = [{("a", "x"): 0.0}, {("a", "x"): 4.0}]
    sampler = cpu.Sampler(cpu.Processes({}), at=[10.0, 14.0], held=held)
    assert sampler.between(11.0, 13.0) == {("a", "x"): 2.0}
    assert sampler.between(0.0, 99.0) == {("a", "x"): 4.0}


def test_a_peer_with_other_sums_gives_no_figure() -> None:
    sums = ticks.SUMS[20_000]
    said: dict[str, Any] = {"ticks": 20_000, "seconds": 2.0, "cpu_s": 1.0, "ended_s": 12.0, "sums": sums,
            "note": "", "versions": {}}
    good = peers.result("loop", said, 20_000, sums, lambda start, end: {("kafka", "x"): 0.1 * (end - start)})
    assert good["ticks_per_s"] == 10_000 and good["cpu_us_by_program"] == {"loop": 50.0, "kafka": 10.0}
    with pytest.raises(peers.Unusable, match="fills 1, not 462"):
        peers.result("loop", said | {"sums": said["sums"] | {"fills": 1}}, 20_000, sums, lambda start, end: {})
    with pytest.raises(peers.Unusable, match="19"):
        peers.result("loop", said | {"ticks": 19}, 20_000, sums, lambda start, end: {})


def test_an_environment_that_cannot_be_made_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder can be made in it")
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path / "file")
    with pytest.raises(peers.Unusable, match="cannot be made"):
        peers.prepare("nautilus")


def test_every_peer_has_a_program_and_pins() -> None:
    for peer in peers.PEERS:
        pins = (peers.PROGRAMS / f"{peer.environment}.txt").read_text().split()
        assert (peers.PROGRAMS / peer.program).exists() and all("==" in pin for pin in pins)


def test_results_are_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = {"ticks_per_s": 60_000.0, "cpu_us_per_tick": 20.0, "cpu_us_by_language": {"jvm": 9.0}, "start_s": 9.0}
    results: dict[str, Any] = {
        "commit": record.commit(), "machine": record.machine(), "versions": record.versions(settings()),
        "throughput": {"pipeline/reference": result},
        "latency_ms": {"2000": {"opportunity": figures.percentiles([1.0, 2.0]), "fill": figures.percentiles([])}},
        "peers": {"kafka-loop": result | {"note": "none"}, "nautilus": {"reason": "absent"}},
        "growth": {"rates": {"500": result | {"opportunity": figures.percentiles([20.5])}}, "time": {
            "minutes": 60, "flatness": {"checkpoint_bytes": {"early": 1.0, "late": 1.5, "ratio": 1.5}}}}}
    command._ratios(results)
    assert results["ratios"] == {"kafka-loop": 1.0}
    results["beside_peers"] = [90_000.0, 120_000.0]
    command._ratios(results)
    assert results["ratios"] == {"kafka-loop": 1.75}
    record.write(results, tmp_path / "deep" / "bench.json")
    assert json.loads((tmp_path / "deep" / "bench.json").read_text()) == results
    record.show(results)
    shown = capsys.readouterr().out
    assert "growth at 500 ticks/s" in shown and "missed  state in a checkpoint" in shown
    assert "120,000 ticks/s" in shown and "absent" in shown
    assert "missed  pipeline, reference" in shown and "reached times the Kafka loop" in shown


def test_parts_are_checked() -> None:
    assert command._parts("") == command.PARTS and command._parts("latency,peers") == ("latency", "peers")
    with pytest.raises(Exception, match="speed"):
        command._parts("speed")


def _beside_the_peers(name: str) -> Any:
    sys.path.insert(0, str(peers.PROGRAMS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(peers.PROGRAMS))


@pytest.fixture(scope="module")
def strategy() -> Any:
    """The peers' own kernel, which they import from beside them."""
    return _beside_the_peers("strategy")


@pytest.fixture(scope="module")
def plain() -> Any:
    """The same in plain Python."""
    return _beside_the_peers("plain")


@pytest.mark.parametrize("rows", [1, 400, 6_000])
def test_the_peers_strategy_is_the_reference(rows: int) -> None:
    columns, program = plain_ticks(rows, symbols=3), _beside_the_peers("sums")
    found = program.checksums(columns["symbol"], [columns[name] for name in program.QUOTE])
    assert figures.differences(found, checksums(columns)) == [] and found["ticks"] == rows


def test_sums_of_another_file_are_computed(tmp_path: Path) -> None:
    columns = plain_ticks(3_000, symbols=3)
    file = tmp_path / "ticks.parquet"
    pq.write_table(pa.table(columns | {"symbol": [f"S{n}" for n in columns["symbol"].tolist()]}), file)
    of = ticks.reference(file)
    assert of.portion(5_000) == of.rows == 3_000 and of.portion(2_000) == 2_000
    wanted = checksums({name: column[:2_000] for name, column in columns.items()})
    assert figures.differences(of.sums(2_000), wanted) == []


def test_of_our_own_ticks_as_many_are_taken_as_have_published_sums() -> None:
    own = ticks.Reference(ticks.FILE, ticks.ROWS)
    assert own.portion(250_000) == 200_000 and own.portion(5) == 20_000
    assert own.sums(200_000) == ticks.SUMS[200_000]


@pytest.mark.parametrize("rows", [1, 400, 6_000])
def test_the_peers_plain_strategy_is_the_reference(strategy: Any, plain: Any, rows: int) -> None:
    columns = plain_ticks(rows, symbols=3)
    states = [plain.state() for _ in range(3)]
    fills = 0
    for slot, *quote in zip(*(columns[name].tolist() for name in ("symbol", "bid", "ask", "bid_size", "ask_size")),
                            strict=True):
        fills += plain.step(states[slot], *quote) is not None
    found = strategy.sums(states)
    assert figures.differences(found, checksums(columns)) == [] and found["fills"] == fills and found["ticks"] == rows
    assert sum(plain.row("A", 0, state)["pnl"] for state in states) == found["pnl"]


def test_the_peers_decoders_read_our_ticks(strategy: Any, plain: Any) -> None:
    from connectors.market.simulator import Config, generate
    from connectors.ticks import TickEncoder

    chunk = next(generate(Config(symbols=4, count=700)))
    _, messages = TickEncoder(5).encode(chunk)
    out = np.empty(4)
    for n, message in enumerate(messages):
        buf = np.frombuffer(message, np.uint8)
        start, end = strategy.symbol(buf, 0)
        ts = strategy.quote(buf, end, out)
        assert message[start:end].decode() == chunk.instruments[chunk.instrument[n]][1]
        assert out.tolist() == [chunk.bid[n], chunk.ask[n], chunk.bid_size[n], chunk.ask_size[n]]
        at = plain.place(message)
        assert plain.quote(message, at) == tuple(out) and plain.when(message, at) == ts == chunk.ts_event[n]
