"""What is written: keys, values, and which of them a skewed workload asks for. The same for every engine.

Nothing here is fast enough to be called while something is timed: draw first, then measure.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

__all__ = ["CHUNK", "KEY_BYTES", "Zipfian", "key_of", "mixed", "random_keys", "sample_keys", "values"]

KEY_BYTES = 16
CHUNK = 1_000

_MASK = (1 << 64) - 1


def random_keys(chunk: int, count: int = CHUNK) -> list[bytes]:
    """Chunk number `chunk` of an endless series of random keys; any chunk can be made again at any time."""
    data = random.Random(chunk * 2 + 1).randbytes(count * KEY_BYTES)
    return [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]


def sample_keys(chunks: int, count: int, seed: int) -> list[bytes]:
    """So many keys of the first chunks, each as likely as any other, in random order."""
    chance = random.Random(seed)
    found: list[bytes] = []
    for chunk, share in Counter(chance.randrange(chunks) for _ in range(count)).items():
        found += chance.choices(random_keys(chunk), k=share)
    chance.shuffle(found)
    return found


def mixed(number: int) -> int:
    """64 bits that look random; different for different numbers (the finalizer of splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


def key_of(number: int) -> bytes:
    """The key of record `number`: 16 bytes in an order that has nothing to do with the numbers."""
    return b"%016x" % mixed(number)


def values(size_bytes: int, count: int = 1_024, seed: int = 3) -> Sequence[bytes]:
    """Different values that compress to about half: one half random, the other a short phrase again and
    again.
    """
    chance = random.Random(seed)
    noise_bytes = size_bytes // 2
    phrase = b"the quick fox; " * (size_bytes // 15 + 1)
    return [chance.randbytes(noise_bytes) + phrase[: size_bytes - noise_bytes] for _ in range(count)]


def zeta(count: int, theta: float) -> float:
    """The sum of 1 / i ** theta for i from 1 to count; beyond 10,000 by the Euler-Maclaurin formula."""
    exact = min(count, 10_000)
    total = math.fsum(i**-theta for i in range(1, exact + 1))
    if count > exact:
        total += float(count ** (1 - theta) - exact ** (1 - theta)) / (1 - theta)
        total += float(count**-theta - exact**-theta) / 2
    return total


class Zipfian:
    """Ranks from 0 on, rank r drawn with a probability proportional to 1 / (r + 1) ** theta.

    The method is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (1994), which
    YCSB uses: exact for the first two ranks, close for the others, and a power for each draw.
    """

    def __init__(self, count: int, chance: random.Random, theta: float = 0.99) -> None:
        if count < 2:
            raise ValueError(f"a choice needs at least 2 items, not {count}")
        self.count = count
        self._random = chance.random
        self._zeta = zeta(count, theta)
        self._second = 1 + 0.5**theta
        self._alpha = 1 / (1 - theta)
        self._eta = (1 - (2 / count) ** (1 - theta)) / (1 - zeta(2, theta) / self._zeta)

    def rank(self) -> int:
        """The next one; 0 is the most popular."""
        uniform = self._random()
        scaled = uniform * self._zeta
        if scaled < 1:
            return 0
        if scaled < self._second:
            return 1
        return min(int(self.count * (self._eta * uniform - self._eta + 1) ** self._alpha), self.count - 1)

    def scrambled(self) -> int:
        """As `rank`, but the popular ones are anywhere among the items."""
        return mixed(self.rank()) % self.count
