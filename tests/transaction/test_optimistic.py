"""Where conflicts are found, and where not: in memory, in tables, after compaction, clear, ingestion, drop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

import fjeld
from fjeld.transaction.backoff import Backoff
from fjeld.transaction.keyspaces import OptimisticTxKeyspace
from tests.small import SMALL_PARTITION, small_options
from tests.support import Task, fill, settle


@pytest.fixture
def part(optimistic):
    """Entries in tables and in memory."""
    partition = optimistic.partition("p", options=SMALL_PARTITION)
    fill(partition, 300)
    partition.compact()
    fill(partition, 20, start=300)
    return partition


@pytest.fixture
def conflicts(optimistic, part):
    """Does a transaction that has read so conflict with a change made meanwhile?"""

    def try_one(read: Callable[[fjeld.TxPartition], object], change: Callable[[], object]) -> bool:
        tx = optimistic.write_tx()
        view = tx.partition("p")
        read(view)
        view[b"written"] = b"1"
        change()
        try:
            tx.commit()
        except fjeld.ConflictError:
            return True
        return False

    return try_one


READS: dict[str, tuple[Callable[[fjeld.TxPartition], object], bytes, bytes]] = {
    # what is read, a key whose change conflicts, one whose change does not
    "get": (lambda p: p.get(b"00000005"), b"00000005", b"00000006"),
    "absent": (lambda p: p.get(b"none"), b"none", b"none\x00"),
    "contains": (lambda p: b"none" in p, b"none", b"nona"),
    "size_of": (lambda p: p.size_of(b"00000310"), b"00000310", b"0000031"),
    "get_many": (lambda p: p.get_many([b"x", b"00000007"]), b"x", b"y"),
    "take": (lambda p: p.take(b"x"), b"x", b"y"),
    "update": (lambda p: p.update_fetch(b"x", lambda old: b"1"), b"x", b"y"),
    "del": (lambda p: p.__delitem__(b"00000001"), b"00000001", b"0"),
    "first": (lambda p: p.first(), b"", b"00000000\x00"),
    "last": (lambda p: p.last(), b"zzz", b"00000318"),
    "is_empty": (lambda p: p.is_empty(), b"0", b"00000001"),
    "len": (lambda p: len(p), b"zzz", b""),
    "keys": (lambda p: list(p), b"zzz", b""),
    "range": (lambda p: list(p.range(b"0000001", b"0000002")), b"0000001x", b"0000002"),
    "after": (lambda p: list(p.range(b"a", b"c", include_start=False)), b"a\x00", b"a"),
    "upto": (lambda p: list(p.range(b"a", b"c", include_stop=True)), b"c", b"c\x00"),
    "prefix": (lambda p: list(p.prefix(b"0000001")), b"0000001\xff", b"0000002"),
    "empty prefix": (lambda p: list(p.prefix(b"none")), b"none of it", b"nonf"),
    "started": (lambda p: next(p.range(b"0000001")), b"00000010", b"00000011"),
    "started back": (lambda p: next(p.range(b"0", b"00000020", reverse=True)), b"00000019x", b"00000018"),
    "reverse": (lambda p: list(p.range(b"x", b"y", reverse=True)), b"x", b"y"),
    "never started": (lambda p: (p.range(), p.get(b"k")), b"k", b"00000001"),
    "seek": (lambda p: p.cursor().seek(b"00000005"), b"00000005", b"000000051"),
    "seek to a gap": (lambda p: p.cursor().seek(b"000000051"), b"000000052", b"000000061"),
    "seek_for_prev": (lambda p: p.cursor().seek_for_prev(b"000000055"), b"000000055", b"000000056"),
    "seek_first": (lambda p: p.cursor(start=b"0000001").seek_first(), b"0000001", b"0000000"),
    "seek_last": (lambda p: p.cursor(stop=b"0000001").seek_last(), b"00000009x", b"0000001"),
    "seek beyond": (lambda p: p.cursor(stop=b"y").seek(b"x"), b"xx", b"y"),
    "steps": (lambda p: moved(p, "seek:00000005", "next", "next"), b"00000007", b"000000071"),
    "steps back": (lambda p: moved(p, "seek:00000005", "prev", "prev"), b"000000031", b"000000029"),
    "off the end": (lambda p: moved(p, "seek:00000319", "next"), b"zzz", b"00000318"),
    "off the front": (lambda p: moved(p, "next", "prev"), b"", b"00000001"),
    "two seeks": (lambda p: moved(p, "seek:00000001", "seek:00000100"), b"00000001", b"00000050"),
}


def moved(part: fjeld.TxPartition, *steps: str) -> None:
    with part.cursor() as cursor:
        for step in steps:
            name, _, key = step.partition(":")
            getattr(cursor, name)(*([key.encode()] if key else []))


@pytest.mark.parametrize("where", ["memory", "table", "removed"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("read", READS)
def test_reads(optimistic, part, conflicts, read, inside, where):
    """A change conflicts from memory, from a table that was made since, and where it is a removal."""
    what, key_inside, key_outside = READS[read]

    def change() -> None:
        target = part
        if not inside and read in ("len", "keys"):
            target = optimistic.partition("other")
        key = key_inside if inside else key_outside
        if where == "removed":
            target.remove_weak(key)
        else:
            target[key] = b"changed"
        if where != "memory":
            target.flush()

    assert conflicts(what, change) == inside


def test_own_writes_are_not_read_from_the_keyspace(part, conflicts):
    def own(view):
        view[b"own"] = b"1"
        view.remove(b"gone")
        assert view[b"own"] == b"1"
        assert view.get(b"gone") is None
        assert view.get_many([b"own", b"gone"]) == [b"1", None]

    assert not conflicts(own, lambda: part.insert_many([(b"own", b"2"), (b"gone", b"2")]))


def test_what_it_began_with_is_no_change(part, conflicts):
    """The newest entry of all is the last that the transaction sees."""
    part[b"m"] = b"newest"
    assert not conflicts(lambda view: list(view.prefix(b"m")), lambda: part.insert(b"other", b"1"))
    part[b"m"] = b"newest"
    assert not conflicts(lambda view: view.get(b"m"), lambda: part.insert(b"other", b"2"))


def test_read_only_transactions_never_conflict(optimistic, part):
    tx = optimistic.write_tx()
    view = tx.partition("p")
    before = list(view.items())
    part.clear()
    part[b"k"] = b"v"
    assert list(view.items()) == before
    tx.commit()


@pytest.mark.parametrize(
    "change",
    [
        "batch",
        "insert_many",
        "ingest",
        "take",
        "pop",
        "popitem",
        "setdefault",
        "clear",
        "del",
        "update",
        "transaction",
    ],
)
def test_changes_outside_of_transactions(optimistic, part, conflicts, change):
    def with_batch():
        with optimistic.batch() as batch:
            batch.remove_weak(part, b"00000000")

    def with_transaction():
        with optimistic.write_tx() as tx:
            tx.partition(part).remove_weak(b"00000000")

    changes: dict[str, Callable[[], object]] = {
        "batch": with_batch,
        "transaction": with_transaction,
        "insert_many": lambda: part.insert_many([(b"00000000", b"1")]),
        "ingest": lambda: part.ingest([(b"00000000", b"1")]),
        "take": lambda: part.take(b"00000000"),
        "pop": lambda: part.pop(b"00000000"),
        "popitem": lambda: part.popitem(),
        "setdefault": lambda: part.setdefault(b"0", b"1"),
        "clear": lambda: part.clear(),
        "del": lambda: part.__delitem__(b"00000000"),
        "update": lambda: part.update_fetch(b"00000000", lambda old: b"1"),
    }
    assert conflicts(lambda view: (view.get(b"00000000"), view.get(b"0")), changes[change])


def test_the_evidence_outlives_compaction(optimistic, part, conflicts):
    """A removal leaves nothing once it is compacted, but for an open transaction."""

    def change():
        part.remove_weak(b"00000005")
        part.flush()
        part.compact()

    assert conflicts(lambda view: view.get(b"00000005"), change)
    assert conflicts(lambda view: list(view.prefix(b"00000005")), change)


def test_what_came_and_went_is_a_change(optimistic, part, conflicts):
    """Absent, inserted, removed again: who has seen it absent conflicts all the same."""

    def change():
        part[b"fleeting"] = b"1"
        part.flush()
        part.remove_weak(b"fleeting")
        part.flush()
        part.compact()

    assert conflicts(lambda view: view.get(b"fleeting"), change)
    with optimistic.write_tx() as tx:
        tx.partition("p")[b"fleeting"] = b"1"

    def by_transactions():
        for write in (lambda view: view.insert(b"now", b"1"), lambda view: view.remove_weak(b"now")):
            with optimistic.write_tx() as inner:
                write(inner.partition("p"))
            part.flush()
        part.compact()

    assert conflicts(lambda view: view.get(b"now"), by_transactions)


def test_clear_is_a_conflict_for_readers_of_the_partition_only(optimistic, part, conflicts):
    other = optimistic.partition("other")
    assert conflicts(lambda view: view.get(b"none"), part.clear)
    assert not conflicts(lambda view: None, part.clear)
    assert not conflicts(lambda view: view.get(b"none"), other.clear)


def test_reads_after_a_clear_see_what_was_there(optimistic, part):
    tx = optimistic.write_tx()
    part.clear()
    view = tx.partition("p")
    assert len(view) == 320
    assert view[b"00000001"]
    view[b"k"] = b"v"
    with pytest.raises(fjeld.ConflictError, match="cleared"):
        tx.commit()
    assert dict(part) == {}


def test_dropped_and_created_again(optimistic, part):
    reader, writer, late = (optimistic.write_tx() for _ in range(3))
    reader.partition("p").get(b"k")
    reader.partition("q")[b"k"] = b"v"
    view = writer.partition("p")
    view[b"k"] = b"v"
    optimistic.drop_partition("p")
    fresh = optimistic.partition("p")
    with pytest.raises(fjeld.ConflictError, match="dropped"):
        reader.commit()
    with pytest.raises(fjeld.ClosedError, match="dropped"):
        view.get(b"k")
    with pytest.raises(fjeld.ClosedError, match="dropped"):
        writer.commit()
    with pytest.raises(fjeld.ConflictError, match="dropped"):
        late.partition("p")
    late.rollback()
    assert dict(fresh) == {}


def test_a_partition_created_meanwhile(optimistic):
    tx = optimistic.write_tx()
    optimistic.partition("new")[b"k"] = b"v"
    view = tx.partition("new")
    assert dict(view.items()) == {}
    view[b"mine"] = b"1"
    with pytest.raises(fjeld.ConflictError):
        tx.commit()
    tx = optimistic.write_tx()
    tx.partition("made inside")[b"k"] = b"v"
    tx.commit()
    assert optimistic.partitions() == ["made inside", "new"]


def test_a_filter_that_refuses_entries(path):
    """What a filter takes away leaves no version: whoever may have read it conflicts."""
    options = small_options(
        compaction_filters={"p": lambda entries: [key != b"fleeting" for key, _ in entries]}
    )
    with fjeld.open_optimistic_tx(path, options=options) as ks:
        part = ks.partition("p")
        part[b"k"] = b"v"
        tx = ks.write_tx()
        view = tx.partition("p")
        assert view.get(b"fleeting") is None
        part[b"fleeting"] = b"1"
        part.compact()
        assert b"fleeting" not in part
        view[b"mine"] = b"1"
        with pytest.raises(fjeld.ConflictError):
            tx.commit()


def test_what_comes_between_the_two_checks(optimistic, part):
    """Tables are checked before the turn, so that nobody waits for a disk; what is committed until the turn comes is
    checked then.
    """
    tx = optimistic.write_tx()
    view = tx.partition("p")
    view.get(b"00000005")
    view[b"k"] = b"v"
    part[b"unrelated"] = b"1"
    part.flush()  # tables hold something newer than the transaction
    outside = fjeld.Partition(optimistic._engine, part._live)  # takes no turn
    with optimistic._turn:
        task = Task(lambda: (tx.adopt(), tx.commit()))
        outside[b"00000005"] = b"changed"
    with pytest.raises(fjeld.ConflictError):
        task.result()


def test_many_keys_become_ranges(optimistic, part):
    """The read set is bounded: what it covers grows, and nothing that was read is left out."""
    other = optimistic.partition("many")
    rows = [(b"%08d" % number, b"v") for number in range(0, 40_000, 2)]
    other.insert_many(rows)
    tx = optimistic.write_tx()
    view = tx.partition("many")
    for key, _ in rows:
        assert view.get(key) == b"v"
    (reads,) = tx._moment.read_sets
    points, spans = reads.covered()
    assert len(points) + len(spans) < 15_000
    for key, _ in rows:
        assert key in points or any(low <= key and (high is None or key < high) for low, high in spans)
    view[b"k"] = b"v"
    other[b"z"] = b"not read"
    tx.commit()
    tx = optimistic.write_tx()
    view = tx.partition("many")
    for key, _ in rows:
        view.get(key)
    view[b"k"] = b"v"
    other[rows[3][0]] = b"changed"
    with pytest.raises(fjeld.ConflictError):
        tx.commit()


def test_open_iterators_survive_a_full_read_set(optimistic, part):
    tx = optimistic.write_tx()
    view = tx.partition("p")
    scan = view.range(b"0000002")
    next(scan)
    for number in range(20_000):
        view.get(b"a%08d" % number)
    next(scan)
    view[b"k"] = b"v"
    part[b"00000021"] = b"changed"
    with pytest.raises(fjeld.ConflictError):
        tx.commit()


# ---- transact ----


def with_backoff(path, chances: Sequence[float]) -> tuple[fjeld.OptimisticTxKeyspace, list[float]]:
    slept: list[float] = []
    given = iter(chances)
    plain = fjeld.open_optimistic_tx(path)
    backoff = Backoff(base_seconds=1, cap_seconds=10, random=lambda: next(given), sleep=slept.append)
    return OptimisticTxKeyspace(plain._engine, backoff), slept


def test_transact_retries_with_backoff(path):
    ks, slept = with_backoff(path, [0.5] * 9)
    part = ks.partition("p")
    runs = []

    def function(tx):
        view = tx.partition("p")
        seen = view.get(b"n")
        runs.append(seen)
        if len(runs) <= 6:
            part[b"n"] = b"%d" % len(runs)
        view[b"result"] = b"done"
        return "result"

    assert ks.transact(function) == "result"
    assert runs == [None, b"1", b"2", b"3", b"4", b"5", b"6"]
    assert slept == [0.5, 1, 2, 4, 5, 5]
    assert part[b"result"] == b"done"
    runs.clear()
    slept.clear()
    with pytest.raises(fjeld.ConflictError):
        ks.transact(function, retries=2)
    assert len(runs) == 3
    assert len(slept) == 2
    ks.close()


def test_transact_does_not_retry_other_errors(path):
    ks, slept = with_backoff(path, [])
    with pytest.raises(KeyError):
        ks.transact(lambda tx: tx.partition("p")[b"none"])
    assert slept == []
    for wrong, error in ((-1, ValueError), ("3", TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            ks.transact(lambda tx: None, retries=wrong)
    ks.close()


def test_backoff_is_bounded():
    backoff = Backoff(random=lambda: 1.0)
    assert backoff.seconds(0) == backoff.base_seconds
    assert backoff.seconds(10_000) == backoff.cap_seconds


def test_counters_of_many_threads(optimistic):
    part = optimistic.partition("p")

    def count_up():
        for number in range(100):
            if number % 3:
                optimistic.transact(
                    lambda tx: tx.partition("p").update_fetch(b"n", lambda old: b"%d" % (int(old or 0) + 1)),
                    retries=10_000,
                )
            else:
                part.update_fetch(b"n", lambda old: b"%d" % (int(old or 0) + 1))

    tasks = [Task(count_up) for _ in range(4)]
    for task in tasks:
        task.result()
    assert part[b"n"] == b"400"
    settle(optimistic)
    assert optimistic._engine.snapshots.seqnos() == []


def test_a_single_writer_counts_too(single):
    part = single.partition("p")
    start = threading.Barrier(3)

    def count_up():
        start.wait()
        for _ in range(200):
            with single.write_tx() as tx:
                tx.partition("p").update_fetch(b"n", lambda old: b"%d" % (int(old or 0) + 1))
            part.update_fetch(b"n", lambda old: b"%d" % (int(old or 0) + 1))

    tasks = [Task(count_up) for _ in range(3)]
    for task in tasks:
        task.result()
    assert part[b"n"] == b"1200"
