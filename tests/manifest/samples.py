"""Versions, tables and edits to test with."""

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
    SealJournal,
)
from fjeld.manifest.state import JournalMeta, Parent, TableMeta
from fjeld.manifest.version import Version
from fjeld.options import Leveled, PartitionOptions

ID = "11111111-2222-4333-8444-555555555555"
OTHER_ID = "99999999-2222-4333-8444-555555555555"
SUM = "0123456789abcdef0123456789abcdef"


def table(
    number: int, smallest: bytes = b"a", largest: bytes = b"z", *, seqno: int | None = None
) -> TableMeta:
    """A table of one seqno, by default ten times its number."""
    seqno = 10 * number if seqno is None else seqno
    return TableMeta(
        number=number,
        size_bytes=1000 + number,
        xxh128=f"{number:032x}",
        entries=5,
        tombstones=1,
        weak_tombstones=2,
        min_seqno=seqno,
        max_seqno=seqno,
        smallest=smallest,
        largest=largest,
        raw_bytes=3000,
        blocks=2,
        created_ns=1_700_000_000_000_000_000 + number,
    )


def empty() -> Version:
    """A keyspace that was just made."""
    return Version(id=ID)


def history() -> list[Edit]:
    """Edits, of all kinds, that fit `empty()` one after the other."""
    edits: list[tuple[Change, ...]] = [
        (
            CreatePartition(1, "users", PartitionOptions()),
            CreatePartition(2, "ævents", PartitionOptions(compaction=Leveled(level_ratio=7), filter_bits=0)),
        ),
        (SealJournal(JournalMeta(number=3, last_seqno=40)),),
        (FinishJournal(3, 4096, SUM),),
        (
            ChangeTables(1, added=((0, table(4, b"a", b"m")),), flushed_seqno=40),
            ChangeTables(2, added=((0, table(5, b"", b"\xff\x00")),), flushed_seqno=50),
        ),
        (SealJournal(JournalMeta(number=6, last_seqno=60)), RetireJournals(6)),
        (ChangeTables(1, added=((1, table(7, b"a", b"f")), (1, table(8, b"g", b"m"))), removed=((0, 4),)),),
        (ChangeTables(1, added=((2, table(8, b"g", b"m")),), removed=((1, 8),)),),
        (CreatePartition(3, "gone", PartitionOptions()), Counters(next_file=20, next_partition=9, seqno=200)),
        (DropPartition(3), ClearPartition(2, 150)),
    ]
    return [Edit(changes) for changes in edits]


def grown() -> Version:
    """A version with something of everything: `empty()` after its history."""
    version = Version(id=ID, parent=Parent(OTHER_ID, 17))
    for edit in history():
        version = version.apply(edit)
    return version
