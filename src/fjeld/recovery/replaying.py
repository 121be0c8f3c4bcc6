"""Journals back into memtables: what opening and reading only have in common.

Nothing is written and nothing is decided about files. Invariants:

  1. Seqnos go on without a gap, from what the version has seen to the last record.
  2. Only the end of the newest journals may be lost. What a later record claims to have been on disk must be there.
  3. Behind a torn end nothing is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fjeld.errors import CorruptionError
from fjeld.kernel.core import TreeCore
from fjeld.kernel.journal_reader import JournalReader
from fjeld.kernel.replay import replay_journal
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.manifest.recovery import JournalReplay
from fjeld.manifest.version import Version

__all__ = ["OpenJournal", "Replay", "ReplayedJournal", "replay_journals"]

OpenJournal = Callable[[JournalReplay, int], JournalReader]
"""open_journal(replay, after_seqno): a reader that stands at the journal's beginning."""


@dataclass(frozen=True, slots=True)
class ReplayedJournal:
    """A journal that holds entries."""

    replay: JournalReplay
    last_seqno: int
    outcome: str | None
    """How it ends: "sealed", "open" or "torn"."""
    end_bytes: int
    """Where its records end."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What was replayed."""

    journals: tuple[ReplayedJournal, ...]
    last_seqno: int
    """Of the journals and of the version: writing may go on behind it."""
    seqno: int
    """What was visible at last: one less, where the last record is that of an ingestion that has not happened."""
    torn: tuple[str, int] | None
    """Path and offset of a torn tail."""
    unbelieved: tuple[int, ...]
    """The numbers of the journals behind it, which were not replayed."""


def replay_journals(
    version: Version,
    journals: Sequence[JournalReplay],
    open_journal: OpenJournal,
    cores: Mapping[int, TreeCore],
    on_full: Callable[[TreeCore], object] | None,
) -> Replay:
    """Fill the memtables of the cores (by partition id) with what is in no table.

    on_full(core) is called when a memtable has reached its size, to put a fresh one in its place (None:
    there are no cores). Not thread-safe: nobody else uses the cores yet.
    """
    flushed = {state.id: state.flushed_seqno for state in version.partitions.values()}
    last_seqno = 0
    reserved = 0
    torn: tuple[str, int] | None = None
    unbelieved: tuple[int, ...] = ()
    found: list[ReplayedJournal] = []
    for index, replay in enumerate(journals):
        # What was in journals that are gone is in tables: up to the seqno of the version at most.
        reader = open_journal(replay, last_seqno or version.seqno)
        before = last_seqno
        last_seqno = replay_journal(reader, dict(cores), flushed, before, on_full)
        if not before:
            _require_beginning(version, reader)
        if last_seqno != before:
            reserved = last_seqno if reader.reserves else 0
            if replay.meta is not None and replay.meta.finished:
                last_seqno = replay.meta.last_seqno
            found.append(ReplayedJournal(replay, last_seqno, reader.outcome, reader.position))
        if reader.outcome == "torn" and reader.position:
            torn = (reader.path, reader.position)
        later = journals[index + 1 :]
        known = last_seqno or version.seqno
        if _is_cut_off(replay, reader, later, open_journal, known):
            _require_unpersisted(reader, later, open_journal, known)
            unbelieved = tuple(following.number for following in later)
            break
    last_seqno = max(last_seqno, version.seqno)
    return Replay(tuple(found), last_seqno, _visible(version, last_seqno, reserved), torn, unbelieved)


def _visible(version: Version, last_seqno: int, reserved: int) -> int:
    """The seqno of an ingestion is in the journal before its tables are in the version."""
    if not reserved or reserved != last_seqno:
        return last_seqno
    happened = any(table.max_seqno >= reserved for table in version.tables())
    return last_seqno if happened else last_seqno - 1


def _require_beginning(version: Version, reader: JournalReader) -> None:
    """The journals must go on from what the version has seen."""
    if reader.first_seqno > version.seqno + 1:
        raise CorruptionError(
            f"the oldest journal begins with seqno {reader.first_seqno}, "
            f"the manifest ends with {version.seqno}: "
            "a journal is missing; restore it, or the keyspace, from a backup",
            path=reader.path,
        )


def _is_cut_off(
    replay: JournalReplay,
    reader: JournalReader,
    later: Sequence[JournalReplay],
    open_journal: OpenJournal,
    last_seqno: int,
) -> bool:
    """Did a power cut take the end of the journal? Then the later ones, if there are any, begin behind a gap."""
    if reader.outcome == "torn":
        return True
    if reader.outcome == "sealed" or (replay.meta is not None and replay.meta.finished):
        return False
    for following in later:
        peeked = open_journal(following, MAX_SEQNO)
        if next(peeked, None) is not None:
            return peeked.first_seqno > last_seqno + 1
    return False


def _require_unpersisted(
    reader: JournalReader, later: Sequence[JournalReplay], open_journal: OpenJournal, last_seqno: int
) -> None:
    """A power cut takes only what was not persisted; a later journal that knows better proves damage."""
    for following in later:
        proof = open_journal(following, MAX_SEQNO)
        for _record in proof:
            if proof.persisted > last_seqno:
                raise CorruptionError(
                    f"records behind seqno {last_seqno} are damaged that were on disk (by {proof.path}); "
                    "restore the file from a backup",
                    path=reader.path,
                    offset=reader.position,
                )
