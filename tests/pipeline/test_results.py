"""The results process against the real Kafka, QuestDB and Redis: nothing lost, nothing doubled, whatever dies."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors import questdb, snapshot
from connectors.questdb import QuestDB
from connectors.results import Results
from connectors.topics import setup
from sigmaflow import record, report
from sigmaflow.settings import Settings
from tests.feeding import Feed, topics
from tests.records import make_record
from tests.waiting import wait_for

Record = dict[str, list[dict]]


@pytest.fixture
def account() -> str:
    """Return an account of this test's own, which also names its topics."""
    return f"test{uuid.uuid4().hex[:8]}"


@pytest.fixture
def feed(stack: Settings, account: str) -> Feed:
    """Topics of this test's own."""
    return Feed(stack, account)


def rows(account: str, marks: int = 1_000) -> Record:
    """Return a made record by topic."""
    return dict(zip(("equity.v1", "fills.v1", "decisions.v1"), make_record(marks, account=account), strict=True))


@contextlib.contextmanager
def running(results: Results) -> Iterator[Results]:
    """Run the process in a thread, as `main` does in the main one."""
    thread = threading.Thread(target=results.run)
    thread.start()
    try:
        yield results
    finally:
        results.stop.set()
        thread.join(30)


def process(stack: Settings, feed: Feed, sink: QuestDB | None = None) -> Results:
    """Return a results process of this test's own."""
    return Results(stack, topics(feed.namespace), group=f"{feed.namespace}-results", sink=sink)


def at_the_end(results: Results, feed: Feed) -> bool:
    """Whether it has read all of the account's equity."""
    return results.totals.lag.get(f"{feed.namespace}.equity.v1") == 0


def snapshot_seq(stack: Settings, account: str) -> int | None:
    """Place of the newest snapshot in the account's order, None where there is none."""
    return (snapshot.read(stack.redis.url, account) or {}).get("account_seq")


def count(stack: Settings, table: str, account: str) -> int:
    """Return how many rows an account has, once QuestDB has applied all it has taken."""
    database = QuestDB(stack.questdb.http_url)
    waiting = "SELECT count() FROM wal_tables() WHERE sequencerTxn != writerTxn"
    wait_for("all that QuestDB has taken", lambda: database.query(waiting) == [[0]])
    return int(database.query(f"SELECT count() FROM {table} WHERE account = '{account}'")[0][0])


def committed(stack: Settings, feed: Feed, topic: str) -> int:
    """Return the offset the process has committed, negative where none."""
    consumer = Consumer({"bootstrap.servers": stack.kafka.bootstrap, "group.id": f"{feed.namespace}-results"})
    try:
        return int(consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset)
    finally:
        consumer.close()


def test_rows_written_twice_count_once(stack, account):
    database, made = QuestDB(stack.questdb.http_url), rows(account)
    lines = [questdb.EQUITY.line(row) for row in made["equity.v1"]]
    lines += [questdb.POSITIONS.line(row) for row in made["equity.v1"]]
    lines += [questdb.FILLS.line(row) for row in made["fills.v1"]]
    for _ in range(2):
        database.write(lines)
        assert count(stack, "equity", account) == 1_000
        assert count(stack, "positions", account) == 1_000
        assert count(stack, "fills", account) == len(made["fills.v1"])
    last = made["equity.v1"][-1]
    newest = database.query(f"SELECT equity, account_seq FROM equity WHERE account = '{account}' LIMIT -1")
    assert newest == [[last["equity"], last["account_seq"]]]


def test_record_reaches_questdb_redis_and_metrics(stack, feed, account):
    made = rows(account)
    feed.write(made)
    feed.write({"equity.v1": made["equity.v1"][:10]}, commit=False)  # aborted: nobody may see it
    feed.raw("equity.v1", b"not a message")
    with running(process(stack, feed)) as results:
        wait_for("every row", lambda: results.totals.rows_written == 2_000 + len(made["fills.v1"]))
        wait_for("the newest snapshot", lambda: snapshot_seq(stack, account) == 1_000)
        wait_for("the lag, which is asked for now and then", lambda: at_the_end(results, feed))
    seen, last = snapshot.read(stack.redis.url, account), made["equity.v1"][-1]
    assert seen is not None and seen["equity"] == last["equity"] and seen["fills"] == last["fills"]
    assert {p["symbol"]: p["position"] for p in seen["positions"]}[last["symbol"]] == last["position"]
    assert results.totals.undecodable == {f"{feed.namespace}.equity.v1": 1}
    assert count(stack, "equity", account) == 1_000 and count(stack, "fills", account) == len(made["fills.v1"])


class Crash(Exception):
    """Marks the moment at which a process dies."""


class DiesAfterWriting(QuestDB):
    """Writes for real, and then the process is gone before it can commit."""

    def write(self, lines: list[str]) -> None:
        super().write(lines)
        if lines:
            raise Crash


def test_crash_between_write_and_commit_changes_nothing(stack, feed, account):
    made = rows(account)
    feed.write(made)
    first = process(stack, feed, DiesAfterWriting(stack.questdb.http_url))
    with pytest.raises(Crash):
        first.run()
    assert count(stack, "equity", account) > 0
    assert committed(stack, feed, f"{feed.namespace}.equity.v1") < 0
    with running(process(stack, feed)) as second:
        wait_for("every row", lambda: second.totals.rows_written >= 2_000 + len(made["fills.v1"]))
        wait_for("the end of the topic", lambda: second.totals.pending == 0 and at_the_end(second, feed))
    assert count(stack, "equity", account) == 1_000
    assert count(stack, "positions", account) == 1_000
    assert count(stack, "fills", account) == len(made["fills.v1"])
    assert committed(stack, feed, f"{feed.namespace}.equity.v1") >= 1_000
    with running(process(stack, feed)) as third:
        wait_for("the end of the topic", lambda: at_the_end(third, feed))
    assert third.totals.rows_written == 0


class Hangs(QuestDB):
    """Answers when it is let."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.answers = threading.Event(), threading.Event()

    def write(self, lines: list[str]) -> None:
        self.asked.set()
        self.answers.wait(60)
        super().write(lines)


def test_lag_is_told_while_questdb_hangs(stack, feed, account):
    """Although nothing is read meanwhile."""
    made, sink = rows(account), Hangs(stack.questdb.http_url)
    feed.write({"equity.v1": made["equity.v1"][:10]})
    with running(process(stack, feed, sink)) as results:
        assert sink.asked.wait(30)
        feed.write({"equity.v1": made["equity.v1"][10:]})
        wait_for("the lag", lambda: results.totals.lag.get(f"{feed.namespace}.equity.v1", 0) >= 990)
        sink.answers.set()
        wait_for("the end of the topic", lambda: at_the_end(results, feed))
    assert count(stack, "equity", account) == 1_000


@contextlib.contextmanager
def door(port: int, target: int) -> Iterator[None]:
    """Let connections to `port` through to `target`: QuestDB coming back at its address."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                inside, _ = listener.accept()
                outside = socket.create_connection(("127.0.0.1", target))
                for pair in ((inside, outside), (outside, inside)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def test_questdb_away_loses_nothing_and_stops_nothing(stack, feed, account):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = rows(account)
    feed.write(made)
    with running(process(stack, feed, QuestDB(f"http://127.0.0.1:{port}"))) as results:
        wait_for("rows that wait",
                 lambda: results.totals.errors["questdb"] >= 2 and results.totals.pending >= 2_000)
        wait_for("the newest snapshot", lambda: snapshot_seq(stack, account) == 1_000)
        assert committed(stack, feed, f"{feed.namespace}.equity.v1") < 0
        with door(port, stack.questdb.http_port):
            wait_for("the rows in QuestDB", lambda: results.totals.pending == 0)
    assert count(stack, "equity", account) == 1_000 and count(stack, "fills", account) == len(made["fills.v1"])
    assert committed(stack, feed, f"{feed.namespace}.equity.v1") >= 1_000


def test_redis_away_is_counted_and_the_rest_goes_on(stack, feed, account):
    away = stack.model_copy(update={"redis": stack.redis.model_copy(update={"port": 1})})
    made = rows(account, 100)
    feed.write(made)
    with running(process(away, feed)) as results:
        wait_for("every row, and a miss", lambda: results.totals.rows_written == 200 + len(made["fills.v1"])
                 and results.totals.errors["redis"] > 0)
    assert count(stack, "equity", account) == 100


def test_report_is_made_from_what_is_committed(stack, feed, account, tmp_path):
    setup(stack, quiet=True)
    made = rows(account)
    feed.write(made)
    feed.write({"fills.v1": made["fills.v1"]}, commit=False)
    frames = record.read(stack, account, feed.namespace)
    assert (len(frames.equity), len(frames.fills)) == (1_000, len(made["fills.v1"]))
    assert frames.equity["equity"].tolist() == [row["equity"] for row in made["equity.v1"]]
    assert frames.decisions["order_id"].isna().sum() == sum(row["order_id"] is None for row in made["decisions.v1"])
    page = report.write(frames, "test", tmp_path / "build" / "report.html").read_text()
    assert f"{len(made['fills.v1']):,} fills" in page
