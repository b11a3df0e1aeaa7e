"""explain, why-not and state over the log of a whole chain, held against the log read in another way."""
from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import Any

import pytest

from jobs.chain.messages import DECISIONS, EQUITY, FILLS, INTENTS
from jobs.chain.plans import KEYED_TOPICS
from jobs.chain.shard import DEAD, TICKS
from schemas.codec import NULL_LONG
from sigmaflow.errors import UserError
from sigmaflow.explain import Account
from sigmaflow.explain_view import identity, instant, place, print_decision, print_path, print_state
from sigmaflow.history import find_input
from sigmaflow.output import print_json
from sigmaflow.reasons import SENTENCES, moment, reason
from tests import reference_strategy
from tests.histories import SHARDS, ListHistory, eager, history

Row = dict[str, Any]


@pytest.fixture(scope="module", params=[0, 3_000_000], ids=["at once", "after 3 ms"])
def run(request: pytest.FixtureRequest) -> ListHistory:
    return history(profile=eager(request.param))


@pytest.fixture(scope="module")
def slow() -> ListHistory:
    """A run whose orders take so long that most are replaced."""
    return history()


def rows(run: ListHistory, topic: str) -> list[Row]:
    return [run.decode(topic, kept.value or b"") for kept in run.stream(topic)]


def test_state_at_every_50th_input_is_a_fold_over_the_fills(run: ListHistory) -> None:
    account, fills, decisions = Account(run), rows(run, FILLS), rows(run, DECISIONS)
    seqs = {(d["partition"], d["offset"]): d["account_seq"] for d in decisions}
    assert len(fills) > 50
    for partition in range(SHARDS):
        for offset in range(0, run.bounds(TICKS, partition)[1], 50):
            found = account.state(partition, offset)
            seq = max((s for (p, o), s in seqs.items() if p == partition and o <= offset), default=0)
            assert (found["refused"] is None) == ((partition, offset) in seqs)
            assert found["account_seq"] == seq
            held, cash = fold([f for f in fills if f["account_seq"] <= seq])
            mids = {d["symbol"]: d["mid"] for d in decisions[:seq]}
            shown = {p["instrument"].split(":")[1]: p["quantity"] for p in found["positions"]}
            assert shown == pytest.approx(held) and found["cash"] == pytest.approx(cash)
            assert found["equity"] == pytest.approx(cash + sum(held[s] * mids[s] for s in held))
            assert found["gross"] == pytest.approx(sum(abs(held[s] * mids[s]) for s in held))


def fold(fills: list[Row]) -> tuple[dict[str, float], float]:
    """Positions by symbol and cash, from 1,000,000."""
    held: dict[str, float] = defaultdict(float)
    cash = 1_000_000.0
    for f in fills:
        signed = f["quantity"] if f["side"] == "BUY" else -f["quantity"]
        held[f["symbol"]] += signed
        cash -= signed * f["price"] + f["fee"]
    return held, cash


def test_state_is_the_mark_where_the_ledger_left_one(run: ListHistory) -> None:
    account, marks = Account(run), rows(run, EQUITY)
    assert {mark["state"] for mark in marks} == {"ACTIVE", "REDUCING"}
    for mark in marks[::7]:
        found = account.state(mark["partition"], mark["offset"])
        names = ("cash", "equity", "peak_equity", "drawdown", "gross", "net", "account_cvar_975", "state", "orders",
                 "fills")
        assert {name: found[name] for name in names} == {name: mark[name] for name in names}


def test_average_cost_and_realised_profit_add_up_to_the_symbols_profit(run: ListHistory) -> None:
    account, marks = Account(run), rows(run, EQUITY)
    for mark in marks[::7]:
        found = account.state(mark["partition"], mark["offset"])
        p = next((p for p in found["positions"] if p["instrument"].endswith(mark["symbol"])), None)
        profit = 0.0 if p is None else p["realized_pnl"] - p["fees"] + p["quantity"] * (p["mark"] - p["average"])
        assert profit == pytest.approx(mark["symbol_pnl"], abs=1e-6)


def test_marks_and_decisions_tell_the_same_state_and_cause(slow: ListHistory) -> None:
    decided = {d["account_seq"]: (d["state"], d["state_cause"]) for d in rows(slow, DECISIONS)}
    told = [(m["account_seq"], (m["state"], m["state_cause"])) for m in rows(slow, EQUITY)]
    assert all(decided[seq] == found for seq, found in told)
    assert {found for _, found in told} == {("ACTIVE", "NONE"), ("REDUCING", "DRAWDOWN")}


def test_open_orders_are_those_sent_and_neither_filled_nor_replaced(slow: ListHistory) -> None:
    account, fills, decisions = Account(slow), rows(slow, FILLS), rows(slow, DECISIONS)
    seen = 0
    for d in decisions[::50]:
        seq = d["account_seq"]
        done = {f["order_id"] for f in fills if f["account_seq"] <= seq and f["remaining"] == 0}
        done |= {e["ended_order_id"] for e in decisions[:seq]}
        last = {e["symbol"]: e["order_id"] for e in decisions[:seq] if e["order_id"] is not None}
        found = {order["order_id"] for order in account.state(d["partition"], d["offset"])["open_orders"]}
        assert found == set(last.values()) - done
        seen += len(found)
    assert seen > 20


def test_a_refused_input_gives_its_dead_letter_and_the_state_before(slow: ListHistory) -> None:
    account, letters = Account(slow), rows(slow, DEAD)
    assert {letter["reason"] for letter in letters} == {"duplicate", "truncated"}
    for letter in letters[::20]:
        found = account.state(letter["partition"], letter["offset"])
        before = letter["offset"] - 1
        while account.state(letter["partition"], before)["refused"]:
            before -= 1
        assert found["refused"] == letter
        same = account.state(letter["partition"], before)
        assert {**found, "at": "", "refused": None} == {**same, "at": ""}


def test_every_kind_of_id_gives_the_same_path(run: ListHistory) -> None:
    account = Account(run)
    for fill in rows(run, FILLS)[::40]:
        path = account.explain(fill["fill_id"])
        decision = path["decision"]
        assert path["kind"] == "fill_id" and path["fills"] == [fill]
        assert path["order"]["outcome"] == "filled" and path["order"]["replaced_by"] is None
        assert path["after"]["position"] == fill["position"] and path["after"]["cash"] == fill["cash"]
        assert path["intent"]["intent_id"] == fill["intent_id"] and path["intent"]["tick_id"] == decision["tick_id"]
        for tap in KEYED_TOPICS.values():
            assert path["taps"][tap]["tick_id"] == decision["tick_id"]
        assert (path["tick"]["symbol"], path["tick"]["seq"]) == (decision["symbol"], decision["seq"])
        for kind in ("tick_id", "decision_id", "intent_id", "order_id"):
            assert account.explain(decision[kind]) == {**path, "id": decision[kind], "kind": kind}


def test_an_order_without_a_fill_was_ended_or_is_open() -> None:
    """Quick orders meet a drawdown; slow ones are still open at the end."""
    outcomes: dict[str, int] = defaultdict(int)
    for run in (history(6_000), history(6_000, eager(20_000_000))):
        account, filled = Account(run), {f["order_id"] for f in rows(run, FILLS)}
        sent = [d for d in rows(run, DECISIONS) if d["order_id"] is not None]
        for n, d in enumerate(sent):
            if d["order_id"] in filled:
                continue
            following = next((e["order_id"] for e in sent[n + 1:] if e["symbol"] == d["symbol"]), None)
            order = account.explain(d["order_id"])["order"]
            assert order["replaced_by"] == (following if order["outcome"] == "replaced" else None)
            life = ["sent"] if order["outcome"] == "open" else ["sent", order["outcome"]]
            assert [event["event"] for event in order["life"]] == life
            outcomes[order["outcome"]] += 1
    assert outcomes["replaced"] > 10 and outcomes["open"] > 0 and outcomes["not reducing"] > 0


def test_an_order_larger_than_what_is_displayed_is_filled_in_parts() -> None:
    """Small sizes: every fill has its part of the order's life."""
    ticks = reference_strategy.ticks(6_000)
    run = history(ticks=ticks | {name: ticks[name] / 20_000 for name in ("bid_size", "ask_size")})
    account, fills = Account(run), rows(run, FILLS)
    parts = [f for f in fills if f["part"] == 3]
    assert len(parts) > 5
    for fill in parts:
        order = account.explain(fill["fill_id"])["order"]
        own = [f for f in fills if f["order_id"] == fill["order_id"]]
        told = [event["remaining"] for event in order["life"] if "filled" in event["event"]]
        assert told == [f["remaining"] for f in own]
        assert sum(f["quantity"] for f in own) == pytest.approx(abs(order["quantity"]) - order["remaining"])
        assert (order["outcome"] == "filled") == (order["remaining"] == 0)


def test_a_tick_without_an_order_ends_at_its_decision(slow: ListHistory) -> None:
    decision = next(d for d in rows(slow, DECISIONS) if d["failed_gate"] == "entry")
    path = Account(slow).explain(decision["tick_id"])
    assert path["order"] is None and path["intent"] is None and path["fills"] == []
    held, cash = fold([f for f in rows(slow, FILLS) if f["account_seq"] <= decision["account_seq"]])
    assert path["after"]["position"] == pytest.approx(held[decision["symbol"]])
    assert path["after"]["cash"] == pytest.approx(cash)


def test_a_tap_written_again_by_a_restart_is_searched_all_the_same(slow: ListHistory) -> None:
    part = slow.topics["features.v1"][0]
    again = ListHistory({**slow.topics, "features.v1": [part[:400] + part[350:700] + part[500:]]})
    offsets = [slow.decode("features.v1", m)["offset"] for m in part]
    for offset in range(offsets[-1] + 3):
        found = find_input(again, "features.v1", 0, offset)
        assert (found["offset"] if found else None) == (offset if offset in offsets else None)
    assert find_input(ListHistory({}), "features.v1", 0, 5) is None


def test_topics_that_hold_nothing_any_more_are_left_out(slow: ListHistory) -> None:
    kept = {topic: slow.topics[topic] for topic in (DECISIONS, FILLS, EQUITY)}
    path = Account(ListHistory(kept)).explain(rows(slow, FILLS)[0]["order_id"])
    assert path["tick"] is None and path["intent"] is None and set(path["taps"].values()) == {None}
    assert len(path["fills"]) == 1


def test_why_not_takes_the_last_decision_and_names_its_first_failed_gate(slow: ListHistory) -> None:
    account, decisions = Account(slow), rows(slow, DECISIONS)
    gates = set()
    for d in decisions[::37]:
        own = [e for e in decisions if e["symbol"] == d["symbol"] and e["ts_event"] <= d["ts_event"]]
        for symbol in (d["symbol"], f"{d['venue']}:{d['symbol']}"):
            found = account.why_not(symbol, d["ts_event"])
            assert found["decision"] == own[-1]
            assert found["reason"].split(":")[0] == (own[-1]["failed_gate"] or "sent")
        gates.add(own[-1]["failed_gate"])
    assert gates >= {"warm", "entry", "direction"}


def test_the_failed_gates_sentence_has_its_value_and_limit(slow: ListHistory) -> None:
    entry = next(d for d in rows(slow, DECISIONS) if d["failed_gate"] == "entry")
    gate = next(g for g in entry["gates"] if g["gate"] == "entry")
    assert reason(entry, None).startswith(f"entry: |score| {gate['value']:.6g} is below 0.02;")
    later = {"failed_gate": "new", "gates": [{"gate": "new", "passed": False, "value": 3.0, "limit": 2.5}]}
    assert reason(later, None) == "new: 3 did not pass against 2.5"
    judged = {g["gate"] for d in rows(slow, DECISIONS) for g in d["gates"]}
    assert judged == set(SENTENCES)
    for name, (value, limit) in product(SENTENCES, [(1.0, 2.0), (-1.0, 0.0)]):
        assert "passes" in SENTENCES[name](value, limit) or "would have passed" in SENTENCES[name](value, limit)


def test_unknown_ids_symbols_times_and_inputs_are_told_with_what_was_searched(slow: ListHistory) -> None:
    account, first = Account(slow), rows(slow, DECISIONS)[0]
    count = f"{len(rows(slow, DECISIONS)):,} decisions in decisions.v1"
    for ask, told in ((lambda: account.explain(1), count), (lambda: account.explain(NULL_LONG), count),
                      (lambda: account.explain(1 << 70), count), (lambda: account.why_not("NONE", 0), "'NONE' is none"),
                      (lambda: account.why_not(first["symbol"], first["ts_event"] - 1), "its first one is of"),
                      (lambda: account.state(0, 10**9), "offsets 0 to"), (lambda: account.state(9, 0), "dead letters")):
        with pytest.raises(UserError, match=told):
            ask()


def test_a_symbol_of_two_venues_needs_its_venue(slow: ListHistory) -> None:
    account = Account(slow)
    account._decisions.instruments.append("OTHER:SYM1")
    with pytest.raises(UserError, match="name the venue: REF:SYM1 or OTHER:SYM1"):
        account.why_not("SYM1", 2**62)


def test_a_run_without_a_decision_answers_in_one_sentence() -> None:
    account = Account(ListHistory({TICKS: [[b"x"]], **{t: [[]] for t in (DECISIONS, FILLS, EQUITY, INTENTS, DEAD)}}))
    for ask in (lambda: account.explain(1), lambda: account.why_not("A", 1), lambda: account.state(0, 0)):
        with pytest.raises(UserError):
            ask()


@pytest.mark.parametrize(("text", "ns"), [
    ("2026-01-31T09:30:00Z", 1_769_851_800_000_000_000), ("2026-01-31T10:30:00.5+01:00", 1_769_851_800_500_000_000),
    ("2026-01-31 09:30:00.000000007", 1_769_851_800_000_000_007), ("1769851800000000001", 1_769_851_800_000_000_001),
])
def test_times_are_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert instant(text) == ns
    assert instant(moment(ns)) == ns


def test_bad_arguments_are_told() -> None:
    for ask in (lambda: identity("x1"), lambda: instant("noon"), lambda: place("market.ticks.v1:1", TICKS),
                lambda: place("fills.v1:0:1", TICKS), lambda: place("market.ticks.v1:0:-1", TICKS)):
        with pytest.raises(UserError, match="must be"):
            ask()
    assert place("market.ticks.v1:2:1234", TICKS) == (2, 1234)
    assert place("night.market.ticks.v1:2:1234", "night.market.ticks.v1") == (2, 1234)


def test_answers_print_as_tables_and_as_json(slow: ListHistory, capsys: pytest.CaptureFixture[str]) -> None:
    account, fill, letter = Account(slow), rows(slow, FILLS)[3], rows(slow, DEAD)[0]
    path = account.explain(fill["fill_id"])
    for show, answer, wanted in ((print_path, path, str(fill["order_id"])),
                                 (print_decision, account.why_not("SYM1", 2**62), "gates"),
                                 (print_state, account.state(letter["partition"], letter["offset"]), "was refused as")):
        show(answer)
        assert wanted in capsys.readouterr().out
        print_json(answer)
        assert "NaN" not in capsys.readouterr().out
