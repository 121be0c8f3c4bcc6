"""A survey of a table: the checksum of the file, all damage in one pass, and the counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.files import CancelFlag
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_check import survey_table
from tests.kernel.tables import Version, numbered, open_table, options, versions, write


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@given(versions(), options)
def test_a_sound_table(tmp_path_factory, entries: list[Version], chosen: dict) -> None:
    path = tmp_path_factory.mktemp("t") / "a.sst"
    facts = write(path, entries, **chosen)
    survey = survey_table(open_table(path))
    assert survey["problems"] == []
    assert survey["whole"]
    assert (survey["size_bytes"], survey["xxh128"]) == file_xxh128(path)
    for name in ("entries", "tombstones", "weak_tombstones", "min_seqno", "max_seqno", "raw_bytes", "blocks"):
        assert survey[name] == facts[name], name
    assert survey["keys"] == len({key for key, *_ in entries})


def lazy(path: Path, facts: dict, seqno: int = 0) -> TableReader:
    """As the manifest's reader: nothing is read before the survey."""
    return TableReader(
        path,
        BlockCache(0),
        DescriptorPool(2),
        expected_bytes=facts["size_bytes"],
        smallest=facts["smallest"],
        largest=facts["largest"],
        seqno=seqno,
    )


def test_it_goes_on_after_damage(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(2000), block_bytes=256)
    data = bytearray((tmp_path / "a").read_bytes())
    for offset in (10, len(data) // 3, len(data) // 2):
        data[offset] ^= 1
    rewrite(tmp_path / "a", bytes(data))
    survey = survey_table(lazy(tmp_path / "a", facts))
    assert [what for _, what in survey["problems"]] == ["the checksum of a block does not match"] * 3
    assert not survey["whole"]
    assert 0 < survey["entries"] < 2000
    assert survey["xxh128"] == file_xxh128(tmp_path / "a")[1], "what cannot be parsed is hashed all the same"


@pytest.mark.parametrize("size", [0, 10, 64, 1000])
def test_a_table_that_is_cut_short(tmp_path: Path, size: int) -> None:
    facts = write(tmp_path / "a", numbered(2000))
    rewrite(tmp_path / "a", (tmp_path / "a").read_bytes()[:size])
    survey = survey_table(lazy(tmp_path / "a", facts))
    assert len(survey["problems"]) == 1
    assert survey["size_bytes"] == size
    assert survey["properties"] is None


def test_cut_short_while_it_is_open(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(2000))
    table = lazy(tmp_path / "a", facts)
    survey_table(table)
    rewrite(tmp_path / "a", (tmp_path / "a").read_bytes()[:1000])
    survey = survey_table(table)
    assert (1000, "the file is shorter than it was") in survey["problems"]
    assert not survey["whole"]


def test_one_seqno_for_all(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", [(b"a", 0, 1, b""), (b"b", 0, 1, b"")])
    survey = survey_table(lazy(tmp_path / "a", facts, seqno=7))
    assert (survey["problems"], survey["min_seqno"], survey["max_seqno"]) == ([], 7, 7)
    facts = write(tmp_path / "b", [(b"a", 7, 1, b""), (b"b", 7, 1, b"")])
    assert survey_table(lazy(tmp_path / "b", facts, seqno=7))["problems"] == []
    ((_, what),) = survey_table(lazy(tmp_path / "b", facts, seqno=8))["problems"]
    assert what == "an entry with another seqno than the manifest says"


def test_cancel(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(100))
    flag = CancelFlag()
    assert survey_table(lazy(tmp_path / "a", facts), flag) is not None
    flag.set()
    assert survey_table(lazy(tmp_path / "a", facts), flag) is None


def test_a_table_that_is_held_outlives_its_name(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(100))
    pool = DescriptorPool(1)
    table = TableReader(
        tmp_path / "a",
        BlockCache(0),
        pool,
        expected_bytes=facts["size_bytes"],
        smallest=facts["smallest"],
        largest=facts["largest"],
    )
    assert not table.held
    table.hold()
    assert table.held
    (tmp_path / "a").unlink()
    write(tmp_path / "b", numbered(100))
    other = TableReader(tmp_path / "b", BlockCache(0), pool)  # more than the limit: a held one stays
    assert len(list(other.scan())) == len(list(table.scan())) == 100
    pool.close_all()
    assert len(list(table.scan(stream=False))) == 100
    del table
    assert pool.open_count <= 1
    with pytest.raises(FileNotFoundError):
        TableReader(tmp_path / "a", BlockCache(0), pool, smallest=b"", largest=b"").hold()
