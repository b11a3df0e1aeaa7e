"""A backtest is the chain: same bytes, nothing lost in silence, sums of the reference; and its settings and figures."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from jobs.chain.bounded import Pipeline
from jobs.chain.inprocess import Chain, Log, contracts
from jobs.chain.messages import DECISIONS, EQUITY, FILLS
from jobs.chain.shard import DEAD
from schemas.codec import Columns, Decoder
from schemas.units import names as amounts
from schemas.units import plain_columns
from sigmaflow import __main__ as program
from sigmaflow import reference, report_stats
from sigmaflow.backtest import engine, figures, inputs, overrides, results
from sigmaflow.backtest.inputs import Input
from sigmaflow.backtest.tick_log import TickLogWriter
from sigmaflow.bench import figures as bench
from sigmaflow.bench.ticks import SUMS
from sigmaflow.bench.ticks import generate as reference_ticks
from sigmaflow.errors import UserError
from tests import reference_strategy
from tests.histories import SPOILT, eager
from udfs import profiles
from udfs.profiles import Profile

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
SHARDS = 4
BINANCE = [SHARED / "binance_spot" / f"{symbol}_20240808.gz" for symbol in ("btcusdt", "ethusdt")]


def quiet(share: float) -> None:
    """Nobody is told."""


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    """Ticks as the reference file has them."""
    symbols = [f"SYM{s}" for s in columns["symbol"].tolist()]
    pq.write_table(pa.table({"symbol": symbols} | {
        name: columns[name] for name in ("ts", "bid", "ask", "bid_size", "ask_size")}), path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parquet(tmp_path_factory.mktemp("ticks") / "ticks.parquet", reference_strategy.ticks(8_000))


@pytest.fixture(scope="module")
def given(file: Path) -> Input:
    return inputs.from_files([file], file.parent / "log", quiet)


def written(given: Input, profile: Profile) -> dict[str, list[bytes]]:
    """Every topic's messages in order."""
    pipeline, out = Pipeline(profile, given.contracts, engine.edges(given), SHARDS), dict[str, list[bytes]]()
    for batch in given.log.batches():
        for e in pipeline.process(batch):
            out.setdefault(e.topic, []).extend(e.values)
    return out


def log_of(given: Input) -> Log:
    """The same input as lists."""
    log: Log = [[] for _ in range(SHARDS)]
    for batch in given.log.batches():
        assert batch.offsets[0] == len(log[batch.shard])
        log[batch.shard] += [message or b"" for message in batch.messages]
    return log


def columns_of(topic: str, schema: str, values: list[bytes]) -> Columns:
    """Messages as columns, amounts plain."""
    known = contracts()
    return plain_columns(Decoder(known.schema(topic), known.writers(topic)).decode(values).columns, amounts(schema))


# ------------------------------------------------------------------------------------------------------ the same chain


@pytest.mark.parametrize("profile", [profiles.REFERENCE, eager()], ids=["reference", "eager"])
def test_bytes_are_those_of_the_chain_over_the_same_log(profile: Profile, given: Input) -> None:
    whole = Chain(profile, SHARDS, 500, seed=3).run(["pipeline"], log_of(given))
    found = written(given, profile)
    assert len(found[FILLS]) > 20
    assert found == {topic: parts[0] for topic, parts in whole.items() if topic in found}
    assert {topic for topic, parts in whole.items() if any(parts)} - {"market.ticks.v1"} == set(found)


def test_sums_of_the_reference_file_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    pq.write_table(reference_ticks().slice(0, 50_000), path)
    found = written(inputs.from_files([path], tmp_path / "log", quiet, 20_000), profiles.REFERENCE)
    sums = reference.sums([columns_of(FILLS, "fill", found[FILLS])],
                          [columns_of(DECISIONS, "decision", found[DECISIONS])])
    assert sums["rows"] == 20_000
    assert not bench.differences(sums, SUMS[20_000])


def test_results_come_while_the_log_is_read(tmp_path: Path, file: Path) -> None:
    """An instrument that falls silent for ever holds nothing up: its partition is known to have ended."""
    columns = reference_strategy.ticks(4_000)
    early = np.flatnonzero(columns["symbol"] == 0)[5:]
    kept = np.setdiff1d(np.arange(4_000), early)
    path = parquet(tmp_path / "t.parquet", {name: held[kept] for name, held in columns.items()})
    given = inputs.from_files([path], tmp_path / "log", quiet)
    batches = [b for batch in given.log.batches() for b in cut(batch, 100)]
    batches.sort(key=lambda batch: batch.offsets[0])
    pipeline, decided = Pipeline(profiles.REFERENCE, given.contracts, engine.edges(given), SHARDS), []
    for batch in batches:
        decided.append(sum(len(e.values) for e in pipeline.process(batch) if e.topic == DECISIONS))
    assert sum(decided) == given.log.rows
    assert sum(decided[:len(decided) // 2]) > 0.3 * given.log.rows


def cut(batch: Any, size: int) -> list[Any]:
    """A micro-batch in pieces."""
    return [type(batch)(batch.source, batch.shard, batch.messages[at:at + size], batch.offsets[at:at + size])
            for at in range(0, len(batch.messages), size)]


# ----------------------------------------------------------------------------------------------------------- the input


@examples(st.lists(st.tuples(st.integers(0, 2), st.lists(st.none() | st.binary(max_size=9), max_size=6), st.booleans()),
                   max_size=8))
def test_a_log_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory,
                                           parts: list[tuple[int, list[bytes | None], bool]]) -> None:
    kept = [(shard, messages, stamped) for shard, messages, stamped in parts if messages]
    with TickLogWriter(tmp_path_factory.mktemp("log") / "log", 3) as writer:
        for shard, messages, stamped in parts:
            writer.append(shard, messages, stamps=[7] * len(messages) if stamped else ())
        log = writer.finish()
        assert [(b.shard, b.messages, b.stamps) for b in log.batches()] == [
            (shard, messages, [7] * len(messages) if stamped else ()) for shard, messages, stamped in kept]
    places = [[place for b in log.batches() if b.shard == shard for place in b.offsets] for shard in range(3)]
    assert places == [list(range(end)) for end in log.ends]
    assert log.rows == sum(log.ends)


def test_every_tick_is_accepted_repeated_or_refused(tmp_path: Path, given: Input) -> None:
    with TickLogWriter(tmp_path / "log", SHARDS) as writer:
        for batch in given.log.batches():
            bad = [SPOILT, None, batch.messages[0]]
            writer.append(batch.shard, [*batch.messages, *bad])
        log = writer.finish()
    ran = engine.run(Input(log, "spoilt", given.contracts), profiles.REFERENCE)
    blocks = len(log.blocks)
    assert ran.results.counts.record() == {
        "ticks": 8_000 + 3 * blocks, "accepted": 8_000, "duplicate": blocks, "rejected": 2 * blocks,
        "rejected_by_reason": {"null_value": blocks, "truncated": blocks}}


def test_first_rows_alone(file: Path, tmp_path: Path) -> None:
    assert inputs.from_files([file], tmp_path / "log", quiet, 70).log.rows == 70
    if SHARED.exists():
        assert inputs.from_files(BINANCE, tmp_path / "log", quiet, 9_000).log.rows == 9_000


def test_recorded_binance_data_make_a_tear_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not SHARED.exists():
        pytest.skip(f"the recordings are not at {SHARED}")
    page = tmp_path / "page.html"
    words = ["backtest", *map(str, BINANCE), "--rows", "20000", "--out", str(page), "--keep", str(tmp_path), "--json"]
    assert program.run(words) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert not told.err
    assert found["ticks"] == found["accepted"] == 20_000 and found["fills"] > 50 and found["ticks_per_second"] > 0
    equity, fill = (pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("equity", "fill"))
    assert found["profit"] == pytest.approx(equity["equity"].iloc[-1] - 1_000_000)
    assert found["fees"] == pytest.approx(fill["fee"].sum()) and len(fill) == found["fills"]
    assert found["config_digest"] in page.read_text() and "Implementation shortfall" in page.read_text()


# -------------------------------------------------------------------------------------------------------- the settings


@pytest.mark.parametrize("profile", profiles.names())
def test_every_setting_takes_the_text_of_its_value(profile: str) -> None:
    base = profiles.get(profile)
    for name in overrides.names():
        part, key = name.split(".")
        value = getattr(getattr(base, part), key)
        text = overrides.JOIN.join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert overrides.apply(base, {name: text}).digest == base.digest, name


def test_a_changed_setting_is_another_profile() -> None:
    made = overrides.apply(profiles.DEFAULT, overrides.parse(["sizing.entry=0.2", "alphas.names=breakout+lead_lag"]))
    assert made.sizing.entry == 0.2 and made.alphas.names == ("breakout", "lead_lag")
    assert made.digest != profiles.DEFAULT.digest and profiles.DEFAULT.sizing.entry == 0.1


@pytest.mark.parametrize(("text", "said"), [
    ("sizing.entri=1", "sizing.entry"), ("entry=1", "sizing.entry"), ("sizing=1", "sizing.entry"),
    ("sizing.entry", "="), ("sizing.entry=", "="),
    ("sizing.entry=2", "less than or equal to 1"), ("sizing.entry=x", "valid number"),
    ("sizing.entry=nan", "entry"), ("risk.garch_alpha=0.5", "below 1"), ("alphas.names=none", "registered are"),
    ("fills.order=other", "'market' or 'limit'"), ("ensemble.weights=1", "give"), ("risk.window=20.5", "integer")])
def test_a_bad_setting_says_what_would_do(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        overrides.apply(profiles.REFERENCE, overrides.parse([text]))
    assert said in str(caught.value)


def test_a_grid_is_every_combination_in_order() -> None:
    assert [overrides.shown(c) for c in overrides.grid(["sizing.entry=0.1,0.2", "risk.window=300,400"])] == [
        "sizing.entry=0.1 risk.window=300", "sizing.entry=0.1 risk.window=400", "sizing.entry=0.2 risk.window=300",
        "sizing.entry=0.2 risk.window=400"]
    for twice in (["sizing.entry=0.1,0.1"], ["sizing.entry=0.1", "sizing.entry=0.2"]):
        with pytest.raises(UserError, match="once"):
            overrides.grid(twice)


# --------------------------------------------------------------------------------------------------------- the figures


def test_figures_are_those_of_the_ledger(given: Input) -> None:
    ran = engine.run(given, eager())
    held = figures.frames(ran, results.trades(given.log, given.contracts))
    found = figures.of(ran, held, eager())
    assert len(held.decisions) == ran.results.counts.accepted == 8_000
    assert found.orders >= 1 and found.fills == len(held.fills)
    assert found.profit == pytest.approx(held.equity["equity"].iloc[-1] - 1_000_000)
    assert found.max_drawdown == held.equity["drawdown"].max()
    assert found.bar_s == report_stats.bar_length(int(np.ptp(held.decisions["ts_order"].to_numpy()))) / 1e9
    lean = engine.run(given, eager(), lean=True)
    assert figures.of(lean, figures.frames(lean, held.trades), eager()) == found


def test_a_run_without_an_admitted_tick_has_figures_too(tmp_path: Path) -> None:
    with TickLogWriter(tmp_path / "log", SHARDS) as writer:
        writer.append(1, [SPOILT] * 3)
        log = writer.finish()
    ran = engine.run(Input(log, "nothing", contracts()), profiles.REFERENCE)
    found = figures.of(ran, figures.frames(ran, results.trades(log, contracts())), profiles.REFERENCE)
    assert (found.equity, found.profit, found.fills, found.bars) == (1_000_000, 0, 0, 0)
    assert found.record()["sharpe"] is None and ran.results.counts.dead["truncated"] == 3
    assert ran.results.frames[EQUITY].whole().empty and DEAD not in ran.results.frames


@pytest.mark.skipif(not SHARED.exists(), reason=f"the recordings are not at {SHARED}")
@pytest.mark.parametrize("words", [
    ["backtest", str(BINANCE[0]), "--set", "sizing.entri=1"], ["backtest", str(BINANCE[0]), "--profile", "none"],
    ["backtest", str(BINANCE[0]), "--engine", "none"], ["backtest", str(BINANCE[0]), "--model", "x"],
    ["backtest", str(BINANCE[0]), str(BINANCE[0])], ["backtest", str(BINANCE[0]), "--from", "market"],
    ["backtest", str(BINANCE[0]), "--since", "2026-01-31"], ["backtest", "--from", "market", "--since", "noon"],
    ["sweep", str(BINANCE[0])], ["sweep", str(BINANCE[0]), "--grid", "sizing.entry=0.1", "--set", "sizing.entry=0.1"]])
def test_what_cannot_be_run_is_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(words) == 2
    told = capsys.readouterr()
    assert not told.out and len(told.err.strip().splitlines()) == 1 and "must" in told.err


def test_nothing_is_left_in_the_temporary_folder(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert program.run(["backtest", str(file), "--profile", "reference", "--out", str(tmp_path / "o" / "p.html")]) == 0
    assert os.listdir(tmp_path) == ["o"]
    assert "ticks/s" in capsys.readouterr().out
