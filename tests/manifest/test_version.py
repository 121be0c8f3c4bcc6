"""Versions are values; their invariants are checked."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.manifest.edit import Edit, SealJournal
from fjeld.manifest.state import FileRecord, JournalMeta, Parent, PartitionState, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import LEVELS, PartitionOptions
from tests.manifest.samples import ID, OTHER_ID, SUM, empty, grown, table


def partition(*levels, **changes):
    full = (*levels, *((),) * (LEVELS - len(levels)))
    return PartitionState(**{"id": 1, "name": "p", "options": PartitionOptions(), "levels": full, **changes})


def version(*partitions, **changes):
    values = {"next_file": 1000, "next_partition": 10, "seqno": 100_000, **changes}
    return Version(id=ID, partitions={state.id: state for state in partitions}, **values)


def test_a_grown_version_is_sound_and_names_its_files():
    grown().check()
    assert list(grown().files()) == [
        FileRecord("tables/000000000007.sst", 1007, f"{7:032x}"),
        FileRecord("tables/000000000008.sst", 1008, f"{8:032x}"),
        FileRecord("journals/000000000006.jnl", None, None),
    ]
    assert grown().partition("users").id == 1
    assert grown().partition("gone") is None


def test_it_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        grown().seqno = 1
    with pytest.raises(TypeError):
        grown().partitions[5] = None


def test_it_does_not_follow_the_mapping_that_it_was_made_of():
    partitions = {}
    made = Version(id=ID, partitions=partitions)
    partitions[1] = partition()
    assert not made.partitions


SOUND = {
    "an empty one": version(),
    "level 0 newest first": version(partition((table(2), table(1)))),
    "level 0 with equal seqnos but no key in common": version(
        partition((table(2, b"a", b"c", seqno=5), table(1, b"d", b"f", seqno=5)))
    ),
    "neighbours": version(partition((), (table(1, b"a", b"b"), table(2, b"b\0", b"c")))),
    "one key, the empty one": version(partition((), (table(1, b"", b""), table(2, b"\0", b"c")))),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound(name):
    SOUND[name].check()
    assert Version.from_json(json.loads(SOUND[name].text())) == SOUND[name]


UNSOUND = {
    "smallest key is above": version(partition((table(1, b"b", b"a"),))),
    "smallest seqno is above": version(partition((dataclasses.replace(table(1), min_seqno=99),))),
    "more tombstones": version(partition((dataclasses.replace(table(1), tombstones=9),))),
    "before 2, which is newer": version(partition((table(1), table(2)))),
    "share keys and seqnos": version(partition((table(2, seqno=5), table(1, seqno=5)))),
    "overlap or are out of order": version(partition((), (table(1, b"a", b"c"), table(2, b"c", b"d")))),
    "tables 2 and 1 of level 6": version(
        partition((), (), (), (), (), (), (table(2, b"x", b"y"), table(1, b"a", b"b")))
    ),
    "names two files": version(
        partition((), (table(1, b"a", b"b"),)), partition((table(1),), id=2, name="q")
    ),
    "number 1 names two files": version(
        partition((table(1),)), journals=(JournalMeta(number=1, last_seqno=1),)
    ),
    "not below the next number": version(partition((table(7),)), next_file=7),
    "two partitions have the name": version(partition(), partition(id=2)),
    "not below the next id": version(partition(), next_partition=1),
    "journals 2 and 1 are out of order": version(
        journals=(JournalMeta(number=2, last_seqno=1), JournalMeta(number=1, last_seqno=1))
    ),
    "journals 1 and 2 are out of order": version(
        journals=(JournalMeta(number=1, last_seqno=9), JournalMeta(number=2, last_seqno=5))
    ),
    "below the floor": version(journals=(JournalMeta(number=2, last_seqno=1),), journal_floor=3),
    "flushed beyond": version(partition(flushed_seqno=9), seqno=8),
    "table 1 is beyond": version(partition((table(1, seqno=9),)), seqno=8),
    "journal 1 is beyond": version(journals=(JournalMeta(number=1, last_seqno=9),), seqno=8),
}


@pytest.mark.parametrize("problem", UNSOUND)
def test_unsound(problem):
    with pytest.raises(AssertionError, match=problem):
        UNSOUND[problem].check()
    with pytest.raises(CorruptionError, match=problem):
        Version.from_json(json.loads(UNSOUND[problem].text()))


def test_a_partition_under_another_id_and_a_wrong_number_of_levels():
    with pytest.raises(AssertionError, match="listed as 5"):
        Version(id=ID, partitions={5: partition()}, next_partition=9).check()
    with pytest.raises(AssertionError, match="2 levels"):
        version(partition(levels=((), ()))).check()
    with pytest.raises(AssertionError, match="half finished"):
        version(journals=(JournalMeta(number=1, last_seqno=1, size_bytes=5),)).check()


@pytest.mark.parametrize("original", [empty(), grown()])
def test_json_round_trip(original):
    assert Version.from_json(json.loads(original.text())) == original


def paths(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from paths(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from paths(member, (*path, index))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


WRONG = [None, True, -1, 2**70, 1.5, "", "x" * 70, [], [[]], {}, {"x": 1}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_value_in_any_place_is_an_error_or_makes_a_sound_version(wrong):
    original = json.loads(grown().text())
    refused = 0
    for path in paths(original):
        try:
            decoded = Version.from_json(replaced(original, path, wrong))
        except (CorruptionError, UnsupportedFormatError):
            refused += 1
            continue
        decoded.check()
    assert refused > 30


def test_a_missing_member_anywhere_is_an_error():
    original = json.loads(grown().text())
    for path in paths(original):
        if path and isinstance(path[-1], str) and "options" not in path[:-1]:
            parent = original
            for step in path[:-1]:
                parent = parent[step]
            rest = {name: member for name, member in parent.items() if name != path[-1]}
            with pytest.raises(CorruptionError, match=path[-1]):
                Version.from_json(replaced(original, path[:-1], rest))


@pytest.mark.parametrize(
    "where", [(), ("parent",), ("partitions", 0), ("partitions", 0, "options"), ("journals", 0)]
)
def test_a_member_too_many_was_written_by_a_newer_version(where):
    original = json.loads(grown().text())
    owner = original
    for step in where:
        owner = owner[step]
    owner["shiny"] = 1
    with pytest.raises(UnsupportedFormatError, match="shiny"):
        Version.from_json(original)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0", "a\nb", "\x7f", "\x85", "\ud800"])
def test_names_that_no_partition_can_have(name):
    with pytest.raises(CorruptionError, match="name"):
        Version.from_json(json.loads(version(partition(name=name)).text()))


@pytest.mark.parametrize("name", ["x", "x" * 255, "../../etc/passwd", "ünï", "a b", "💾"])
def test_names_are_no_paths(name):
    assert Version.from_json(json.loads(version(partition(name=name)).text())).partition(name) is not None


@pytest.mark.parametrize("bad", [ID.upper().replace("1", "A"), ID.replace("-", ""), "{" + ID + "}", "x"])
def test_identities_are_canonical(bad):
    with pytest.raises(CorruptionError, match="id"):
        Version.from_json({**json.loads(empty().text()), "id": bad})
    with pytest.raises(CorruptionError, match="id"):
        Version.from_json({**json.loads(empty().text()), "parent": {"id": bad, "seqno": 1}})


def test_a_journal_has_both_size_and_checksum_or_none():
    half = {"number": 1, "last_seqno": 1, "size_bytes": 5, "xxh128": None, "end_bytes": None}
    with pytest.raises(CorruptionError, match="both"):
        JournalMeta.from_json(half)
    assert JournalMeta.from_json({**half, "xxh128": SUM}).finished


def test_parent():
    assert Parent.from_json(Parent(OTHER_ID, 5).to_json()) == Parent(OTHER_ID, 5)


@given(
    member=st.sampled_from(sorted(table(3, b"a", b"b").to_json())),
    value=st.one_of(
        st.sampled_from(
            [*WRONG, True, 0, 1, 2**32, 2**56 - 1, 2**56, 2**63, "AB", "a b", "ab ", "0" * 32, "F" * 32]
        ),
        st.integers(-5, 2**64),
        st.text("0123456789abcdefAF g", max_size=40),
    ),
)
def test_a_glance_at_a_table_accepts_nothing_that_care_refuses(member, value):
    raw = {**table(3, b"a", b"b").to_json(), member: value}
    try:
        careful = TableMeta._with_care(raw)
    except CorruptionError:
        assert TableMeta._at_a_glance(raw) is None
        with pytest.raises(CorruptionError, match=member):
            TableMeta.from_json(raw)
    else:
        assert TableMeta.from_json(raw) == careful


def test_a_table_is_written_as_the_library_would():
    raw = table(3, b"a\xff", b"b").to_json()
    assert json.dumps(raw, separators=(",", ":")) == table(3, b"a\xff", b"b").text()
    members = [field.name for field in dataclasses.fields(TableMeta) if field.init]
    assert list(raw) == members[:-1]
    pointing = dataclasses.replace(table(3, b"a\xff", b"b"), blobs=((7, 2, 300), (9, 1, 90)))
    assert json.dumps(pointing.to_json(), separators=(",", ":")) == pointing.text()
    assert list(pointing.to_json()) == members
    assert TableMeta.from_json(pointing.to_json()) == pointing


def test_what_checkpoints_ask_of_a_table_is_made_once():
    made = table(3, b"a", b"b")
    assert made.record == FileRecord(made.path, made.size_bytes, made.xxh128)
    assert made.record is made.record
    assert made.text() is made.text()
    assert made == table(3, b"a", b"b"), "what was asked is no part of the value"
    changed = dataclasses.replace(made, number=4, size_bytes=7)
    assert changed.record == FileRecord(changed.path, 7, made.xxh128)
    assert json.loads(changed.text()) == json.loads(made.text()) | {"number": 4, "size_bytes": 7}


def test_overlaps_includes_both_ends():
    meta = table(1, b"d", b"k")
    assert [meta.overlaps(*ends) for ends in ((b"a", b"d"), (b"k", b"z"), (b"e", b"f"), (b"a", b"z"))] == [
        True
    ] * 4
    assert [meta.overlaps(*ends) for ends in ((b"a", b"c"), (b"k\0", b"z"))] == [False] * 2


def test_care_accepts_the_least_that_there_is():
    """What a glance and care accept is the same, at the limits too."""
    least = dataclasses.replace(
        table(1, b"", b""),
        size_bytes=1, entries=1, tombstones=0, weak_tombstones=0, min_seqno=0, max_seqno=0, raw_bytes=0, blocks=1,
        created_ns=0,
    )  # fmt: skip
    assert TableMeta._with_care(least.to_json()) == TableMeta._at_a_glance(least.to_json()) == least


def test_journals_of_one_seqno_are_in_order():
    """The later one holds nothing, or what only makes partitions."""
    Version(
        id=ID,
        journals=(JournalMeta(number=1, last_seqno=5), JournalMeta(number=2, last_seqno=5)),
        next_file=3,
        seqno=5,
    ).check()


@pytest.mark.parametrize("last_seqno", [0, 7, 500])
def test_a_sealed_journal_is_what_the_edit_makes(last_seqno):
    """The short way, which writers wait for, and the one of edits."""
    version = grown()
    journal = JournalMeta(number=version.next_file + 3, last_seqno=last_seqno)
    assert version.with_journal(journal) == version.apply(Edit.of(SealJournal(journal)))
    with pytest.raises(ValueError, match=f"{journal.number} is not newer than {journal.number}"):
        version.with_journal(journal).with_journal(journal)
