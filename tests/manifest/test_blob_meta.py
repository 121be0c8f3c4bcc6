"""Blob files in a version: what goes by itself, what does not fit, and what JSON may say."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.manifest.blob_meta import BLOB_FIXED_BYTES, BlobMeta, references
from fjeld.manifest.edit import ChangeTables, ClearPartition, CreatePartition, DropPartition, Edit
from fjeld.manifest.recovery import Listing, plan_recovery
from fjeld.manifest.state import TableMeta
from fjeld.manifest.version import Version
from fjeld.options import PartitionOptions
from tests.manifest.samples import empty, table


def blob(number: int, entries: int = 4, record_bytes: int = 400) -> BlobMeta:
    return BlobMeta(
        number=number,
        size_bytes=BLOB_FIXED_BYTES + record_bytes,
        xxh128=f"{number:032x}",
        entries=entries,
        raw_bytes=600,
        stored_bytes=300,
        created_ns=number,
    )


def pointing(
    number: int, *blobs: tuple[int, int, int], keys: tuple[bytes, bytes] = (b"a", b"z")
) -> TableMeta:
    return dataclasses.replace(table(number, *keys), blobs=blobs)


def change(*added: TableMeta, removed: tuple[int, ...] = (), blobs: tuple[BlobMeta, ...] = ()) -> Edit:
    return Edit.of(
        ChangeTables(
            1, added=tuple((0, t) for t in added), removed=tuple((0, n) for n in removed), blobs=blobs
        )
    )


@pytest.fixture
def version() -> Version:
    """Table 3 points to most of blob file 2, table 5 to the rest of it and to a quarter of blob file 4."""
    made = empty().apply(Edit.of(CreatePartition(1, "a", PartitionOptions())))
    made = made.apply(change(pointing(3, (2, 3, 300)), blobs=(blob(2),)))
    return made.apply(change(pointing(5, (2, 1, 100), (4, 1, 100)), blobs=(blob(4),)))


def numbers(version: Version) -> list[int]:
    return [found.number for found in version.blobs()]


def test_garbage_is_what_no_table_points_to(version: Version) -> None:
    assert references(version.tables()) == {2: (4, 400), 4: (1, 100)}
    assert [meta.garbage_bytes(references(version.tables())[meta.number][1]) for meta in version.blobs()] == [
        0,
        300,
    ]


def test_a_file_goes_with_the_last_table_that_points_into_it(version: Version) -> None:
    assert numbers(version) == [2, 4]
    version = version.apply(change(removed=(3,)))
    assert numbers(version) == [2, 4]
    moved = version.apply(change(pointing(7, (6, 2, 200)), removed=(5,), blobs=(blob(6),)))
    assert numbers(moved) == [6]
    assert numbers(version.apply(change(removed=(5,)))) == []
    assert numbers(version.apply(Edit.of(ClearPartition(1, 100)))) == []
    assert numbers(version.apply(Edit.of(DropPartition(1)))) == []
    moved.check()


def test_they_are_files_of_the_version(version: Version) -> None:
    assert [file.path for file in version.files()] == [
        "tables/000000000005.sst",
        "tables/000000000003.sst",
        "blobs/000000000002.blb",
        "blobs/000000000004.blb",
    ]
    assert version.next_file == 6
    later = version.apply(change(pointing(7, (8, 2, 200)), blobs=(blob(8),)))
    assert later.next_file == 9, "the blob file's number may be the last one"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(blobs=(blob(6),)), "no table points into blob file 6"),
        (change(pointing(7, (6, 1, 1))), "blob file 6, which it does not have"),
        (change(pointing(7, (2, 1, 1))), "more than blob file 2 holds"),
        (change(pointing(7, (4, 1, 301))), "more than blob file 4 holds"),
        (change(pointing(7, (4, 4, 4))), "more than blob file 4 holds"),
        (change(pointing(7, (4, 1, 1)), blobs=(blob(4),)), "blob file 4 is in partition 1 already"),
    ],
)
def test_what_does_not_fit(version: Version, edit: Edit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        version.apply(edit)


def test_a_number_names_one_file(version: Version) -> None:
    state = version.partitions[1]
    twice = dataclasses.replace(state, blobs=(blob(2), blob(2)))
    assert "partition 1: blob files out of order" in list(twice.problems())
    same = version.apply(change(pointing(9, (3, 1, 1)), blobs=(blob(3),)))
    assert "number 3 names two files" in list(same.problems())


def test_the_manifest_says_the_same_again(version: Version) -> None:
    assert Version.from_json(json.loads(version.text())) == version
    edit = change(pointing(7, (6, 2, 200)), removed=(5,), blobs=(blob(6),))
    assert Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit
    plain = change(table(7))
    assert "blobs" not in json.dumps(plain.to_json()), "an older version can read it"


@pytest.mark.parametrize(
    "blobs",
    [
        [],
        {},
        "12",
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[0, 1, 1]],
        [[1, 0, 1]],
        [[1, 1, 0]],
        [[1, 1, True]],
        [[2, 1, 1], [1, 1, 1]],
        [[1, 1, 1], [1, 1, 1]],
        [[1, 1, 1.5]],
        [["1", 1, 1]],
        [[10**12, 1, 1]],
    ],
)
def test_references_that_cannot_be(blobs: object) -> None:
    raw: Any = pointing(3, (1, 1, 1)).to_json()
    with pytest.raises(CorruptionError, match="blobs"):
        TableMeta.from_json(raw | {"blobs": blobs})


@pytest.mark.parametrize(
    "changed",
    [
        {"number": 0},
        {"size_bytes": 80},
        {"xxh128": "?"},
        {"entries": 0},
        {"raw_bytes": -1},
        {"created_ns": None},
    ],
)
def test_a_blob_file_that_cannot_be(changed: dict[str, object]) -> None:
    with pytest.raises(CorruptionError, match=next(iter(changed))):
        BlobMeta.from_json(blob(3).to_json() | changed)


def test_the_least_that_there_is() -> None:
    least = dataclasses.replace(
        blob(1), size_bytes=BLOB_FIXED_BYTES + 1, entries=1, raw_bytes=0, stored_bytes=0, created_ns=0
    )
    assert BlobMeta.from_json(least.to_json()) == least
    raw: Any = pointing(3, (1, 1, 1)).to_json()
    assert TableMeta.from_json(raw).blobs == ((1, 1, 1),)


def test_what_a_newer_version_wrote() -> None:
    with pytest.raises(UnsupportedFormatError):
        BlobMeta.from_json(blob(3).to_json() | {"tier": 1})
    raw: Any = pointing(3, (1, 1, 1)).to_json()
    with pytest.raises(UnsupportedFormatError):
        TableMeta.from_json(raw | {"other": 1})


def test_recovery_deletes_what_is_not_named_and_does_not_miss_what_is(version: Version) -> None:
    listing = Listing(
        root=frozenset({"MANIFEST-000001"}),
        tables=frozenset({"000000000003.sst", "000000000005.sst"}),
        journals=frozenset(),
        blobs=frozenset({"000000000002.blb", "000000000090.blb", "1.blb", "000000000091.tmp"}),
    )
    plan = plan_recovery(version, listing, manifest=1)
    assert plan.delete == ("blobs/000000000090.blb", "blobs/000000000091.tmp")
    assert plan.next_file == 91
