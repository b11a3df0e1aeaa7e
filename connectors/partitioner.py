"""Which partition Kafka gives a key, for runs that have no broker to ask.

    partition(b"BINANCE:BTCUSDT", 4)
"""

from __future__ import annotations

from functools import lru_cache

MASK, SEED, MIX = 0xFFFFFFFF, 0x9747B28C, 0x5BD1E995


@lru_cache(maxsize=65_536)
def partition(key: bytes, count: int) -> int:
    """Partition of a key among `count`, as the clients' partitioner murmur2_random chooses it.

    >>> [partition(key, 4) for key in (b"SIM:BTCUSDT", b"SIM:ETHUSDT", b"REF:SYM0")]
    [2, 2, 0]
    """
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """32-bit murmur2 (Appleby 2008) with Kafka's seed, unsigned; Kafka's own tests have these values.

    >>> [murmur2(key) - 2**32 * (murmur2(key) >> 31) for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    [-973932308, -790332482, -985981536]
    """
    h = (SEED ^ len(data)) & MASK
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at:at + 4], "little") * MIX & MASK
        h = (h * MIX & MASK) ^ ((k ^ k >> 24) * MIX & MASK)
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * MIX & MASK
    h = (h ^ h >> 13) * MIX & MASK
    return h ^ h >> 15
