"""Edits: how each changes a version, what does not fit, and their JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError, UnsupportedFormatError
from fjeld.manifest import edit as edits
from fjeld.manifest.edit import (
    ChangeTables,
    ClearPartition,
    Counters,
    CreatePartition,
    DropPartition,
    Edit,
    FinishJournal,
    RetireJournals,
    SealJournal,
)
from fjeld.manifest.state import JournalMeta
from fjeld.options import PartitionOptions
from tests.manifest.samples import SUM, empty, grown, history, table


def apply(*changes, to=None):
    version = (grown() if to is None else to).apply(Edit.of(*changes))
    version.check()
    return version


def numbers(version, partition=1):
    return [[table.number for table in tables] for tables in version.partitions[partition].levels][:4]


def test_every_step_of_a_history_is_sound():
    version = empty()
    for edit in history():
        version = version.apply(edit)
        version.check()
    assert numbers(version) == [[], [7], [8], []]
    assert numbers(version, 2) == [[], [], [], []]
    assert sorted(version.partitions) == [1, 2]
    assert [journal.number for journal in version.journals] == [6]
    assert (version.journal_floor, version.next_file, version.next_partition, version.seqno) == (
        6,
        20,
        9,
        200,
    )


def test_the_old_version_is_as_it_was():
    before = grown()
    apply(ChangeTables(1, removed=((1, 7),)), DropPartition(2), RetireJournals(9), to=before)
    assert before == grown()


def test_what_an_edit_leaves_alone_is_shared():
    before = grown()
    after = apply(ChangeTables(1, removed=((1, 7),)), to=before)
    assert after.partitions[2] is before.partitions[2]
    assert after.partitions[1].levels[2] is before.partitions[1].levels[2]
    assert after.journals is before.journals
    sealed = apply(SealJournal(JournalMeta(number=30, last_seqno=300)), to=before)
    assert sealed.partitions is before.partitions


def test_level_0_is_newest_first_whatever_the_order_of_arrival():
    version = apply(ChangeTables(1, added=((0, table(31)), (0, table(33)), (0, table(32)))))
    assert numbers(version)[0] == [33, 32, 31]


def test_deeper_levels_are_sorted_by_key():
    version = apply(ChangeTables(1, added=((1, table(31, b"x", b"y")), (1, table(32, b"m", b"p")))))
    assert numbers(version)[1] == [7, 32, 31]


def test_a_flush_raises_what_it_must():
    version = apply(ChangeTables(1, added=((0, table(50)),), flushed_seqno=700))
    assert version.partitions[1].flushed_seqno == 700
    assert (version.seqno, version.next_file) == (700, 51)


def test_tables_of_several_partitions_change_at_once():
    version = apply(ChangeTables(1, removed=((1, 7),)), ChangeTables(2, added=((0, table(31)),)))
    assert numbers(version)[1] == []
    assert numbers(version, 2)[0] == [31]


def test_counters_never_sink():
    version = apply(Counters(next_file=1, next_partition=1, seqno=0))
    assert (version.next_file, version.next_partition, version.seqno) == (20, 9, 200)


def test_the_journal_floor_never_sinks():
    version = apply(RetireJournals(9))
    assert apply(RetireJournals(5), to=version) == version


def test_a_dropped_partitions_name_can_be_given_again_but_not_its_id():
    version = apply(DropPartition(2))
    version = apply(CreatePartition(9, "ævents", PartitionOptions()), to=version)
    assert version.next_partition == 10
    with pytest.raises(ValueError, match="given before"):
        apply(CreatePartition(2, "new", PartitionOptions()), to=version)


def test_a_finished_journal_may_be_finished_again_with_the_same_bytes():
    version = apply(FinishJournal(6, 4096, SUM))
    assert apply(FinishJournal(6, 4096, SUM), to=version) == version
    assert version.journals[0].finished


MISFITS = {
    "there is no partition 5": DropPartition(5),
    "no partition 3": ChangeTables(3),
    "there already": CreatePartition(9, "users", PartitionOptions()),
    "given before": CreatePartition(1, "new", PartitionOptions()),
    "not in level 0": ChangeTables(1, removed=((0, 7),)),
    "table 99 is not in": ChangeTables(1, removed=((1, 99),)),
    "already": ChangeTables(1, added=((0, table(7)),)),
    "no level 7": ChangeTables(1, added=((7, table(30)),)),
    "overlap": ChangeTables(1, added=((1, table(30)),)),
    "share keys": ChangeTables(1, added=((0, table(30, seqno=5)), (0, table(31, seqno=5)))),
    "flushed up to 40": ChangeTables(1, flushed_seqno=39),
    "flushed up to 150": ClearPartition(2, 100),
    "not newer": SealJournal(JournalMeta(number=6, last_seqno=300)),
    "not sealed": FinishJournal(5, 100, SUM),
}


@pytest.mark.parametrize("problem", MISFITS)
def test_misfits(problem):
    with pytest.raises(ValueError, match=problem):
        grown().apply(Edit.of(MISFITS[problem]))


def test_more_misfits():
    with pytest.raises(ValueError, match="already"):
        apply(ChangeTables(1, added=((1, table(30, b"n", b"o")), (2, table(30, b"n", b"o")))))
    with pytest.raises(ValueError, match="other bytes"):
        apply(FinishJournal(6, 1, SUM), FinishJournal(6, 2, SUM))
    with pytest.raises(ValueError, match="not newer"):
        apply(SealJournal(JournalMeta(number=3, last_seqno=300)), to=apply(RetireJournals(9)))


@pytest.mark.parametrize("name", ["", "a\n", "x" * 256])
def test_a_partition_is_not_created_with_a_name_that_it_cannot_have(name):
    with pytest.raises(ValueError, match="name of a partition"):
        CreatePartition(1, name, PartitionOptions())
    with pytest.raises(TypeError, match="str"):
        CreatePartition(1, b"bytes", PartitionOptions())


@pytest.mark.parametrize("edit", history(), ids=lambda edit: edit.changes[0].KIND)
def test_json_round_trip(edit):
    assert Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit


def test_the_history_has_every_kind():
    assert {change.KIND for edit in history() for change in edit.changes} == set(edits.KINDS)


@pytest.mark.parametrize("kind", edits.KINDS)
def test_missing_and_superfluous_members(kind):
    changes = [change for edit in history() for change in edit.to_json() if change["change"] == kind]
    for name in changes[0]:
        rest = {member: value for member, value in changes[0].items() if member != name}
        with pytest.raises(CorruptionError, match=name):
            Edit.from_json([rest])
    with pytest.raises(UnsupportedFormatError, match="shiny"):
        Edit.from_json([{**changes[0], "shiny": 1}])


def test_an_unknown_kind_was_written_by_a_newer_version():
    with pytest.raises(UnsupportedFormatError, match="shiny"):
        Edit.from_json([{"change": "shiny"}])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = {
    "id", "name", "options", "partition", "flushed_seqno", "added", "removed", "journal", "number",
    "size_bytes", "xxh128", "floor", "next_file", "next_partition", "seqno",
}  # fmt: skip


@given(st.sampled_from(sorted(edits.KINDS)), st.dictionaries(st.sampled_from(sorted(MEMBERS)), JSON))
def test_arbitrary_json_is_decoded_or_refused(kind, members):
    try:
        decoded = Edit.from_json([{**members, "change": kind}])
    except (CorruptionError, UnsupportedFormatError):
        return
    assert Edit.from_json(decoded.to_json()) == decoded


@given(JSON)
def test_what_is_no_edit_is_refused(value):
    if value == []:
        return
    with pytest.raises((CorruptionError, UnsupportedFormatError)):
        Edit.from_json(value)


def test_the_least_numbers_there_are():
    """A partition that is cleared before anything was written to it."""
    edit = Edit((ClearPartition(1, 0),))
    assert Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit
