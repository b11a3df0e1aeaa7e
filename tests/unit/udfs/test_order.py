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
    return order.rows({"slot": np.full(count, shard), "seq": np.arange(count), "ts_order": np.cumsum(steps),
                       "bid": np.arange(count) + 0.5})


def places(rows: order.Rows) -> list[Place]:
    """(order time, shard, place) of released rows; floats stay beside their integers."""
    c = rows.columns()
    assert (c["bid"] == c["seq"] + 0.5).all()
    return list(zip(c["ts_order"].tolist(), c["slot"].tolist(), c["seq"].tolist(), strict=True))


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
            out += places(merge.release([s for s in range(SHARDS) if sent[s] == len(whole[s])]))
        if data.draw(st.booleans()):
            merge.save()
            merge = order.Merge(SHARDS, store)
        assert merge.pending == sum(sent) - len(out)
    out += places(merge.release(range(SHARDS)))
    assert out == wanted
    assert (merge.seq, merge.counts, merge.pending) == (len(wanted), [len(rows) for rows in whole], 0)
    merge.save()
    assert set(store) == {order.META}


@settings(max_examples=80, deadline=None)
@given(logs, st.data())
def test_a_follower_releases_the_same_even_after_a_late_tick(steps: tuple[list[int], ...], data: st.DataObject) -> None:
    """A leader that gives up on silent shards too early takes late ticks as they come; counts tell where."""
    whole = [log(part, shard) for shard, part in enumerate(steps)]
    leader, follower = order.Merge(SHARDS, Memory()), order.Merge(SHARDS, Memory())
    led: list[list[Place]] = []
    counts: list[list[int]] = []
    for shard in data.draw(st.permutations(range(SHARDS))):
        leader.add(shard, whole[shard], len(whole[shard]) - 1)
        led.append(places(leader.release(data.draw(st.sets(st.integers(0, SHARDS - 1))))))
        counts.append(list(leader.counts))
    followed: list[list[Place]] = []
    for shard in range(SHARDS):
        follower.add(shard, whole[shard], len(whole[shard]) - 1)
    for wanted in counts:
        rows = follower.release_until(wanted)
        assert rows is not None
        followed.append(places(rows))
    assert followed == led
    assert follower.seq == leader.seq


def test_a_follower_waits_for_ticks_that_have_not_come() -> None:
    merge = order.Merge(SHARDS, Memory())
    merge.add(0, log([1, 1], 0), 1)
    assert merge.release_until([2, 1, 0]) is None
    merge.add(1, log([1], 1), 0)
    assert places(merge.release_until([2, 1, 0]) or order.join([])) == [(1, 0, 0), (1, 1, 0), (2, 0, 1)]


def test_a_shard_that_never_spoke_is_waited_for() -> None:
    merge = order.Merge(SHARDS, Memory())
    merge.add(0, log([1, 1], 0), 1)
    assert len(merge.release()) == 0
    assert len(merge.release({1, 2})) == 2
