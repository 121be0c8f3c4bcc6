"""Both ends of every number that manifests say: what lies at the limit is read, what lies beyond it is damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fjeld.errors import CorruptionError
from fjeld.manifest.blob_meta import BLOB_FIXED_BYTES, BlobMeta
from fjeld.manifest.edit import (
    Change,
    ChangeTables,
    ClearPartition,
    Counters,
    CreatePartition,
    DropPartition,
    Edit,
    FinishJournal,
    RetireJournals,
)
from fjeld.manifest.fields import MAX_BYTES, MAX_PARTITION_ID, MAX_SEQNO
from fjeld.manifest.names import MAX_FILE_NUMBER
from fjeld.manifest.state import JournalMeta, Parent, PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import LEVELS, PartitionOptions
from tests.manifest.samples import ID, SUM, empty, table
from tests.manifest.test_blob_meta import blob

Reader = Callable[[Any], object]
PARTITION = PartitionState(id=1, name="p", options=PartitionOptions(), levels=((),) * LEVELS)
CHANGES: list[tuple[Change, dict[str, tuple[int, int]]]] = [
    (CreatePartition(1, "p", PartitionOptions()), {"id": (1, MAX_PARTITION_ID)}),
    (DropPartition(1), {"partition": (1, MAX_PARTITION_ID)}),
    (ClearPartition(1, 5), {"partition": (1, MAX_PARTITION_ID), "flushed_seqno": (0, MAX_SEQNO)}),
    (ChangeTables(1, flushed_seqno=5), {"partition": (1, MAX_PARTITION_ID), "flushed_seqno": (0, MAX_SEQNO)}),
    (FinishJournal(1, 9, SUM), {"number": (1, MAX_FILE_NUMBER), "size_bytes": (1, MAX_BYTES)}),
    (RetireJournals(1), {"floor": (1, MAX_FILE_NUMBER + 1)}),
    (
        Counters(next_file=3, next_partition=3, seqno=3),
        {
            "next_file": (1, MAX_FILE_NUMBER + 1),
            "next_partition": (1, MAX_PARTITION_ID + 1),
            "seqno": (0, MAX_SEQNO),
        },
    ),
]
VALUES: list[tuple[Reader, Any, dict[str, tuple[int, int]]]] = [
    (
        BlobMeta.from_json,
        blob(3).to_json(),
        {
            "number": (1, MAX_FILE_NUMBER),
            "size_bytes": (BLOB_FIXED_BYTES + 1, MAX_BYTES),
            "entries": (1, MAX_BYTES),
            "raw_bytes": (0, MAX_BYTES),
            "stored_bytes": (0, MAX_BYTES),
            "created_ns": (0, MAX_BYTES),
        },
    ),
    (
        TableMeta.from_json,
        json.loads(table(3).text()) | {"min_seqno": 0, "max_seqno": MAX_SEQNO},
        {
            "number": (1, MAX_FILE_NUMBER),
            "size_bytes": (1, MAX_BYTES),
            "min_seqno": (0, MAX_SEQNO),
            "max_seqno": (0, MAX_SEQNO),
            "raw_bytes": (0, MAX_BYTES),
            "blocks": (1, MAX_BYTES),
            "entries": (1, MAX_BYTES),
            "tombstones": (0, MAX_BYTES),
            "weak_tombstones": (0, MAX_BYTES),
            "created_ns": (0, MAX_BYTES),
        },
    ),
    (
        JournalMeta.from_json,
        JournalMeta(number=3, last_seqno=5, size_bytes=9, xxh128=SUM).to_json(),
        {"number": (1, MAX_FILE_NUMBER), "last_seqno": (0, MAX_SEQNO), "size_bytes": (1, MAX_BYTES)},
    ),
    (
        JournalMeta.from_json,
        JournalMeta(number=3, last_seqno=5, size_bytes=MAX_BYTES, xxh128=SUM, end_bytes=9).to_json(),
        {"end_bytes": (1, MAX_BYTES)},
    ),
    (Parent.from_json, Parent(ID, 5).to_json(), {"seqno": (0, MAX_SEQNO)}),
    (
        PartitionState.from_json,
        json.loads(PARTITION.text()),
        {"id": (1, MAX_PARTITION_ID), "flushed_seqno": (0, MAX_SEQNO)},
    ),
    (
        Version.from_json,
        json.loads(empty().text()),
        {
            "journal_floor": (1, MAX_FILE_NUMBER + 1),
            "next_file": (1, MAX_FILE_NUMBER + 1),
            "next_partition": (1, MAX_PARTITION_ID + 1),
            "seqno": (0, MAX_SEQNO),
        },
    ),
]


def read_change(value: Any) -> object:
    return Edit.from_json([value])


CASES = [
    *((reader, value, name, ends) for reader, value, limits in VALUES for name, ends in limits.items()),
    *(
        (read_change, Edit.of(change).to_json()[0], name, ends)
        for change, limits in CHANGES
        for name, ends in limits.items()
    ),
]


@pytest.mark.parametrize(("read", "value", "name", "ends"), CASES)
def test_both_ends(read: Reader, value: Any, name: str, ends: tuple[int, int]) -> None:
    low, high = ends
    for number in ends:
        found: Any = read(value | {name: number})
        found = found.changes[0] if isinstance(found, Edit) else found
        assert getattr(found, name) == number
    for number in (low - 1, high + 1):
        with pytest.raises(CorruptionError, match=name):
            read(value | {name: number})


@pytest.mark.parametrize("name", ["added", "removed"])
def test_levels_and_tables_of_a_change(name: str) -> None:
    change: Any = Edit.of(ChangeTables(1)).to_json()[0]
    meta = json.loads(table(3).text())
    for level, number, fits in (
        (0, 1, True),
        (LEVELS - 1, MAX_FILE_NUMBER, True),
        (LEVELS, 1, False),
        (-1, 1, False),
        (0, 0, False),
        (0, MAX_FILE_NUMBER + 1, False),
    ):
        pairs = [[level, meta | {"number": number} if name == "added" else number]]
        if fits:
            read_change(change | {name: pairs})
        else:
            with pytest.raises(CorruptionError):
                read_change(change | {name: pairs})


def test_a_journal_ends_within_its_file() -> None:
    value = JournalMeta(number=3, last_seqno=5, size_bytes=9, xxh128=SUM, end_bytes=9).to_json()
    assert JournalMeta.from_json(value).end_bytes == 9
    with pytest.raises(CorruptionError, match="end behind its file"):
        JournalMeta.from_json(value | {"end_bytes": 10})
