"""One check for each kind of file that makes a keyspace up.

A check reads its file once, from end to end, and gives all that is wrong with it. `checks_of` is the place where
each kind has its own: a new kind of file adds its check there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.kernel.blob import BlobReader
from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.files import CancelFlag
from fjeld.kernel.replay import replay_journal
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_check import survey_table
from fjeld.manifest import names
from fjeld.manifest.fields import MAX_SEQNO
from fjeld.manifest.recovery import Listing
from fjeld.manifest.state import FileRecord, TableMeta
from fjeld.recovery.moment import HeldBlob, HeldJournal, HeldTable, Moment

if TYPE_CHECKING:  # it exists for type checkers only
    from fjeld.kernel.table_check import TableSurvey

__all__ = ["FileCheck", "Finding", "Problem", "checks_of", "checks_without_manifest"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: str
    """The file, relative to the folder."""
    offset: int | None
    """The place in the file in bytes, where there is one."""
    what: str

    def __str__(self) -> str:
        at = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.path}: {self.what}{at}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: bytes read, and problems."""

    size_bytes: int
    problems: tuple[Problem, ...] = ()


class FileCheck(Protocol):
    """The check of one file."""

    @property
    def path(self) -> str:
        """Relative to the folder."""

    @property
    def size_bytes(self) -> int:
        """What the manifest says of it, or about as much: for the progress."""

    def run(self, cancel: CancelFlag) -> Finding | None:
        """Any thread; None where it was cancelled. Raises nothing for damage."""


def checks_of(moment: Moment, ahead_bytes: int) -> Iterator[FileCheck]:
    """The checks of all files of a moment that could be opened. ahead_bytes: as survey_table."""
    for table in moment.tables.values():
        yield TableCheck(table, ahead_bytes)
    for blob in moment.blobs.values():
        if blob.held:
            yield BlobCheck(blob)
    for journal in moment.journals:
        yield JournalCheck(journal)


@dataclass(frozen=True, slots=True)
class TableCheck:
    """A table: every byte, entry and count, against the manifest."""

    table: HeldTable
    ahead_bytes: int

    @property
    def path(self) -> str:
        return self.table.meta.path

    @property
    def size_bytes(self) -> int:
        return self.table.meta.size_bytes

    def run(self, cancel: CancelFlag) -> Finding | None:
        meta = self.table.meta
        try:
            survey = survey_table(self.table, cancel, self.ahead_bytes)
        except OSError as error:
            return Finding(0, (_unreadable(self.path, error),))
        if survey is None:
            return None
        problems = [Problem(self.path, offset, what) for offset, what in survey["problems"]]
        if survey["xxh128"] != meta.xxh128 or survey["size_bytes"] != meta.size_bytes:
            if not problems:
                problems.append(Problem(self.path, None, "its checksum is not the one in the manifest"))
        elif survey["whole"] and not problems:
            problems += [Problem(self.path, None, what) for what in _against_manifest(meta, survey)]
        return Finding(survey["size_bytes"], tuple(problems))


COUNTS = ("entries", "tombstones", "weak_tombstones", "min_seqno", "max_seqno", "raw_bytes")


def _against_manifest(meta: TableMeta, survey: TableSurvey) -> Iterator[str]:
    """What manifest, properties and entries do not agree on."""
    counted: Mapping[str, object] = {**survey}
    for name in (*COUNTS, "blocks"):
        if getattr(meta, name) != counted[name]:
            yield f"the manifest says {getattr(meta, name)} {name}, there are {counted[name]}"
    if meta.blobs != survey["blobs"]:
        yield "its entries refer to blob files otherwise than the manifest says"
    properties = _properties(survey)
    if properties is None:
        yield "its properties make no sense"
        return
    if properties.get("number") != meta.number:
        yield f"its properties say that it is table {properties.get('number')}"
    if (properties.get("smallest"), properties.get("largest")) != (meta.smallest.hex(), meta.largest.hex()):
        yield "its properties say other keys than the manifest"
    yield from _against_properties(properties, survey)


def _properties(survey: TableSurvey) -> dict[str, object] | None:
    try:
        properties = json.loads(survey["properties"] or b"")
    except (ValueError, RecursionError):
        return None
    return properties if isinstance(properties, dict) else None


def _against_properties(properties: Mapping[str, object], survey: TableSurvey) -> Iterator[str]:
    counted: Mapping[str, object] = {**survey}
    ingested = properties.get("max_seqno") == 0  # written before its seqno was known
    for name in COUNTS:
        if ingested and name in ("min_seqno", "max_seqno"):
            continue
        if properties.get(name) != counted[name]:
            yield f"its properties say {properties.get(name)} {name}, there are {counted[name]}"


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """A blob file: every byte and record, against the manifest. That each pointer leads to the value of its key is what
    the scan sees.
    """

    blob: HeldBlob

    @property
    def path(self) -> str:
        return self.blob.meta.path

    @property
    def size_bytes(self) -> int:
        return self.blob.meta.size_bytes

    def run(self, cancel: CancelFlag) -> Finding | None:
        meta = self.blob.meta
        try:
            summary = self.blob.summary(cancel)
            if summary is None:
                return None
            if summary == (meta.size_bytes, meta.xxh128):
                counted = self.blob.check()
                told = {name: getattr(meta, name) for name in counted}
                wrong = [
                    Problem(self.path, None, f"the manifest says {told[name]} {name}, there are {count}")
                    for name, count in counted.items()
                    if told[name] != count
                ]
                return Finding(summary[0], tuple(wrong))
            problem = Problem(self.path, None, "its size and checksum are not those in the manifest")
            return Finding(summary[0], tuple(_damage(self.blob, self.path)) or (problem,))
        except OSError as error:
            return Finding(0, (_unreadable(self.path, error),))
        except CorruptionError as error:
            return Finding(meta.size_bytes, (Problem(self.path, error.offset, error.what),))


def _damage(blob: BlobReader, path: str) -> Iterator[Problem]:
    """Where a blob file is damaged, if its records tell."""
    try:
        blob.check()
    except CorruptionError as error:
        yield Problem(path, error.offset, error.what)


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """A journal: every record; of a finished one every byte."""

    journal: HeldJournal

    @property
    def path(self) -> str:
        return names.journal_path(self.journal.replay.number)

    @property
    def size_bytes(self) -> int:
        meta = self.journal.replay.meta
        return 0 if meta is None or meta.size_bytes is None else meta.size_bytes

    def run(self, cancel: CancelFlag) -> Finding | None:
        if cancel.is_set():
            return None
        meta = self.journal.replay.meta
        problems: list[Problem] = []
        size_bytes = 0
        try:
            reader = self.journal.open(MAX_SEQNO)
            size_bytes, xxh128 = reader.summary()
            if meta is not None and meta.finished and (size_bytes, xxh128) != (meta.size_bytes, meta.xxh128):
                problems.append(
                    Problem(self.path, None, "its size and checksum are not those in the manifest")
                )
            last_seqno = replay_journal(reader, {}, {}, 0, None)
            if meta is not None and last_seqno > meta.last_seqno:
                what = (
                    f"the manifest says that it ends with seqno {meta.last_seqno}, it does with {last_seqno}"
                )
                problems.append(Problem(self.path, None, what))
        except CorruptionError as error:
            problems.append(Problem(self.path, error.offset, error.what))
        except UnsupportedFormatError as error:
            problems.append(Problem(self.path, None, str(error)))
        except OSError as error:
            problems.append(_unreadable(self.path, error))
        return Finding(size_bytes, tuple(problems))


# ---- where the manifest cannot be read ----


def checks_without_manifest(
    folder: str, listing: Listing, records: Sequence[FileRecord]
) -> Iterator[FileCheck]:
    """The checks of what there is: tables and blob files against themselves, and what checkpoint.json names against that."""
    known = {record.path: record for record in records}
    found = {names.table_path(number) for name in listing.tables if (number := names.number_of_table(name))}
    found |= {names.blob_path(number) for name in listing.blobs if (number := names.number_of_blob(name))}
    for path in sorted(found | known.keys()):
        yield UnnamedCheck(folder, path, known.get(path))


@dataclass(frozen=True, slots=True)
class UnnamedCheck:
    """A file of which no manifest tells."""

    folder: str
    path: str
    record: FileRecord | None
    """What checkpoint.json says of it."""

    @property
    def size_bytes(self) -> int:
        return 0 if self.record is None else self.record.size_bytes or 0

    def run(self, cancel: CancelFlag) -> Finding | None:
        path = os.path.join(self.folder, self.path)
        problems: list[Problem] = []
        size_bytes = 0
        try:
            size_bytes, xxh128 = file_xxh128(path)
            if self.record is not None and (size_bytes, xxh128) != (
                self.record.size_bytes,
                self.record.xxh128,
            ):
                problems.append(
                    Problem(self.path, None, "its size and checksum are not those in checkpoint.json")
                )
            if names.number_of_table(os.path.basename(path)) is not None:
                reader = TableReader(path, BlockCache(0), DescriptorPool(1))
                survey = survey_table(reader, cancel)
                if survey is None:
                    return None
                problems += _alone(self.path, survey)
            blob = names.number_of_blob(os.path.basename(path))
            if blob is not None:
                reader_of_values = BlobReader(path, DescriptorPool(1), number=blob, file_bytes=size_bytes)
                problems += _damage(reader_of_values, self.path)
        except CorruptionError as error:
            problems.append(Problem(self.path, error.offset, error.what))
        except UnsupportedFormatError as error:
            problems.append(Problem(self.path, None, str(error)))
        except FileNotFoundError:
            problems.append(Problem(self.path, None, "the file is missing"))
        except OSError as error:
            problems.append(_unreadable(self.path, error))
        return Finding(size_bytes, tuple(problems))


def _alone(relative: str, survey: TableSurvey) -> list[Problem]:
    """A table checked against itself."""
    problems = [Problem(relative, offset, what) for offset, what in survey["problems"]]
    properties = _properties(survey)
    if properties is None:
        return problems or [Problem(relative, None, "its properties make no sense")]
    number = names.number_of_table(os.path.basename(relative))
    if properties.get("number") != number:
        what = f"its properties say that it is table {properties.get('number')}"
        problems.append(Problem(relative, None, what))
    if survey["whole"]:
        problems += [Problem(relative, None, what) for what in _against_properties(properties, survey)]
    return problems


def _unreadable(path: str, error: OSError) -> Problem:
    return Problem(path, None, f"it cannot be read ({error.strerror or error})")
