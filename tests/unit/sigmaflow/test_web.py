"""The web page's parts and its server: real HTTP on this machine, sources that answer, do not, or say nonsense."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from connectors import snapshot
from sigmaflow import __main__ as program
from sigmaflow import doctor, report_page, smoke_chain, smoke_servers
from sigmaflow.errors import UserError
from sigmaflow.settings import ROOT, Settings, load
from sigmaflow.web import collect
from sigmaflow.web.parts import Found, Part
from sigmaflow.web.server import FILES, HEADERS, PageServer
from tests.pages import OVERVIEW, Market, a_decision, checkpoints, served
from udfs import profiles

NAMES = ["account", "curve", "decisions", "jobs", "flow", "servers"]
CSS = (ROOT / "sigmaflow" / "web" / "page.css").read_text()


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(time.time())


@pytest.fixture(scope="module")
def server(market: Market) -> Iterator[PageServer]:
    with served(market.parts()) as page:
        yield page


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own; `_` in a header's name stands for `-`."""
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    line.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    body = answer.read()
    line.close()
    return answer, body


def data(server: PageServer, part: str) -> Any:
    """What a part holds."""
    told = json.loads(ask(server, f"/api/{part}")[1])
    assert told["error"] is None
    return told["data"]


# ---------------------------------------------------------------------------------------------------------- server


@pytest.mark.parametrize("path", FILES)
def test_the_page_is_three_files_that_load_nothing_from_elsewhere(server: PageServer, path: str) -> None:
    answer, body = ask(server, path)
    assert answer.status == 200 and answer.headers["Content-Type"] == FILES[path][1]
    outside = re.findall(r"(?:https?:)?//[\w.-]+\.\w+|@import|url\(", body.decode())
    assert set(outside) <= {"http://www.w3.org"}, "XML's name space is an identifier, not an address"
    assert not re.search(r"\s(?:style|on\w+)=", body.decode()) or path == "/page.js", "the policy refuses these"
    assert b"innerHTML" not in body and b"eval(" not in body


@pytest.mark.parametrize("path", ["/", "/api", "/api/account", "/none", "/api/curve?range=x"])
def test_every_answer_carries_the_policy(server: PageServer, path: str) -> None:
    answer, _ = ask(server, path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert abs(int(answer.headers["X-Now-Ms"]) / 1e3 - time.time()) < 5


def test_the_index_names_every_part_with_its_source(server: PageServer) -> None:
    told = json.loads(ask(server, "/api")[1])["parts"]
    assert [part["part"] for part in told] == NAMES
    assert next(part for part in told if part["part"] == "curve")["range"] == list(collect.RANGES)
    for part in told:
        answer, body = ask(server, f"/api/{part['part']}")
        said = json.loads(body)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("application/json")
        assert {"part", "source", "option", "error", "as_of_ms", "data"} == said.keys()
        assert said["source"] == part["source"] and said["error"] is None and said["data"]


def test_the_docs_name_the_same_parts() -> None:
    text = (ROOT / "docs" / "operate.md").read_text()
    real = collect.parts(load(environ={"SIGMAFLOW_PORT_OFFSET": "4000"}), "paper")
    assert re.findall(r"^\| `/api/(\w+)` \| (.+?) \|", text, re.MULTILINE) == [(p.name, p.source) for p in real]
    assert [part.name for part in real] == NAMES


def test_an_unchanged_answer_is_not_sent_again(server: PageServer) -> None:
    for path in ("/", "/page.js", "/api"):
        first, _ = ask(server, path)
        again, body = ask(server, path, If_None_Match=first.headers["ETag"])
        assert again.status == 304 and body == b"" and again.headers["ETag"] == first.headers["ETag"]
        assert ask(server, path, If_None_Match='"other"')[0].status == 200


def test_head_has_the_headers_and_no_body(server: PageServer) -> None:
    answer, body = ask(server, "/api", "HEAD")
    assert answer.status == 200 and body == b"" and int(answer.headers["Content-Length"]) > 100


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "NONSENSE"])
def test_nothing_can_be_written(server: PageServer, method: str) -> None:
    answer, body = ask(server, "/api/account", method)
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD" and json.loads(body)["error"]


@pytest.mark.parametrize(("path", "status"), [
    ("/none", 404), ("/api/none", 404), ("/api/", 404), ("/page.css/", 404), ("/../pyproject.toml", 404),
    ("/api/../../etc/passwd", 404), ("/%2e%2e/x", 404), ("/api/curve?range=2h", 400), ("/api/curve?range=", 400),
    ("/api/curve?account=x", 400), ("/api/account?range=1h", 400), ("/api/curve?range=1h'--", 400)])
def test_what_there_is_not_is_refused_in_a_sentence(server: PageServer, path: str, status: int) -> None:
    answer, body = ask(server, path)
    assert answer.status == status and json.loads(body)["error"]


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8088", 200), ("localhost:1", 200), ("[::1]:8088", 200), ("10.1.2.3", 200), ("evil.example", 421),
    ("127.0.0.1.evil.example", 421), ("", 421)])
def test_a_foreign_name_is_refused(server: PageServer, host: str, status: int) -> None:
    assert ask(server, "/api", Host=host)[0].status == status


def test_bytes_that_are_no_request_do_no_harm(server: PageServer) -> None:
    for raw in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\xff", b"A" * 70_000):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as line:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            try:
                line.recv(65_536)
            except ConnectionResetError:
                pass
    assert ask(server, "/api")[0].status == 200


def test_one_connection_serves_many_requests(server: PageServer) -> None:
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for path in ("/", "/api", "/api/account", "/none", "/api/curve"):
        line.request("GET", path)
        line.getresponse().read()
    line.close()


# ----------------------------------------------------------------------------------------------------------- parts


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_source_is_asked_at_most_so_often_however_many_look() -> None:
    asked, clock = [], Clock()
    part = Part("p", "S", "", lambda option: (asked.append(option), Found({"n": len(asked)}))[1], 1.0, clock=clock)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(part.get, [""] * 64))
    assert len(asked) == 1 and all(answer["data"] == {"n": 1} for answer in answers)
    clock.now += 1.01
    assert part.get("")["data"] == {"n": 2}


def test_a_slow_source_is_left_alone_longer() -> None:
    asked, clock = [], Clock()

    def slow(option: str) -> Found:
        asked.append(option)
        clock.now += 3.0
        return Found({})

    part = Part("p", "S", "", slow, 1.0, clock=clock)
    part.get("")
    clock.now += 29.0
    part.get("")
    assert len(asked) == 1
    clock.now += 2.0
    part.get("")
    assert len(asked) == 2


def test_what_cannot_be_had_is_an_error_without_data_and_comes_back() -> None:
    clock, away = Clock(), [True]

    def source(_: str) -> Found:
        if away[0]:
            raise ConnectionRefusedError(111, "refused")
        return Found({"a": 1})

    part = Part("p", "QuestDB", "", source, 1.0, clock=clock)
    assert part.get("") == {"part": "p", "source": "QuestDB", "option": "", "error": "QuestDB does not answer",
                            "as_of_ms": None, "data": None}
    away[0] = False
    clock.now += 2
    assert part.get("")["error"] is None and part.get("")["as_of_ms"] == 1_002_000
    away[0] = True
    clock.now += 2
    assert part.get("")["data"] is None


def test_nonsense_from_a_source_does_not_end_the_page() -> None:
    part = Part("p", "Flink", "", lambda _: Found({}["missing"]))
    assert part.get("")["error"] == "Flink said something unexpected (KeyError)"


def test_a_stream_that_stands_grows_old_and_a_replay_that_moves_does_not() -> None:
    clock, event = Clock(), [5 * 10**9]
    part = Part("p", "S", "", lambda _: Found({}, event[0]), 0.5, clock=clock)
    assert part.get("")["as_of_ms"] == 5_000, "never seen to move: as old as its event"
    for _ in range(5):
        clock.now, event[0] = clock.now + 1, event[0] + 10**9
        assert part.get("")["as_of_ms"] == clock.now * 1e3
    stood = clock.now * 1e3
    for _ in range(5):
        clock.now += 1
        assert part.get("")["as_of_ms"] == stood
    clock.now, event[0] = clock.now + 3_600, event[0] + 1
    assert part.get("")["as_of_ms"] == event[0] // 10**6, "nobody looked for an hour: when it moved is not known"


@pytest.mark.parametrize("part", NAMES[:-1])
def test_a_part_whose_server_is_down_says_so(part: str, tmp_path: Any) -> None:
    nowhere = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})
    real = {found.name: found for found in collect.parts(nowhere, "paper")}[part]
    began = time.monotonic()
    assert real.get(real.options[0])["error"] == f"{real.source} does not answer"
    assert time.monotonic() - began < 5


def test_servers_that_are_down_are_named(tmp_path: Any) -> None:
    nowhere = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})
    found = collect.read_servers(nowhere).data["servers"]
    assert {"Kafka", "Flink", "QuestDB", "Redis"} <= found.keys() and not any(found.values())


# --------------------------------------------------------------------------------------------------------- figures


def test_the_account_is_that_of_its_last_mark(server: PageServer, market: Market) -> None:
    a, mark = data(server, "account"), market.marks[-1]
    assert (a["equity"], a["drawdown"], a["gross"], a["net"]) == (
        mark["equity"], mark["drawdown"], mark["gross"], mark["net"])
    assert a["start_equity"] == profiles.DEFAULT.fills.initial_cash
    assert a["profit"] == mark["equity"] - a["start_equity"]
    assert sum(abs(p["value"]) for p in a["positions"]) == pytest.approx(mark["gross"])
    assert a["strategy"] == "default" and a["limits_from"] == "profile default"


def test_open_risk_is_held_against_the_limits_that_the_ledger_enforces(server: PageServer) -> None:
    limits, fills = {row["name"]: row for row in data(server, "account")["risk"]}, profiles.DEFAULT.fills
    assert limits["cvar"]["value"] == pytest.approx(44.81, abs=0.01)
    assert {name: row["limit"] for name, row in limits.items()} == {
        "cvar": fills.cvar_limit, "gross": fills.max_gross, "largest": fills.max_position,
        "drawdown": fills.halt_drawdown}
    assert limits["drawdown"]["warn"] == fills.reduce_drawdown


def test_limits_of_another_profile_are_not_taken_for_those_in_force() -> None:
    other = a_decision(1, "BTCUSDT", 1, config_digest="0" * 16)
    told = snapshot.told(a_decision(2, "BTCUSDT", 1))
    assert collect.deciding(other) is None and collect.deciding(None) is None
    assert collect.deciding(told | {"strategy": "theirs"}) is None
    assert collect.limits(None, [])["from"] is None and collect.limits(None, [])["max_gross"] is None
    seen = collect.limits(None, [told])
    assert seen["from"] == "the last judged decisions" and seen["cvar_limit"] == 10_000.0
    assert seen["halt_drawdown"] is None


def test_an_unlimited_limit_is_none() -> None:
    decided = a_decision(1, "BTCUSDT", 1, strategy="reference", config_digest=profiles.REFERENCE.digest)
    known = collect.limits(collect.deciding(decided), [])
    assert known["from"] == "profile reference" and known["max_gross"] is None and known["cvar_limit"] is None


def test_decisions_are_told_with_every_gate(server: PageServer) -> None:
    found = data(server, "decisions")
    assert [d["verdict"] for d in found["newest"]] == ["idle"] * 3
    stopped = [d for d in found["judged"] if d["verdict"] == "stopped"]
    assert [d["failed_gate"] for d in stopped] == ["gross", "account_cvar"]
    assert "641250 is above 600000" in stopped[0]["reason"] and stopped[0]["order_id"] is None
    assert not stopped[0]["gates"][-1]["passed"] and stopped[0]["gates"][-1]["gate"] == "gross"
    sent = found["judged"][0]
    assert sent["verdict"] == "sent" and len(sent["gates"]) == 13 and sent["mu"] and sent["sigma"]
    assert sent["reason"] == "sell 1.4 at market, for a target worth 61,400"
    assert next(g["limit"] for g in sent["gates"] if g["gate"] == "range") is None


def test_ids_keep_all_their_digits(server: PageServer) -> None:
    found = data(server, "decisions")["judged"][0]
    assert found["id"] == str(2**62 + 9_000) and found["order_id"] == str(-(2**61) - 9_000)


@pytest.mark.parametrize(("changed", "wanted"), [
    ({"order_limit": 61_200.5, "order_quantity": 0.5}, "buy 0.5 at 61200.5 or better"),
    ({"order_quantity": -2e-5}, "sell 2e-05 at market")])
def test_an_order_reads_as_a_sentence(changed: dict[str, float], wanted: str) -> None:
    assert collect.told(a_decision(1, "BTCUSDT", 1, **changed)).startswith(wanted)


def test_a_decision_without_gates_or_forecast_is_still_told() -> None:
    bare = snapshot.told(a_decision(1, "X", 1, "entry", mu=math.nan, sigma=math.inf)) | {"gates": []}
    found = collect.decision_record(bare)
    assert (found["mu"], found["sigma"], found["gates"]) == (None, None, [])
    assert found["reason"].startswith("no order") and found["verdict"] == "idle"


def test_without_a_decision_the_account_has_no_strategy_and_no_limits(market: Market) -> None:
    a = collect.account_record("paper", market.held(), None)
    assert a["limits_from"] is a["strategy"] is None and {row["limit"] for row in a["risk"]} == {None}
    assert a["equity"] == market.account["equity"] and a["start_equity"] == pytest.approx(1_000_000)


def test_the_curve_keeps_every_extreme(server: PageServer, market: Market) -> None:
    curve, equity = data(server, "curve"), [row["equity"] for row in market.marks]
    assert min(curve["low"]) == min(equity) and max(curve["high"]) == max(equity)
    assert curve["equity"][-1] == equity[-1] and curve["t_ms"] == sorted(curve["t_ms"])
    assert all(low <= at <= high for low, at, high in zip(curve["low"], curve["equity"], curve["high"], strict=True))


@pytest.mark.parametrize("span", [0, 1, 10**9, 10**12, 10**15, 10**18, 9 * 10**18])
def test_a_curve_never_has_many_more_points_than_a_screen(span: int) -> None:
    step = collect.step_ms(0, span)
    assert step in collect.STEPS_MS and (span / 1e6 / step <= collect.POINTS or step == collect.STEPS_MS[-1])


def test_a_curve_without_marks_has_empty_columns() -> None:
    empty = collect.curve_record([], 0)
    assert empty["t_ms"] == [] and empty["equity"] == [] and empty["cvar"] == []


def test_the_chains_jobs_come_first_and_a_dead_chain_is_still_shown() -> None:
    apart = OVERVIEW | {"name": "pipeline (default) replay-1", "jid": "b"}
    dead = OVERVIEW | {"state": "FAILED", "end-time": 5, "jid": "c"}
    older = dead | {"end-time": 3, "jid": "d"}
    assert [job["jid"] for job in collect.shown_jobs([apart, older, OVERVIEW])] == ["7d1f", "b"]
    assert [job["jid"] for job in collect.shown_jobs([apart, older, dead])] == ["c", "b"]
    assert collect.shown_jobs([]) == []


def test_a_job_without_a_checkpoint_has_no_age() -> None:
    failed = {"failure_timestamp": 99_000}
    none = {"counts": {"completed": 0, "failed": 2}, "latest": {"completed": None, "failed": failed}}
    row = collect.job_record(OVERVIEW, none, 10.0)
    assert (row["age_s"], row["took_ms"], row["failed"], row["failing"]) == (None, None, 2, True)
    then = checkpoints(100.0)
    assert not collect.job_record(OVERVIEW, then, 100.0)["failing"]
    then["latest"]["failed"] = failed
    assert not collect.job_record(OVERVIEW, then, 100.0)["failing"], "one has been completed since"
    assert collect.job_record(OVERVIEW, checkpoints(100.0), 100.0)["age_s"] == pytest.approx(0.7)


def test_lag_is_not_known_before_the_first_checkpoint() -> None:
    ends = {collect.TICKS: 100, collect.DEAD: 0}
    fresh = collect.flow_record(ends, None, 0, {collect.TICKS: 9_000, collect.DEAD: None}, 10.0)
    assert (fresh["lag"], fresh["lag_s"], fresh["feed_age_s"], fresh["dead_letter_age_s"]) == (None, None, 1.0, None)
    assert collect.flow_record(ends, 20.0, 40, {}, 10.0)["lag_s"] == 3.0
    assert collect.flow_record({}, 0.0, 5, {}, 10.0) == {
        "ticks": 0, "ticks_per_s": 0.0, "lag": 0, "lag_s": None, "feed_age_s": None, "dead_letters": 0,
        "dead_letter_age_s": None}


def test_results_keep_the_last_decisions_of_each_kind() -> None:
    recent = snapshot.Recent()
    for n in range(100):
        recent.decided((b"SIM", b"S%d" % (n % 7)), n % 10 == 0, b"%d" % n)
    assert list(recent.judged) == [b"%d" % n for n in range(0, 100, 10)]
    assert list(recent.newest.values()) == [b"%d" % n for n in range(93, 100)]


# ---------------------------------------------------------------------------------------------------------- style


def palette(css: str) -> list[dict[str, str]]:
    """Colours of the light and of the dark page."""
    blocks = re.findall(r":root\{(.*?)\}", css, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", block)) for block in blocks]


def test_the_page_has_the_tear_sheets_colours() -> None:
    for page, sheet in zip(palette(CSS), palette(report_page.STYLE), strict=True):
        assert sheet.items() <= page.items()


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: int) -> None:
    colours = palette(CSS)[theme]
    on = [(ink, ground) for ink in ("ink", "soft", "good", "bad", "warn", "equity") for ground in ("bg", "card")]
    on += [("good", "good-bg"), ("bad", "bad-bg"), ("warn", "warn-bg"), ("soft", "idle-bg"), ("ink", "idle-bg")]
    assert {pair: round(r, 2) for pair in on if (r := contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}
    marks = [(mark, "card") for mark in ("equity", "loss", "net", "gross")]
    assert {pair: round(r, 2) for pair in marks if (r := contrast(colours[pair[0]], colours[pair[1]])) < 3} == {}


# --------------------------------------------------------------------------------------------------------- command


def test_the_command_serves_and_ends_in_order(tmp_path: Any) -> None:
    env = {"SIGMAFLOW_DATA_DIR": str(tmp_path), "SIGMAFLOW_PORT_OFFSET": "4000", "PATH": "/usr/bin:/bin",
           "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "sigmaflow", "web", "--port", "0"], cwd=ROOT, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(f"{url}/api/account", timeout=20) as answer:
            assert json.load(answer)["error"] == "Redis does not answer"
        process.terminate()
        assert process.wait(20) == 0


def test_a_taken_port_and_a_bad_account_are_told(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGMAFLOW_DATA_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert program.run(["web", "--port", str(other.getsockname()[1])]) == 4
    assert "must be free" in capsys.readouterr().err
    assert program.run(["web", "--account", "x' OR '1'='1"]) == 2
    assert "--account must be" in capsys.readouterr().err


def test_the_doctor_knows_the_page(tmp_path: Any, market: Market) -> None:
    nowhere: Settings = load(environ={"SIGMAFLOW_PORT_OFFSET": "4000", "SIGMAFLOW_DATA_DIR": str(tmp_path)})
    (down,) = doctor.page(doctor.Patient(nowhere, meant=True, programs=frozenset()))
    assert (down.verdict, down.remedy) == ("bad", "run make logs PROGRAM=web, then make start")
    with served(market.parts()) as server:
        here = nowhere.model_copy(update={"web": nowhere.web.model_copy(update={"port": server.server_port})})
        (up,) = doctor.page(doctor.Patient(here, meant=True, programs=frozenset()))
    assert (up.verdict, up.found) == ("ok", f"answers at {here.web.url}")


def test_the_smoke_test_asks_for_every_part(tmp_path: Any, market: Market) -> None:
    with served(market.parts()) as server, ExitStack() as cleanup:
        s = load(environ={"SIGMAFLOW_WEB_PORT": str(server.server_port), "SIGMAFLOW_DATA_DIR": str(tmp_path)})
        bench = smoke_chain.Bench(s, tmp_path / "smoke.html", cleanup)
        assert smoke_servers.page(bench) == f"{server.url}: 6 parts, each with its data"
        market.away.add("Flink")
        time.sleep(0.3)
        with pytest.raises(UserError, match="Flink does not answer"):
            smoke_servers.page(bench)
        market.away.clear()


def test_serving_leaves_no_thread_behind(market: Market) -> None:
    before = threading.active_count()
    with served(market.parts()) as server:
        ask(server, "/api")
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
