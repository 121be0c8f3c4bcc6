"""Recovery's plan, as tables: a version, the names in its directories, and what is to be done."""

import dataclasses

import pytest

from fjeld.errors import CorruptionError
from fjeld.manifest.edit import (
    ChangeTables,
    CreatePartition,
    Edit,
    FinishJournal,
    RetireJournals,
    SealJournal,
)
from fjeld.manifest.names import journal_name, manifest_name, table_name
from fjeld.manifest.recovery import JournalReplay, Listing, plan_recovery
from fjeld.manifest.state import JournalMeta
from fjeld.options import PartitionOptions
from tests.manifest.samples import SUM, empty, table

MANIFEST = 9


def version(*, floor=1, finished=(), sealed=(), tables=(), next_file=100):
    changes = [
        CreatePartition(1, "p", PartitionOptions()),
        ChangeTables(1, added=tuple((0, table(number)) for number in tables)),
        RetireJournals(floor),
    ]
    for number in sorted((*finished, *sealed)):
        changes.append(SealJournal(JournalMeta(number=number, last_seqno=number)))
        if number in finished:
            changes.append(FinishJournal(number, 100, SUM))
    made = empty().apply(Edit(tuple(changes)))
    return dataclasses.replace(made, next_file=max(made.next_file, next_file))


def listing(*, root=(manifest_name(MANIFEST),), tables=(), journals=()):
    return Listing(
        root=frozenset({"FJELD", "LOCK", "CURRENT", "tables", "journals", *root}),
        tables=frozenset(table_name(name) if isinstance(name, int) else name for name in tables),
        journals=frozenset(journal_name(name) if isinstance(name, int) else name for name in journals),
    )


def plan(found_version, found_listing):
    return plan_recovery(found_version, found_listing, manifest=MANIFEST)


def test_after_a_clean_close():
    made = plan(version(tables=(3, 4)), listing(tables=(3, 4), journals=(5,)))
    assert made.journals == (JournalReplay(5, None, may_be_torn=True),)
    assert made.delete == ()
    assert made.next_file == 100


def test_journals_are_replayed_in_order_of_number_from_the_floor_on():
    made = plan(version(floor=20), listing(journals=(30, 20, 9, 25, 19)))
    assert [replay.number for replay in made.journals] == [20, 25, 30]
    assert made.delete == ("journals/000000000009.jnl", "journals/000000000019.jnl")


TORN = {
    # finished, sealed, on disk: which may be torn
    "the active one": ((), (), (20,), [20]),
    "sealed but not finished": ((), (20,), (20, 21), [20, 21]),
    "not the finished ones": ((20, 21), (), (20, 21, 22), [22]),
    "nothing before a finished one": ((21,), (20,), (20, 21, 22), [22]),
    "not even one that is not listed": ((21,), (), (20, 21, 22), [22]),
    "two that were active": ((), (), (20, 21), [20, 21]),
}


@pytest.mark.parametrize("name", TORN)
def test_which_journals_may_be_torn(name):
    finished, sealed, found, torn = TORN[name]
    made = plan(version(finished=finished, sealed=sealed), listing(journals=found))
    assert [replay.number for replay in made.journals] == sorted(found)
    assert [replay.number for replay in made.journals if replay.may_be_torn] == torn
    for replay in made.journals:
        assert (replay.meta is not None) == (replay.number in (*finished, *sealed))


def test_what_no_version_names_is_deleted_and_what_is_not_ours_is_left_alone():
    made = plan(
        version(tables=(3,)),
        listing(
            root=(
                "MANIFEST-000007",
                "MANIFEST-000009",
                "MANIFEST-000012",
                "CURRENT.12.tmp",
                "FJELD.tmp",
                "notes",
            ),
            tables=(3, 50, "51.sst", "README", "000000000052.sst.tmp"),
            journals=("000000000008.txt",),
        ),
    )
    assert made.delete == (
        "MANIFEST-000007",
        "MANIFEST-000012",
        "tables/000000000050.sst",
        "CURRENT.12.tmp",
        "FJELD.tmp",
        "tables/000000000052.sst.tmp",
    )


@pytest.mark.parametrize(
    "found",
    [
        listing(tables=(500,)),
        listing(journals=(500,)),
        listing(root=("MANIFEST-000009", "MANIFEST-000500")),
        listing(root=("MANIFEST-000009", "CURRENT.500.tmp")),
    ],
)
def test_no_number_that_was_seen_is_given_again(found):
    assert plan(version(), found).next_file == 501


def test_not_even_the_manifests_own():
    assert plan(empty(), listing()).next_file == MANIFEST + 1


def test_a_missing_table_is_named():
    with pytest.raises(CorruptionError, match=r"missing \(and 1 more\)") as caught:
        plan(version(tables=(3, 4, 5)), listing(tables=(4,)))
    assert caught.value.path == "tables/000000000003.sst"


@pytest.mark.parametrize("kind", ["finished", "sealed"])
def test_a_missing_journal_is_named(kind):
    with pytest.raises(CorruptionError, match="missing") as caught:
        plan(version(**{kind: (3,)}), listing(journals=(4,)))
    assert caught.value.path == "journals/000000000003.jnl"
