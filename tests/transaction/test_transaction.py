"""Write transactions of both kinds: reading one's own writes, commit, rollback, savepoints, durability."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

import fjeld
from tests.small import small_options
from tests.support import abandon, content_at, content_of, crash_copy
from tests.transaction.kinds import KINDS


@pytest.fixture
def part(ks):
    """What is there before the transaction: three entries, one of them in a table."""
    partition = ks.partition("p")
    partition[b"a"] = b"1"
    ks.flush()
    partition[b"c"] = b"3"
    partition[b"e"] = b"5"
    return partition


def test_reads_its_own_writes(ks, part):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        view.insert(b"b", b"22")
        view.remove(b"a")
        view.remove_weak(b"e")
        view[b"c"] = b"33"
        assert view.get(b"b") == view[b"b"] == b"22"
        assert view.get(b"a") is None
        assert view.get(b"a", b"?") == b"?"
        with pytest.raises(KeyError):
            view[b"a"]
        with pytest.raises(KeyError):
            del view[b"a"]
        assert b"b" in view
        assert b"a" not in view
        assert b"e" not in view
        assert (view.size_of(b"b"), view.size_of(b"a"), view.size_of(b"c")) == (2, None, 2)
        assert view.get_many([b"a", b"c", b"zz", b"b"]) == [None, b"33", None, b"22"]
        assert view.first() == (b"b", b"22")
        assert view.last() == (b"c", b"33")
        assert list(view.keys()) == [b"b", b"c"]
        assert list(reversed(view.values())) == [b"33", b"22"]
        assert list(view.items()) == [(b"b", b"22"), (b"c", b"33")]
        assert list(view.range(b"b", b"c", include_start=False, include_stop=True)) == [(b"c", b"33")]
        assert list(view.range(reverse=True)) == [(b"c", b"33"), (b"b", b"22")]
        assert list(view.prefix(b"c")) == list(view.prefix(b"c", reverse=True)) == [(b"c", b"33")]
        assert len(view) == 2
        assert not view.is_empty()
        assert bool(view)
        assert view.name == "p"
        assert dict(part) == {b"a": b"1", b"c": b"3", b"e": b"5"}
    assert dict(part) == {b"b": b"22", b"c": b"33"}


def test_a_cursor_moves_over_own_writes_both_ways(ks, part):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        view[b"b"] = b"2"
        view.remove(b"c")
        with view.cursor() as cursor:
            assert cursor.seek(b"b")
            assert cursor.key == b"b"
            assert cursor.value == b"2"
            view[b"d"] = b"4"  # not seen: the cursor is older
            assert cursor.next()
            assert cursor.key == b"e"
            assert cursor.prev()
            assert cursor.key == b"b"
            assert cursor.prev()
            assert cursor.key == b"a"
            assert not cursor.prev()
            assert cursor.next()
            assert cursor.key == b"a"
            assert cursor.seek_last()
            assert cursor.key == b"e"
            assert cursor.seek_for_prev(b"c")
            assert cursor.key == b"b"
            assert cursor.seek_first()
            assert cursor.key == b"a"
        with view.cursor(prefix=b"d") as cursor:
            assert cursor.next()
            assert cursor.key == b"d"
            assert not cursor.next()


@pytest.mark.parametrize("reverse", [False, True])
def test_iterators_see_the_state_at_their_creation(ks, part, reverse):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        view[b"b"] = b"2"
        point = tx.savepoint()
        view[b"d"] = b"4"
        scan = view.range(reverse=reverse)
        first = next(scan)
        point.rollback()
        view[b"dd"] = b"new"
        view.remove(b"c")
        seen = [first, *scan]
        expected = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4"), (b"e", b"5")]
        assert seen == (expected[::-1] if reverse else expected)
        assert list(view) == [b"a", b"b", b"dd", b"e"]


@pytest.mark.parametrize("reverse", [False, True])
def test_iterators_do_not_see_what_a_later_read_has_indexed(ks, part, reverse):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        view[b"b"] = b"2"
        scan = view.range(reverse=reverse)
        first = next(scan)
        for key in (b"bb", b"c", b"dd"):
            view[key] = b"later"
        view.remove(b"b")
        assert list(view) == [b"a", b"bb", b"c", b"dd", b"e"]
        expected = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"e", b"5")]
        assert [first, *scan] == (expected[::-1] if reverse else expected)


def test_many_own_writes_of_few_keys(ks):
    """More than are searched one by one; several versions of each key."""
    with ks.write_tx() as tx:
        views = [tx.partition(name) for name in ("p", "q")]
        expected = [{}, {}]
        for number in range(2_000):
            which, key = number % 2, b"%03d" % (number * 7 % 300)
            if number % 5 == 4:
                views[which].remove(key)
                expected[which].pop(key, None)
            else:
                views[which][key] = expected[which][key] = b"%d" % number
            assert views[which].get(key) == expected[which].get(key)
        for view, model in zip(views, expected):
            assert list(view.items()) == sorted(model.items())
            assert list(view.range(reverse=True)) == sorted(model.items(), reverse=True)
            assert len(view) == len(model)
        assert tx.writes == 2_000
    assert content_of(ks) == {"p": expected[0], "q": expected[1]}


def test_take_and_updates(ks, part):
    def count(old):
        return b"%d" % (int(old or 0) + 1)

    with ks.write_tx() as tx:
        view = tx.partition("p")
        for place in (view, part) if tx is None else (view,):
            assert place.take(b"a") == b"1"
            assert place.take(b"a") is None
            assert place.fetch_update(b"n", count) is None
            assert place.fetch_update(b"n", count) == b"1"
            assert place.update_fetch(b"n", count) == b"3"
            assert place.update_fetch(b"n", lambda old: None) is None
            assert place.fetch_update(b"n", lambda old: None) is None
            assert place.update_fetch(bytearray(b"m"), lambda old: bytearray(b"x")) == b"x"
        with pytest.raises(ZeroDivisionError):
            view.update_fetch(b"c", lambda old: 1 // 0)
        with pytest.raises(TypeError):
            view.update_fetch(b"c", lambda old: "text")
        assert view[b"c"] == b"3"
    assert dict(part) == {b"c": b"3", b"e": b"5", b"m": b"x"}


def test_mapping_methods(ks, part):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        assert view.pop(b"a") == b"1"
        assert view.pop(b"a", None) is None
        assert view.setdefault(b"a", b"9") == b"9"
        assert view.popitem() == (b"a", b"9")
        view.update({b"x": b"y"})
        assert len(view) == 3
        view.clear()
        assert list(view) == []
        assert not view
        with pytest.raises(KeyError):
            view.popitem()
        view.insert_many([(b"k", b"1"), (b"l", b"2")])
        with pytest.raises(TypeError):
            view.insert_many([(b"m", b"1"), (b"n", "no")])
        assert list(view) == [b"k", b"l"]
    assert dict(part) == {b"k": b"1", b"l": b"2"}


def test_across_partitions_in_one_record(ks, kind, path, tmp_path):
    first, second = ks.partition("first"), ks.partition("second")
    before = ks.seqno
    with ks.write_tx() as tx:
        tx.partition("first")[b"k"] = b"1"
        tx.partition(second)[b"k"] = b"2"
        tx.partition("third")[b"k"] = b"3"
        assert ks.seqno == before
    assert ks.seqno == before + 3
    assert first[b"k"] == b"1"
    assert second[b"k"] == b"2"
    abandoned = crash_copy(path, tmp_path / "copy")
    assert content_at(abandoned) == {"first": {b"k": b"1"}, "second": {b"k": b"2"}, "third": {b"k": b"3"}}


def test_an_exception_rolls_back(ks, part):
    before = content_of(ks)
    with pytest.raises(ZeroDivisionError), ks.write_tx() as tx:
        tx.partition("p")[b"x"] = b"1"
        1 // 0
    assert content_of(ks) == before
    with ks.write_tx() as tx:
        tx.partition("p")[b"x"] = b"1"
        tx.rollback()
    assert content_of(ks) == before
    with ks.write_tx() as tx:  # the way is free again
        tx.partition("p")[b"x"] = b"1"
        tx.commit()
    assert part[b"x"] == b"1"


def test_use_after_the_end(ks, part):
    for end, said in (("commit", "committed"), ("rollback", "rolled back")):
        tx = ks.write_tx()
        view = tx.partition("p")
        view[b"k"] = b"v"
        scan, cursor, point = view.range(), view.cursor(), tx.savepoint()
        next(scan)
        getattr(tx, end)()
        for use in (
            lambda: tx.partition("p"),
            tx.commit,
            tx.rollback,
            tx.savepoint,
            tx.adopt,
            tx.__enter__,
            point.rollback,
            point.release,
            lambda: view.get(b"a"),
            lambda: view.size_of(b"a"),
            lambda: view.get_many([b"a"]),
            lambda: view.insert(b"a", b"b"),
            lambda: view.insert_many([]),
            lambda: view.remove(b"a"),
            lambda: view.take(b"a"),
            lambda: view.update_fetch(b"a", lambda old: old),
            lambda: list(view),
            lambda: len(view),
            view.first,
            view.clear,
            view.cursor,
            lambda: next(scan),
            cursor.next,
        ):
            with pytest.raises(fjeld.ClosedError, match=said):
                use()
        assert not tx.is_open


def test_savepoints_nest(ks, part):
    with ks.write_tx() as tx:
        view = tx.partition("p")
        view[b"1"] = b"kept"
        with tx.savepoint():
            view[b"2"] = b"kept"
            with pytest.raises(ZeroDivisionError), tx.savepoint():
                view[b"3"] = b"lost"
                tx.partition("q")[b"3"] = b"lost"
                view.remove(b"a")
                assert b"a" not in view
                1 // 0
            assert b"3" not in view
            assert view[b"a"] == b"1"
        point = tx.savepoint()
        view[b"4"] = b"lost"
        inner = tx.savepoint()
        view[b"5"] = b"lost"
        point.rollback()
        assert list(view) == [b"1", b"2", b"a", b"c", b"e"]
        assert not inner.is_active
        assert point.is_active
        with pytest.raises(fjeld.MisuseError, match="gone"):
            inner.rollback()
        view[b"6"] = b"lost"
        point.rollback()  # it is still there
        view[b"7"] = b"kept"
        point.release()
        point.release()
        with pytest.raises(fjeld.MisuseError, match="gone"):
            point.rollback()
        assert tx.writes == 3
    assert content_of(ks)["p"] == {
        b"1": b"kept", b"2": b"kept", b"7": b"kept", b"a": b"1", b"c": b"3", b"e": b"5",
    }  # fmt: skip
    assert content_of(ks)["q"] == {}


def test_a_savepoint_behind_an_index(ks):
    """The cut index is made anew: older own versions come back."""
    with ks.write_tx() as tx:
        view = tx.partition("p")
        for number in range(100):
            view[b"%02d" % number] = b"old"
        assert len(view) == 100
        point = tx.savepoint()
        for number in range(0, 100, 2):
            view[b"%02d" % number] = b"new"
            view.remove(b"%02d" % (number + 1))
        assert len(view) == 50
        assert view[b"00"] == b"new"
        point.rollback()
        assert len(view) == 100
        assert set(view.values()) == {b"old"}


def test_a_transaction_that_nobody_holds_is_rolled_back(ks, part):
    tx = ks.write_tx()
    tx.partition("p")[b"x"] = b"1"
    del tx
    gc.collect()
    with ks.write_tx() as tx:  # a single writer would wait for ever
        assert b"x" not in tx.partition("p")
    if isinstance(ks, fjeld.OptimisticTxKeyspace):
        assert ks._engine.snapshots.seqnos() == []


def test_its_partitions_hold_the_transaction(ks, part):
    view = ks.write_tx().partition("p")
    view[b"x"] = b"1"
    gc.collect()
    assert view[b"x"] == b"1"
    view.transaction.commit()
    assert part[b"x"] == b"1"


def test_durability(kind, path):
    with KINDS[kind](path) as ks:
        part = ks.partition("p")
        engine = ks._engine
        with ks.write_tx() as tx:
            tx.partition("p")[b"k"] = b"1"
        assert engine.commit.persisted_seqno < ks.seqno
        with ks.write_tx(durability=fjeld.PersistMode.SYNC_DATA) as tx:
            tx.partition("p")[b"k"] = b"2"
        assert engine.commit.persisted_seqno == ks.seqno == 2
        assert part[b"k"] == b"2"
    with KINDS[kind](path, options=fjeld.KeyspaceOptions(durability=fjeld.PersistMode.SYNC_ALL)) as ks:
        part, commit = ks.partition("p"), ks._engine.commit
        with ks.write_tx() as tx:
            tx.partition("p")[b"k"] = b"3"
        assert commit.persisted_seqno == ks.seqno
        part[b"k"] = b"4"
        assert commit.persisted_seqno == ks.seqno
        part.update_fetch(b"k", lambda old: old + b"0")
        assert commit.persisted_seqno == ks.seqno
        with ks.write_tx(fjeld.PersistMode.BUFFER) as tx:
            tx.partition("p")[b"k"] = b"5"
        assert commit.persisted_seqno == ks.seqno - 1


def test_transact_returns_and_rolls_back(ks):
    assert ks.transact(lambda tx: tx.partition("p").update_fetch(b"n", lambda old: b"1")) == b"1"

    def fails(tx):
        tx.partition("p")[b"n"] = b"2"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ks.transact(fails, retries=3)
    assert content_of(ks) == {"p": {b"n": b"1"}}


def test_large_transactions_flush_and_reopen(kind, path):
    rows = {b"%06d" % number: os.urandom(50) for number in range(3_000)}
    with KINDS[kind](path, options=small_options()) as ks:
        for start in range(0, 3_000, 500):
            with ks.write_tx() as tx:
                tx.partition("p").insert_many(list(rows.items())[start : start + 500])
    with KINDS[kind](path, options=small_options()) as ks:
        with ks.write_tx() as tx:
            assert dict(tx.partition("p").items()) == rows
    with fjeld.open(path) as plain:  # the folder is the same
        assert dict(plain.partition("p")) == rows


def test_everything_a_keyspace_has(ks, part, tmp_path):
    with ks.write_tx() as tx:
        tx.partition("p")[b"open"] = b"1"
        tx.partition("p").get(b"a")
        digest = ks.digest()
        with ks.snapshot() as snapshot, ks.read_tx() as reader:
            assert content_of(snapshot) == content_of(reader) == content_of(ks)
        ks.flush()
        ks.compact()
        ks.persist()
        ks.stats()
        with ks.pin() as pin:
            assert pin.seqno == 3
        info = ks.backup_to(tmp_path / "backup")
        assert info.seqno == 3
        assert ks.digest() == digest
    assert ks.seqno == 4
    assert content_at(tmp_path / "backup") == {"p": {b"a": b"1", b"c": b"3", b"e": b"5"}}


def test_checkpoints_hold_exactly_the_committed(ks, tmp_path):
    """Taken by a thread while transactions begin, write and commit: of each all or nothing, in order."""
    part, other = ks.partition("p"), ks.partition("q")
    done = threading.Event()
    infos: list[tuple[int, fjeld.CheckpointInfo]] = []

    def back_up() -> None:
        while not done.is_set() and len(infos) < 12:
            floor = int(part.get(b"n", b"0"))
            infos.append((floor, ks.backup_to(tmp_path / f"backup{len(infos)}")))

    thread = threading.Thread(target=back_up)
    thread.start()
    for number in range(1, 1_500):
        with ks.write_tx() as tx:
            for view in (tx.partition("p"), tx.partition("q")):
                view[b"n"] = b"%d" % number
                view[b"%08d" % number] = bytes(20)
            if number % 10 == 0:
                tx.rollback()
        if len(infos) == 12:
            break
    done.set()
    thread.join()
    assert len(infos) >= 2
    for floor, info in infos:
        content = content_at(info.path)
        assert content["p"] == content["q"]
        last = int(content["p"].get(b"n", b"0"))
        assert (last >= floor and last % 10 != 0) or last == 0
        committed = {b"%08d" % number for number in range(1, last + 1) if number % 10}
        assert content["p"].keys() - {b"n"} == committed
    assert dict(part) == dict(other)


def test_a_crash_in_an_open_transaction_leaves_nothing_of_it(ks, part, path, tmp_path):
    tx = ks.write_tx()
    tx.partition("p").insert_many((b"%d" % number, bytes(100)) for number in range(1_000))
    copy = crash_copy(path, tmp_path / "copy")
    assert content_at(copy) == {"p": {b"a": b"1", b"c": b"3", b"e": b"5"}}
    tx.rollback()


def test_poisoned(ks, part):
    tx = ks.write_tx()
    view = tx.partition("p")
    view[b"x"] = b"1"
    ks._engine.poison(RuntimeError("a test"))
    assert view[b"a"] == b"1"
    with pytest.raises(fjeld.PoisonedError):
        tx.commit()
    assert not tx.is_open
    assert b"x" not in part
    with ks.write_tx() as tx:  # reads go on
        assert tx.partition("p")[b"a"] == b"1"
    with pytest.raises(fjeld.PoisonedError):
        part[b"x"] = b"1"
    abandon(ks)


def test_nothing_is_left_of_a_path(kind, tmp_path: Path):
    with pytest.raises(fjeld.NotAKeyspaceError):
        KINDS[kind](tmp_path / "none", create=False)
    with KINDS[kind](tmp_path / "new") as ks:
        assert type(ks).__name__ in repr(ks)
        with ks.write_tx() as tx:
            assert "open" in repr(tx)
            assert "TxPartition" in repr(tx.partition("p"))
        with pytest.raises(fjeld.LockedError):
            KINDS[kind](tmp_path / "new")
    with pytest.raises(FileExistsError):
        KINDS[kind](tmp_path / "new", error_if_exists=True)
    with pytest.raises(TypeError):
        KINDS[kind](tmp_path / "new", options={})
