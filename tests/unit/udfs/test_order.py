"""The account's total order: a sort, however the shards' ticks arrive, are cut, or are restarted."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.chain.inprocess import Memory
from udfs import order

SHARDS = 3
Place = tuple[int, int, int]
gaps = st.lists(st.integers(0, 3), max_size=25)
logs = st.tuples(gaps, gaps, gaps)


def log(steps: Sequence[int], shard: int) -> order.Rows:
    """A shard's ticks: order times that never fall, and in `seq` and `bid` their place."""
    count = len(steps)
    return order.rows({"slot": np.full(count, shard), "seq": np.arange(count), "offset": np.arange(count),
                       "ts_order": np.cumsum(steps), "bid": np.arange(count) + 0.5})


def places(rows: order.Rows) -> list[Place]:
    """(order time, shard, place) of released rows; floats stay beside their integers."""
    c = rows.columns()
    assert (c["bid"] == c["seq"] + 0.5).all()
    return list(zip(c["ts_order"].tolist(), c["slot"].tolist(), c["seq"].tolist(), strict=True))


def quiet(merge: order.Merge, frontiers: Sequence[order.Frontier]) -> None:
    for frontier in frontiers:
        merge.quiet(frontier)


@settings(max_examples=150, deadline=None)
@given(logs, st.data())
def test_any_arrival_gives_the_sort(steps: tuple[list[int], ...], data: st.DataObject) -> None:
    whole = [log(part, shard) for shard, part in enumerate(steps)]
    wanted = sorted(place for rows in whole for place in places(rows))
    store, sent, out = Memory(), [0] * SHARDS, []
    merge = order.Merge(SHARDS, store)
    while any(sent[s] < len(whole[s]) for s in range(SHARDS)):
        shard = data.draw(st.sampled_from([s for s in range(SHARDS) if sent[s] < len(whole[s])]))
        end = data.draw(st.integers(sent[shard] + 1, len(whole[shard])))
        merge.add(shard, whole[shard].cut(sent[shard], end), end - 1)
        sent[shard] = end
        if data.draw(st.booleans()):
            out += places(merge.release())
        if data.draw(st.booleans()):
            merge.save()
            merge = order.Merge(SHARDS, store)
        assert merge.pending == sum(sent) - len(out)
    quiet(merge, merge.needed(range(SHARDS)))
    out += places(merge.release())
    assert out == wanted
    assert (merge.seq, merge.pending) == (len(wanted), 0)
    merge.save()
    assert set(store) == {order.META}


@settings(max_examples=150, deadline=None)
@given(logs, st.data())
def test_frontiers_settle_the_order_for_every_later_reader(steps: tuple[list[int], ...], data: st.DataObject) -> None:
    """A leader gives up on shards that then do send earlier ticks; whoever reads its frontiers orders as it did."""
    whole = [log(part, shard) for shard, part in enumerate(steps)]
    frontiers: list[order.Frontier] = []
    led = arrive(whole, data, frontiers, early=True)
    assert [place[0] for place in led] == sorted(place[0] for place in led)
    assert sorted(place[1:] for place in led) == sorted(place[1:] for rows in whole for place in places(rows))
    assert arrive(whole, data, frontiers, early=False) == led


def arrive(whole: list[order.Rows], data: st.DataObject, frontiers: list[order.Frontier], early: bool) -> list[Place]:
    """All rows in drawn pieces and turns, with restarts. `early`: shards are given up at will, and it is written down.
    """
    store, sent, out = Memory(), [0] * SHARDS, []
    merge = order.Merge(SHARDS, store)
    quiet(merge, frontiers)
    while any(sent[s] < len(whole[s]) for s in range(SHARDS)) or merge.pending:
        left = [s for s in range(SHARDS) if sent[s] < len(whole[s])]
        if left:
            shard = data.draw(st.sampled_from(left))
            end = data.draw(st.integers(sent[shard] + 1, len(whole[shard])))
            rows = whole[shard].cut(sent[shard], end)
            merge.add(shard, order.Rows(rows.ints.copy(), rows.floats), end - 1)
            sent[shard] = end
        if early and (not left or data.draw(st.booleans())):
            some = data.draw(st.lists(st.integers(0, SHARDS - 1), unique=True))
            needed = merge.needed(some if left else range(SHARDS))
            frontiers += needed
            quiet(merge, needed)
        out += places(merge.release())
        if data.draw(st.booleans()):
            merge.save()
            merge = order.Merge(SHARDS, store)
            quiet(merge, frontiers)
    return out


def test_a_shard_that_never_spoke_is_waited_for() -> None:
    merge = order.Merge(SHARDS, Memory())
    merge.add(0, log([1, 1], 0), 1)
    assert len(merge.release()) == 0
    quiet(merge, merge.needed([1, 2]))
    assert len(merge.release()) == 2


def test_a_frontier_holds_from_its_offset_on() -> None:
    merge = order.Merge(2, Memory())
    merge.quiet(order.Frontier(1, 2, 50))
    merge.add(0, log([10, 50], 0), 1)
    merge.add(1, log([1, 1], 1), 1)
    assert places(merge.release()) == [(1, 1, 0), (2, 1, 1), (10, 0, 0)]
    merge.add(1, log([1, 1, 1], 1).cut(2, 3), 2)
    assert places(merge.release()) == [(50, 1, 2)]


def test_refused_ticks_count_as_seen() -> None:
    merge = order.Merge(2, Memory())
    merge.quiet(order.Frontier(1, 3, 50))
    merge.add(0, log([10], 0), 0)
    for offset in (2, 0, 1):
        assert len(merge.release()) == 0
        merge.skip(1, offset)
    assert merge.seen == [0, 2]
    assert len(merge.release()) == 1


def test_a_frontier_is_written_only_where_it_holds_a_tick_back() -> None:
    merge = order.Merge(3, Memory())
    assert merge.needed(range(3)) == []
    merge.add(1, log([10], 1), 0)
    merge.add(2, log([10], 2), 0)
    assert merge.needed(range(3)) == [order.Frontier(0, 0, 11), order.Frontier(1, 1, 11)]
    quiet(merge, merge.needed(range(3)))
    assert len(merge.release()) == 2 and merge.needed(range(3)) == []
