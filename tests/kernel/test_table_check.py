"""A survey of a table: the checksum of the file, all damage in one pass, and the counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.checksum import file_xxh128, xxh64
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.files import CancelFlag
from fjeld.kernel.table import TableReader
from fjeld.kernel.table_check import survey_table
from fjeld.kernel.trailer import wrap_block
from tests.kernel.reference import Entry, common_prefix, encode_data, may_contain, read_table, varint
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


# ---- blocks whose checksums are right, and whose content is not ----


def with_block(path: Path, number: int, change: Callable[[list[Entry]], object]) -> None:
    """One block of an uncompressed table with other entries, of the same lengths, checksums made right."""
    whole = bytearray(path.read_bytes())
    blocks = read_table(bytes(whole)).blocks
    offset = sum(len(encode_data(block)) + 16 for block in blocks[:number])
    block = list(blocks[number])
    payload = encode_data(block)
    prefix = common_prefix(block[0][0], block[-1][0])
    change(block)
    changed = varint(len(block)) + varint(len(prefix)) + prefix
    for key, tag, value in block:
        assert key.startswith(prefix)
        suffix = key[len(prefix) :]
        changed += varint(len(suffix)) + varint(len(value)) + varint(tag >> 8 << 3 | tag & 7) + suffix + value
    assert len(changed) == len(payload)
    whole[offset : offset + len(payload) + 16] = wrap_block(changed, 0, 0, offset)
    rewrite(path, bytes(whole))


def problems_of(path: Path, facts: dict) -> list[str]:
    return [what for _, what in survey_table(lazy(path, facts))["problems"]]


def swap(first: int, second: int) -> Callable[[list[Entry]], None]:
    def change(block: list[Entry]) -> None:
        block[first], block[second] = block[second], block[first]

    return change


def rename(place: int, key: bytes) -> Callable[[list[Entry]], None]:
    def change(block: list[Entry]) -> None:
        _, tag, value = block[place]
        block[place] = (key, tag, value)

    return change


def repeat(place: int) -> Callable[[list[Entry]], None]:
    def change(block: list[Entry]) -> None:
        block[place] = block[place - 1]

    return change


# Shapes of keys: told apart by their heads; not by those; shorter than a head; behind a prefix; an own start each.
SHAPES: dict[str, Callable[[int], bytes]] = {
    "heads differ": lambda i: b"%08d" % (i * 7),
    "heads are equal": lambda i: b"%c12345678%04d" % (65 + i // 100, i),
    "short": lambda i: b"%03d" % i,
    "a prefix": lambda i: b"a prefix of some length/%05d" % i,
    "a long prefix": lambda i: b"p" * 2000 + b"%05d" % i,
    "no prefix": lambda i: b"%c" % (i + 20) + b"key",
}
SEVERAL = 150  # keys are looked up by the dozen: several of those
ORDER = "entries out of order"
FILTER = "a key that the filter does not know"


def shaped(path: Path, shape: str, *, filter_bits: int = 10) -> tuple[dict, list[bytes]]:
    keys = [SHAPES[shape](i) for i in range(SEVERAL)]
    facts = write(
        path, [(key, 5, 1, b"") for key in keys], block_bytes=1 << 20, codec=0, filter_bits=filter_bits
    )
    assert facts["blocks"] == 1
    return facts, keys


@pytest.mark.parametrize("filter_bits", [0, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_order_within_a_block(tmp_path: Path, shape: str, filter_bits: int) -> None:
    for place in (2, 70, SEVERAL - 2):
        for change in (swap(place - 1, place), repeat(place)):
            facts, _ = shaped(tmp_path / "a", shape, filter_bits=filter_bits)
            assert problems_of(tmp_path / "a", facts) == []
            with_block(tmp_path / "a", 0, change)
            assert problems_of(tmp_path / "a", facts) == [ORDER], place
            (tmp_path / "a").unlink()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_key_that_is_not_in_the_filter(tmp_path: Path, shape: str) -> None:
    """Each place alone: none is lost between one look-up and the next."""
    facts, keys = shaped(tmp_path / "a", shape)
    whole = (tmp_path / "a").read_bytes()
    file = read_table(whole)
    known = 0
    for place in range(1, SEVERAL - 1):
        key = keys[place][:-1] + bytes([keys[place][-1] | 0x80])  # still between its neighbours, or not
        change = rename(place, key)
        expected = FILTER if key < keys[place + 1] else ORDER
        if may_contain(file.filter_bits, file.probes, xxh64(key)):
            known += 1
            continue
        with_block(tmp_path / "a", 0, change)
        found = problems_of(tmp_path / "a", facts)
        assert found in ([expected], [FILTER]), (place, found)
        rewrite(tmp_path / "a", whole)
    assert known < SEVERAL // 10


def test_the_ends_of_a_block(tmp_path: Path) -> None:
    facts, keys = shaped(tmp_path / "a", "heads differ")
    whole = (tmp_path / "a").read_bytes()
    for change, expected in (
        (rename(0, b"00000001"), "the smallest key is not that of the properties"),
        (rename(SEVERAL - 1, keys[-1][:-1] + b"\xff"), FILTER),
    ):
        with_block(tmp_path / "a", 0, change)
        assert problems_of(tmp_path / "a", facts) == [expected]
        rewrite(tmp_path / "a", whole)
    facts, keys = shaped(tmp_path / "b", "heads differ", filter_bits=0)
    with_block(tmp_path / "b", 0, rename(SEVERAL - 1, keys[-1][:-1] + b"\xff"))
    assert problems_of(tmp_path / "b", facts) == ["a block whose last key is not that of the index"]


@pytest.mark.parametrize("filter_bits", [0, 10])
def test_order_between_blocks(tmp_path: Path, filter_bits: int) -> None:
    """Versions of one key may go on in the next block; nothing may begin anew there."""
    entries = [(b"key%05d" % (i // 3), 9 - i % 3, 1, b"value") for i in range(90)]
    facts = write(tmp_path / "a", entries, block_bytes=100, codec=0, filter_bits=filter_bits)
    blocks = read_table((tmp_path / "a").read_bytes()).blocks
    split = [i for i in range(1, len(blocks)) if blocks[i][0][0] == blocks[i - 1][-1][0]]
    assert split
    assert survey_table(lazy(tmp_path / "a", facts))["keys"] == 30
    last_key, last_tag, _ = blocks[split[0] - 1][-1]

    def same_version(block: list[Entry]) -> None:
        block[0] = (last_key, last_tag, block[0][2])

    with_block(tmp_path / "a", split[0], same_version)
    assert problems_of(tmp_path / "a", facts) == [ORDER]


def test_versions_of_a_key(tmp_path: Path) -> None:
    entries = [(b"a key", seqno, seqno % 3, b"") for seqno in range(40, 0, -1)]
    facts = write(tmp_path / "a", entries, codec=0)
    survey = survey_table(lazy(tmp_path / "a", facts))
    assert (survey["keys"], survey["tombstones"], survey["weak_tombstones"]) == (1, 13, 13)
    with_block(tmp_path / "a", 0, swap(10, 20))
    assert problems_of(tmp_path / "a", facts) == [ORDER]


def test_numbers_of_every_length(tmp_path: Path) -> None:
    """Varints of one to nine bytes, at the end of a block too."""
    for bits in range(56):
        for seqno in {(1 << bits) - 1, 1 << bits, (1 << bits) + 12345 & (1 << 56) - 1}:
            facts = write(tmp_path / "a", [(b"a", seqno, 1, b""), (b"b", seqno, 0, b"")])
            survey = survey_table(lazy(tmp_path / "a", facts))
            assert (survey["problems"], survey["min_seqno"], survey["max_seqno"]) == ([], seqno, seqno)
            (tmp_path / "a").unlink()
    sizes = [0, 1, 127, 128, 129, 16383, 16384, 70_000, 2_100_000]
    facts = write(tmp_path / "b", [(b"%d" % i, 1, 1, bytes(size)) for i, size in enumerate(sizes)])
    assert survey_table(lazy(tmp_path / "b", facts))["raw_bytes"] == sum(sizes) + len(sizes)
    lengths = [1, 7, 8, 9, 31, 32, 33, 127, 128, 65_000, 65_535]
    for prefix in (b"", b"x" * 31, b"y" * 400):
        keys = [prefix + bytes([65 + i]) * (size - len(prefix)) for i, size in enumerate(lengths)]
        keys = [key for key in keys if key != prefix]
        facts = write(tmp_path / f"c{len(prefix)}", [(key, 1, 1, b"") for key in keys], block_bytes=1 << 22)
        survey = survey_table(lazy(tmp_path / f"c{len(prefix)}", facts))
        assert (survey["problems"], survey["keys"]) == ([], len(keys))


def test_asking_ahead_changes_nothing(tmp_path: Path) -> None:
    facts = write(tmp_path / "a", numbered(20_000), block_bytes=256, codec=0)
    table = lazy(tmp_path / "a", facts)
    assert survey_table(table, None, 64 << 10) == survey_table(table)
