"""The chain's promises, on its own workers without Flink: reference sums, one job or six, any cut, any restart."""
from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import schemas
from jobs.chain import options, plans
from jobs.chain.inprocess import Chain, Log, contracts
from jobs.chain.ledger import GATES
from jobs.chain.microbatch import _murmur, spread_keys
from jobs.chain.plans import TAPS
from jobs.chain.shard import TICKS
from schemas.codec import NULL_LONG, Decoder, Encoder
from schemas.packed import Text
from sigmaflow import sample_log
from sigmaflow.errors import UserError
from tests import reference_strategy
from tests.models import example
from udfs import profiles
from udfs.models import Models
from udfs.money import UNIT
from udfs.stages import sizing

SHARDS = 3
RESULTS = ("intents.v1", "fills.v1", "equity.v1", "decisions.v1")


def log(columns: dict[str, Any], shards: int = SHARDS) -> Log:
    """Ticks as messages, each symbol in one shard."""
    rows = len(columns["ts"])
    names = [b"SYM%d" % s for s in range(int(columns["symbol"].max()) + 1)]
    seq = np.zeros(rows, np.int64)
    for s in range(len(names)):
        at = np.flatnonzero(columns["symbol"] == s)
        seq[at] = np.arange(1, len(at) + 1)
    zeros = np.zeros(rows, np.int64)
    made = {"venue": Text.table([b"REF"]).take(zeros), "symbol": Text.table(names).take(columns["symbol"]), "seq": seq,
            "ts_event": columns["ts"], "ts_recv": columns["ts"], "flags": zeros}
    none = {"last_price": np.full(rows, np.nan), "last_size": np.full(rows, np.nan), "last_side": zeros}
    made |= {name: columns.get(name, missing) for name, missing in none.items()}
    made |= {name: columns[name].astype(float) for name in ("bid", "ask", "bid_size", "ask_size")}
    messages = Encoder(schemas.load("tick"), contracts().id(TICKS)).encode(made, rows)
    return [[messages[i] for i in np.flatnonzero(columns["symbol"] % shards == shard)] for shard in range(shards)]


def read(topics: dict[str, Log], topic: str) -> dict[str, Any]:
    """One topic's partitions, one behind the other, as columns."""
    schema = schemas.load(schemas.topics()[topic].schema)
    messages = [m for part in topics.get(topic, []) for m in part]
    return Decoder(schema, {contracts().id(topic): schema}).decode(messages).columns


def in_order(values: Any, held: dict[str, Any], decisions: dict[str, Any]) -> list[float]:
    """A column of a keyed topic in the order of the account."""
    by_tick = dict(zip(held["tick_id"].tolist(), values.tolist(), strict=True))
    return [by_tick[tick] for tick in decisions["tick_id"].tolist()]


@pytest.fixture(scope="module")
def columns() -> dict[str, Any]:
    return reference_strategy.ticks(8_000)


@pytest.fixture(scope="module")
def ticks(columns: dict[str, Any]) -> Log:
    return log(columns)


@pytest.fixture(scope="module")
def one(ticks: Log) -> dict[str, Log]:
    return Chain(profiles.REFERENCE, SHARDS, taps=TAPS).run(["pipeline"], ticks)


def test_reference_sums_equal_a_plain_program(columns: dict[str, Any], one: dict[str, Log]) -> None:
    wanted = reference_strategy.checksums(columns)
    fills, decisions, risk = (read(one, topic) for topic in ("fills.v1", "decisions.v1", "risk.v1"))
    assert wanted["fills"] > 20
    assert len(fills["quantity"]) == wanted["fills"]
    profits = decisions["symbol_pnl"].tolist()
    assert sum(fills["quantity"].tolist()) == wanted["volume"] * UNIT
    assert sum(profits) == Fraction(wanted["eq"]) * UNIT
    assert decisions["spread"].sum() == wanted["spr"]
    last = {decisions["symbol"].at(i): p for i, p in enumerate(profits)}
    assert sum(last.values()) == Fraction(wanted["pnl"]) * UNIT
    assert decisions["score"].tolist() == in_order(risk["score"], risk, decisions)
    assert decisions["cvar_975"].tolist() == in_order(risk["cvar_975"], risk, decisions)
    assert risk["score"].sum() == pytest.approx(wanted["sig"], abs=1e-6)
    assert risk["cvar_975"][risk["warm"] > 0].sum() == pytest.approx(wanted["cv"], rel=1e-9)


@pytest.mark.parametrize("profile", profiles.names())
@pytest.mark.parametrize(("largest", "seed"), [(7, 1), (200, 2), (3_000, 3)])
def test_six_jobs_write_the_bytes_of_one(profile: str, largest: int, seed: int, ticks: Log) -> None:
    p = profiles.get(profile)
    whole = Chain(p, SHARDS, taps=TAPS).run(["pipeline"], ticks)
    six = Chain(p, SHARDS, largest, seed).run(plans.JOBS, ticks)
    for topic in (*TAPS, *RESULTS):
        assert six[topic] == whole[topic], topic


@pytest.mark.parametrize("seed", [1, 2])
def test_cuts_and_restarts_change_no_byte(seed: int, ticks: Log, one: dict[str, Log]) -> None:
    again = Chain(profiles.REFERENCE, SHARDS, 50, seed, restart=0.05, taps=TAPS).run(["pipeline"], ticks)
    assert again == one


def test_six_jobs_restarted_at_random(ticks: Log, one: dict[str, Log]) -> None:
    six = Chain(profiles.REFERENCE, SHARDS, 50, 4, restart=0.05).run(plans.JOBS, ticks)
    for topic in (*TAPS, *RESULTS):
        assert six[topic] == one[topic], topic


@pytest.mark.parametrize("profile", profiles.names())
def test_what_an_impatient_run_wrote_is_computed_again(profile: str, ticks: Log) -> None:
    """It gave up on shards that did send earlier ticks later; its frontiers tell every other run what it did."""
    p = profiles.get(profile)
    live = Chain(p, SHARDS, 40, 5, taps=TAPS, impatient=0.1)
    made = live.run(["pipeline"], ticks)
    assert made["decisions.v1"] != Chain(p, SHARDS, taps=TAPS).run(["pipeline"], ticks)["decisions.v1"]
    for jobs, seed in ((["pipeline"], 6), (plans.JOBS, 7)):
        again = Chain(p, SHARDS, 300, seed, restart=0.02, taps=TAPS).run(jobs, ticks, live.edges.held)
        for topic in (*TAPS, *RESULTS):
            assert again[topic] == made[topic], topic


def test_every_opportunity_has_a_decision_in_a_whole_chain(ticks: Log, one: dict[str, Log]) -> None:
    decisions, sized, filled = (read(one, topic) for topic in ("decisions.v1", "intents.v1", "fills.v1"))
    assert decisions["account_seq"].tolist() == list(range(1, sum(map(len, ticks)) + 1))
    assert (np.diff(decisions["ts_order"]) >= 0).all()
    chain = b""
    for row, message in enumerate(one["decisions.v1"][0]):
        chain = hashlib.blake2b(message[5:-33] + chain, digest_size=16).hexdigest().encode()
        assert decisions["chain"].at(row) == chain
    sent = decisions["order_id"][decisions["order_id"] != NULL_LONG]
    assert not filled["remaining"].any()
    assert sent.tolist() == filled["order_id"].tolist()
    made = decisions["intent_id"] != NULL_LONG
    assert decisions["intent_id"][made].tolist() == sized["intent_id"].tolist()
    assert set(decisions["gates.count"][made]) == {len(GATES)}
    assert set(decisions["gates.count"][~made]) == {len(sizing.GATES)}
    assert all(decisions["failed_gate"].at(row) for row in np.flatnonzero(~made))


def test_gates_of_the_contract_are_those_of_the_stages() -> None:
    gates = next(field for field in schemas.load("decision")["fields"] if field["name"] == "gates")
    assert gates["type"]["items"]["fields"][0]["type"]["symbols"] == [*GATES, "unknown"]


def test_every_offset_is_accepted_duplicate_or_rejected(ticks: Log) -> None:
    dirty = [[m for message in part for m in ((message, message) if n % 5 == 0 else (message,))] + [b"\0broken"]
             for n, part in enumerate(ticks)]
    topics = Chain(profiles.REFERENCE, SHARDS, 100, taps=("features.v1",)).run(["pipeline"], dirty)
    accepted, dead = sum(map(len, topics["features.v1"])), len(topics["market.ticks.v1.dlq"][0])
    assert accepted + dead == sum(map(len, dirty))
    assert accepted == sum(map(len, ticks))


def test_ledger_adds_up_at_every_row(ticks: Log) -> None:
    eager = profiles.DEFAULT.sizing.model_copy(update={"cost_ratio": 0.0, "entry": 0.02})  # random quotes tell little
    profile = profiles.DEFAULT.model_copy(update={"sizing": eager})
    topics = Chain(profile, SHARDS, 100).run(["pipeline"], ticks)
    equity, fills = read(topics, "equity.v1"), read(topics, "fills.v1")
    assert len(fills["quantity"]) > 5
    assert (equity["cash"] + equity["net"] == equity["equity"]).all()
    cash = 1_000_000 * UNIT
    for side, quantity, price, fee, after in zip(*(fills[name].tolist() for name in (
            "side", "quantity", "price", "fee", "cash")), strict=True):
        cash -= (1 - 2 * side) * round(Fraction(quantity * price, UNIT)) + fee
        assert after == cash
    assert (np.diff(equity["account_seq"]) > 0).all()


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_keys_of_shards_are_distinct_and_fill_equal_ranges(shards: int) -> None:
    keys = spread_keys(shards)
    assert len(set(keys)) == shards
    assert [_murmur(31 + key) % 128 * shards // 128 for key in keys] == list(range(shards))


@pytest.mark.parametrize(("largest", "seed"), [(60, 1), (3_000, 2)])
def test_a_model_is_named_in_every_message_it_made(largest: int, seed: int) -> None:
    """Six jobs pass it on as text, one job as a number; cuts and restarts change nothing."""
    made = example()
    ticks = [made.log[0][:3_000], []]
    known = Models(profiles.DEFAULT, made.folder, made.digest)
    whole = Chain(profiles.DEFAULT, 2, taps=TAPS, models=known).run(["pipeline"], ticks)
    six = Chain(profiles.DEFAULT, 2, largest, seed, restart=0.02, models=known).run(plans.JOBS, ticks)
    for topic in (*TAPS, *RESULTS):
        assert six.get(topic) == whole.get(topic), topic
    for topic in ("opportunities.v1", "risk.v1", "proposals.v1", "decisions.v1"):
        digests = read(whole, topic)["model_digest"]
        assert {digests.at(row) for row in range(len(digests.start))} == {made.digest.encode()}, topic
    plain = Chain(profiles.DEFAULT, 2, taps=TAPS).run(["pipeline"], ticks)
    assert read(plain, "decisions.v1")["model_digest"].at(0) == b""
    assert plain["opportunities.v1"] != whole["opportunities.v1"]


def test_the_option_names_a_model_that_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made = example()
    monkeypatch.setenv("SIGMAFLOW_MODEL_DIR", str(made.folder))
    assert options.parse("pipeline", ["--model", made.digest]).models.first == made.digest
    assert not options.parse("pipeline", []).models.first
    for arguments, says in ((["--model", "0" * 15 + "1"], "is not there"), (["--model", "latest"], "hexadecimal"),
                            (["--profile", "reference", "--model", made.digest], "alphas of profile reference")):
        with pytest.raises(UserError, match=says):
            options.parse("pipeline", arguments)


def test_orders_that_rest_and_fill_in_parts_survive_cuts_and_restarts(columns: dict[str, Any]) -> None:
    """Their rest and place in the queue are state; trades come with the ticks, through six jobs as through one."""
    rng = np.random.default_rng(4)
    sizes = {name: columns[name] / 20_000 for name in ("bid_size", "ask_size")}
    side = rng.integers(1, 3, len(columns["ts"]))
    trades = {"last_price": np.where(side == 1, columns["ask"], columns["bid"]), "last_side": side,
              "last_size": rng.uniform(0.5, 30, len(side))}
    made = log({name: values[:4_000] for name, values in (columns | sizes | trades).items()})
    eager = sample_log.profile()
    fills = eager.fills.model_copy(update={"order": "limit", "order_life_ns": 5 * 10**6, "latency_ns": 0})
    profile = eager.model_copy(update={"fills": fills})
    whole = Chain(profile, SHARDS).run(["pipeline"], made)
    filled, decided = read(whole, "fills.v1"), read(whole, "decisions.v1")
    assert (filled["part"] > 1).sum() > 5 and filled["liquidity"].sum() > 10
    assert len(set(decided["ended_as"].tolist())) > 2
    for jobs, seed in ((["pipeline"], 1), (plans.JOBS, 2)):
        again = Chain(profile, SHARDS, 60, seed, restart=0.05).run(jobs, made)
        for topic in RESULTS:
            assert again[topic] == whole[topic], topic
