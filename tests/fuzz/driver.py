"""A mutational fuzzer: seeds from tests/fuzz/corpus, changed a little, given to a decoder, for ever or so often.

libFuzzer sees no branches in a kernel that gcc has built, so nothing is gained by it; what finds bugs here are the
repaired checksums of the targets and the sanitizers of the checked build.
"""

from __future__ import annotations

import mmap
import random
from pathlib import Path

from tests.fuzz.targets import REFUSALS, TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 1 << 16

WORDS = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8, b"\x80" * 9 + b"\x01",
    b"\xff" * 10, b"\x01\0\0\0", b"\0\0\0\x01", b"FJELDJNL", b"FJELDSST", b"{", b"}", b"[]", b"null", b"-1", b"1e999",
    b"18446744073709551616", b'"', b"\n", b"..", b"/", b"true", b'"edit":[]', b'"sealed":true', b"\\ud800",
)  # fmt: skip


def seeds(target: Target) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target.corpus).iterdir())]


def changed(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """One to eight small changes."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        at = chance.randrange(len(made) + 1)
        choice = chance.randrange(8)
        if choice == 0 and made:
            made[at - 1] ^= 1 << chance.randrange(8)
        elif choice == 1:
            word = chance.choice(WORDS)
            made[at : at + len(word)] = word
        elif choice == 2:
            made[at:at] = chance.choice(WORDS)
        elif choice == 3:
            del made[at : at + chance.choice((1, 1, 4, 8, 64))]
        elif choice == 4:
            made[at : at + 1] = bytes([chance.randrange(256)])
        elif choice == 5:
            piece = made[at : at + chance.randrange(1, 65)]
            where = chance.randrange(len(made) + 1)
            made[where:where] = piece
        elif choice == 6:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            made[at:] = other[start:]
        else:
            for width in (chance.choice((1, 2, 4, 8)),):
                value = int.from_bytes(made[at : at + width], "little") + chance.choice((-1, 1, -8, 8, 256))
                made[at : at + width] = (value % (1 << (8 * width))).to_bytes(width, "little")
    return bytes(made[:MOST_BYTES])


class Fuzzer:
    """Fuzzes one target. `last`: a file that always holds the input at hand, for when the process dies of it."""

    def __init__(self, name: str, seed: int, last: Path) -> None:
        self._target = TARGETS[name]
        self._seeds = seeds(self._target)
        self._chance = random.Random(f"{name} {seed}")
        self.executions = 0
        self.accepted = 0
        """Inputs that were read to their end."""
        last.write_bytes(bytes(MOST_BYTES + 8))
        with last.open("r+b") as file:
            self._last = mmap.mmap(file.fileno(), MOST_BYTES + 8)

    def run(self, executions: int) -> None:
        """Raises what a decoder must not raise; `last` has the input then."""
        for _ in range(executions):
            self.one(changed(self._chance.choice(self._seeds), self._seeds, self._chance))

    def one(self, data: bytes) -> None:
        self._last[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
        self.executions += 1
        try:
            self._target.run(data)
            self.accepted += 1
        except REFUSALS:
            pass


def last_input(path: Path) -> bytes:
    held = path.read_bytes()
    return held[8 : 8 + int.from_bytes(held[:8], "little")]
