"""What opening must replay and delete: a plan, made from a version and the names of files without any I/O.

The rules:
  1. Journals from `journal_floor` on are replayed in order of number; those below it are retired and deleted.
  2. A journal that the manifest lists with size and checksum must be whole, and so must all before it:
     only what comes after the last of these may end in a torn tail.
  3. A table or journal that the version names must be there. A blob file that is missing is damage to the values
     in it and to nothing else: it is met when one of them is read. Tables, blob files and journals that it does not
     name, other manifests, and whatever never got its final name are deleted. Names that are not the engine's are
     left alone.
  4. No number that was ever seen is given again, not even that of a file about to be deleted: the next one is
     above all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fjeld.errors import CorruptionError
from fjeld.manifest import names
from fjeld.manifest.version import JournalMeta, Version

__all__ = ["JournalReplay", "Listing", "RecoveryPlan", "plan_recovery"]

STAGING_SUFFIX = ".tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The names in the directories of a keyspace."""

    root: frozenset[str]
    tables: frozenset[str]
    journals: frozenset[str]
    blobs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class JournalReplay:
    """One journal to replay. `meta` is what the manifest says of it, None: nothing (it was active)."""

    number: int
    meta: JournalMeta | None
    may_be_torn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """What opening has to do.

    Paths are relative to the keyspace; delete only after a new manifest is published.
    """

    journals: tuple[JournalReplay, ...]
    """In the order of replay. After one that is torn, records of the later ones are not believed."""
    delete: tuple[str, ...]
    next_file: int
    """The first number that is safe to give."""


def plan_recovery(version: Version, listing: Listing, *, manifest: int) -> RecoveryPlan:
    """The plan for a keyspace whose CURRENT names manifest number `manifest`, which led to `version`.

    A file that should be there and is not is a `CorruptionError` that names it.
    """
    tables = _numbers(listing.tables, names.number_of_table)
    journals = _numbers(listing.journals, names.number_of_journal)
    manifests = _numbers(listing.root, names.number_of_manifest)
    blobs = _numbers(listing.blobs, names.number_of_blob)
    live_blobs = {blob.number for blob in version.blobs()}
    live_tables = {table.number for table in version.tables()}
    sealed = {journal.number: journal for journal in version.journals}
    _require_present(live_tables - tables, names.table_path)
    _require_present(sealed.keys() - journals, names.journal_path)

    orphans = [names.manifest_name(number) for number in sorted(manifests - {manifest})]
    orphans += [names.table_path(number) for number in sorted(tables - live_tables)]
    orphans += [names.blob_path(number) for number in sorted(blobs - live_blobs)]
    orphans += [names.journal_path(number) for number in sorted(journals) if number < version.journal_floor]
    stagings = _numbers(listing.root, names.number_of_current_staging)
    seen = tables | blobs | journals | manifests | stagings | {manifest}
    return RecoveryPlan(
        journals=_replays(sealed, (number for number in journals if number >= version.journal_floor)),
        delete=(*orphans, *_stagings(listing)),
        next_file=max(version.next_file, max(seen) + 1),
    )


def _replays(sealed: dict[int, JournalMeta], numbers: Iterable[int]) -> tuple[JournalReplay, ...]:
    """Rules 1 and 2."""
    last_whole = max((number for number, journal in sealed.items() if journal.finished), default=0)
    return tuple(JournalReplay(number, sealed.get(number), number > last_whole) for number in sorted(numbers))


def _stagings(listing: Listing) -> list[str]:
    """What was being written under a name of its own when the process died."""
    directories = [
        ("", listing.root),
        (f"{names.TABLES_DIRECTORY}/", listing.tables),
        (f"{names.BLOBS_DIRECTORY}/", listing.blobs),
        (f"{names.JOURNALS_DIRECTORY}/", listing.journals),
    ]
    return [
        prefix + name
        for prefix, found in directories
        for name in sorted(found)
        if name.endswith(STAGING_SUFFIX)
    ]


def _numbers(found: Iterable[str], number_of: Callable[[str], int | None]) -> set[int]:
    return {number for name in found if (number := number_of(name)) is not None}


def _require_present(missing: set[int], path_of: Callable[[int], str]) -> None:
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CorruptionError(
            f"the file is missing{more}; restore it, or the keyspace, from a backup",
            path=path_of(min(missing)),
        )
