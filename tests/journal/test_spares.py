from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fjeld.journal.spares import SPARES, SpareJournals, discard
from fjeld.kernel import files
from fjeld.kernel.journal import JournalWriter
from tests.support import Task

CAPACITY_BYTES = 8192


class Maker:
    """Makes journals in a folder; numbers rise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(1)
        self.made: list[tuple[int, int]] = []

    def __call__(self, capacity_bytes: int) -> JournalWriter:
        number = next(self.numbers)
        self.made.append((number, capacity_bytes))
        return JournalWriter(str(self.folder / f"{number:012}.jnl"), number, capacity_bytes)

    @property
    def on_disk(self) -> list[int]:
        return sorted(int(file.stem) for file in self.folder.glob("*.jnl"))


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def spares(maker: Maker) -> Iterator[SpareJournals]:
    made = SpareJournals(maker, CAPACITY_BYTES)
    yield made
    made.close()


def test_fill_makes_what_is_missing(spares: SpareJournals, maker: Maker) -> None:
    assert spares.wanted
    spares.fill()
    assert maker.made == [(number, CAPACITY_BYTES) for number in range(1, SPARES + 1)]
    assert not spares.wanted
    spares.fill()
    assert len(maker.made) == SPARES


def test_they_are_taken_in_the_order_of_their_numbers(spares: SpareJournals, maker: Maker) -> None:
    spares.fill()
    taken = [spares.take(100) for _ in range(SPARES + 2)]
    assert [journal.number for journal in taken] == list(range(1, SPARES + 3))
    assert spares.wanted
    for journal in taken:
        journal.close()


def test_what_is_put_back_is_taken_next(spares: SpareJournals) -> None:
    spares.fill()
    first = spares.take(0)
    spares.put_back(first)
    assert spares.take(0) is first
    first.close()


def test_a_large_one_is_made_and_the_small_ones_go(spares: SpareJournals, maker: Maker) -> None:
    """Else a smaller number would be used after a larger one."""
    spares.fill()
    large = spares.take(10 * CAPACITY_BYTES)
    assert large.capacity_bytes >= 10 * CAPACITY_BYTES
    assert maker.on_disk == [large.number] == [SPARES + 1]
    spares.put_back(large)  # of an unusual size: nobody may need it
    assert maker.on_disk == []
    assert spares.take(0).number == SPARES + 2


def test_one_that_is_being_made_is_waited_for(maker: Maker, spares: SpareJournals) -> None:
    """Whoever needs a journal while a worker makes one gets that one, not a second with a later number."""
    with spares._creating:
        needy = Task(lambda: spares.take(0))
        spares._ready.append(maker(CAPACITY_BYTES))
    journal = needy.result()
    assert journal.number == 1
    assert len(maker.made) == 1
    journal.close()


def test_close_deletes_them(spares: SpareJournals, maker: Maker) -> None:
    spares.fill()
    spares.close()
    assert maker.on_disk == []
    assert not spares.wanted
    spares.fill()
    assert maker.on_disk == []


def test_a_failure_to_make_one_is_raised(tmp_path: Path) -> None:
    def no_space(capacity_bytes: int) -> JournalWriter:
        raise OSError(errno.ENOSPC, "No space left on device")

    spares = SpareJournals(no_space, CAPACITY_BYTES)
    with pytest.raises(OSError, match="No space"):
        spares.fill()
    with pytest.raises(OSError, match="No space"):
        spares.take(0)
    assert spares.wanted


def test_discard_raises_nothing(maker: Maker) -> None:
    journal = maker(CAPACITY_BYTES)
    files.inject("unlink", 0, errno.EIO)
    files.inject("close", 0, errno.EIO)
    discard(journal)
    assert maker.on_disk == [journal.number]
    discard(journal)
    assert maker.on_disk == []
