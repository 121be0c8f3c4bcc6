"""What bad use of transactions gets: a clear error, and nothing half-applied."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import fjeld
from tests.support import Task, content_of, raise_interrupt
from tests.transaction.kinds import KINDS, Client


@pytest.fixture
def part(ks):
    partition = ks.partition("p")
    partition[b"a"] = b"1"
    return partition


@pytest.fixture
def client():
    one = Client()
    yield one
    one.stop()


def test_another_thread(ks, part):
    tx = ks.write_tx()
    view = tx.partition("p")
    scan, cursor, point = view.range(), view.cursor(), tx.savepoint()
    for use in (
        lambda: tx.partition("p"),
        tx.commit,
        tx.rollback,
        tx.savepoint,
        point.rollback,
        lambda: view.get(b"a"),
        lambda: view.insert(b"b", b"2"),
        lambda: view.insert_many([(b"b", b"2")]),
        lambda: view.get_many([b"a"]),
        lambda: list(view),
        lambda: len(view),
        lambda: next(scan),
        cursor.next,
    ):
        with pytest.raises(fjeld.MisuseError, match="thread"):
            Task(use).result()
    assert tx.is_open
    assert tx.writes == 0
    view[b"b"] = b"2"
    tx.commit()
    assert dict(part) == {b"a": b"1", b"b": b"2"}


def test_the_misuse_of_another_thread_in_a_with_block_rolls_nothing_back(ks, part):
    tx = ks.write_tx()
    tx.partition("p")[b"b"] = b"2"
    with pytest.raises(ZeroDivisionError):
        Task(lambda: tx.__exit__(ZeroDivisionError, None, None) or 1 // 0).result()
    assert tx.is_open
    tx.commit()
    assert part[b"b"] == b"2"


def test_handed_over(ks, part, client):
    tx = ks.write_tx()
    view = tx.partition("p")
    view[b"b"] = b"2"
    client.do(tx.adopt)
    with pytest.raises(fjeld.MisuseError, match="thread"):
        view.get(b"b")
    assert client.do(lambda: view[b"b"]) == b"2"
    if isinstance(ks, fjeld.TxKeyspace):
        with pytest.raises(fjeld.MisuseError, match="open"):
            client.do(lambda: part.insert(b"c", b"3"))
    client.do(tx.commit)
    part[b"c"] = b"3"
    assert dict(part) == {b"a": b"1", b"b": b"2", b"c": b"3"}


def test_another_keyspace(ks, kind, part, tmp_path):
    with KINDS[kind](tmp_path / "other") as other:
        theirs = other.partition("p")
        with ks.write_tx() as tx:
            with pytest.raises(ValueError, match="another keyspace"):
                tx.partition(theirs)
            assert tx.partition(part)[b"a"] == b"1"
        with pytest.raises(ValueError, match="another keyspace"), ks.batch() as batch:
            batch.insert(theirs, b"k", b"v")
        assert dict(theirs) == {}


def test_wrong_arguments(ks, part):
    for wrong in ("sync", 1, True):
        with pytest.raises(TypeError):
            ks.write_tx(wrong)
        with pytest.raises(TypeError):
            ks.batch(durability=wrong)
    with ks.write_tx() as tx:
        view = tx.partition("p")
        for name in (b"p", 1, None):
            with pytest.raises(TypeError):
                tx.partition(name)
        with pytest.raises(ValueError):
            tx.partition("")
        for key in ("text", None, 5):
            for use in (view.get, view.remove, view.take, view.size_of, lambda key: view.insert(key, b"v")):
                with pytest.raises(TypeError):
                    use(key)
        for value in ("text", None, 5):
            with pytest.raises(TypeError):
                view.insert(b"k", value)
        for key in (bytes(65_536), bytearray(65_536)):
            for use in (
                view.get,
                view.remove,
                lambda key: view.insert(key, b""),
                lambda key: view.get_many([key]),
            ):
                with pytest.raises(ValueError):
                    use(key)
        with pytest.raises(TypeError):
            view.update_fetch(b"a", lambda old: "text")
        with pytest.raises(ValueError):
            view.cursor(prefix=b"a", start=b"b")
        assert tx.writes == 0
        view.insert(bytearray(b"k"), memoryview(b"v"))
    assert dict(part) == {b"a": b"1", b"k": b"v"}


def test_open_at_close(kind, path):
    ks = KINDS[kind](path)
    part = ks.partition("p")
    part[b"a"] = b"1"
    tx = ks.write_tx()
    view = tx.partition("p")
    view[b"b"] = b"2"
    scan = view.range()
    next(scan)
    ks.close()
    for use in (
        lambda: view.get(b"a"),
        lambda: view.insert(b"c", b"3"),
        lambda: next(scan),
        lambda: tx.partition("q"),
    ):
        with pytest.raises(fjeld.ClosedError, match="keyspace was closed"):
            use()
    with pytest.raises(fjeld.ClosedError):
        tx.commit()
    assert not tx.is_open
    empty = None
    with fjeld.open(path) as plain:
        assert content_of(plain) == {"p": {b"a": b"1"}}
    for begin in (
        ks.write_tx,
        ks.read_tx,
        ks.batch,
        lambda: ks.transact(lambda tx: None),
        lambda: part.take(b"a"),
    ):
        with pytest.raises(fjeld.ClosedError):
            begin()
    with pytest.raises(fjeld.ClosedError):
        part.insert(b"k", b"v")
    ks.close()
    del empty


def test_a_transaction_without_writes_is_refused_after_close(kind, path):
    ks = KINDS[kind](path)
    tx = ks.write_tx()
    ks.close()
    with pytest.raises(fjeld.ClosedError), tx:
        pass


def test_close_wakes_who_waits(path):
    ks = fjeld.open_tx(path)
    tx = ks.write_tx()
    part = ks.partition("p")
    tasks = [Task(ks.write_tx), Task(lambda: part.insert(b"k", b"v"))]
    ks.close()
    for task in tasks:
        with pytest.raises(fjeld.ClosedError):
            task.result()
    tx.rollback()  # the turn is not its own any more: nobody's is given away


def test_a_second_write_of_the_same_thread(single):
    part = single.partition("p")
    part[b"a"] = b"1"
    with single.write_tx() as tx:
        view = tx.partition("p")
        for use in (
            single.write_tx,
            lambda: single.transact(lambda tx: None),
            lambda: part.insert(b"k", b"v"),
            lambda: part.insert_many([(b"k", b"v")]),
            lambda: part.remove(b"a"),
            lambda: part.take(b"a"),
            lambda: part.update_fetch(b"a", lambda old: b"2"),
            lambda: part.pop(b"a"),
            lambda: part.ingest([(b"k", b"v")]),
            part.clear,
            part.popitem,
            lambda: single.drop_partition("p"),
        ):
            with pytest.raises(fjeld.MisuseError, match="transaction open"):
                use()
        with pytest.raises(fjeld.MisuseError, match="transaction open"), single.batch() as batch:
            batch.insert(part, b"k", b"v")
        assert dict(view.items()) == dict(part) == {b"a": b"1"}
        view[b"b"] = b"2"
    assert dict(part) == {b"a": b"1", b"b": b"2"}


def test_updates_must_not_write_to_the_keyspace(ks, part):
    with pytest.raises(fjeld.MisuseError, match="decides"):
        part.update_fetch(b"a", lambda old: part.insert(b"b", b"2"))
    with pytest.raises(ZeroDivisionError):
        part.update_fetch(b"a", lambda old: 1 // 0)
    with pytest.raises(TypeError):
        part.update_fetch(b"a", lambda old: "text")
    with pytest.raises(KeyError):
        part.pop(b"none")
    with pytest.raises(KeyError):
        del part[b"none"]
    assert part.pop(b"none", None) is None
    part[b"c"] = b"3"  # the turn was given back
    assert dict(part) == {b"a": b"1", b"c": b"3"}


def test_keys_whose_giving_ends_the_transaction(ks, part):
    tx = ks.write_tx()
    view = tx.partition("p")
    view[b"k"] = b"v"

    def keys():
        yield b"a"
        tx.rollback()

    with pytest.raises(fjeld.ClosedError):
        view.get_many(keys())
    tx = ks.write_tx()
    view = tx.partition("p")

    def pairs():
        yield b"x", b"1"
        tx.commit()
        yield b"y", b"2"

    with pytest.raises(fjeld.ClosedError):
        view.insert_many(pairs())
    assert dict(part) == {b"a": b"1", b"x": b"1"}


def test_ingestion_of_a_partition_in_use_leaves_no_files(single, path):
    part = single.partition("p")
    before = sorted((path / "tables").iterdir())

    def pairs():
        yield b"k", b"v"
        pairs.tx = single.write_tx()

    with pytest.raises(fjeld.MisuseError):
        part.ingest(pairs())
    assert sorted((path / "tables").iterdir()) == before
    pairs.tx.rollback()
    assert part.ingest([(b"k", b"v")]) == 1


def test_fork(kind, path):
    """A child has no part in the transactions of its parent."""
    program = f"""
        import os, sys, fjeld
        ks = fjeld.{"open_tx" if kind == "single" else "open_optimistic_tx"}({str(path)!r})
        part = ks.partition("p")
        part[b"a"] = b"1"
        tx = ks.write_tx()
        view = tx.partition("p")
        view[b"b"] = b"2"
        child = os.fork()
        if child == 0:
            failed = 0
            for use in (lambda: view.get(b"a"), lambda: view.insert(b"c", b"3"), tx.commit, ks.write_tx,
                        lambda: part.insert(b"d", b"4")):
                try:
                    use()
                except fjeld.ClosedError:
                    failed += 1
            os._exit(failed)
        _, status = os.waitpid(child, 0)
        tx.commit()
        ks.close()
        with fjeld.open({str(path)!r}) as plain:
            print(os.waitstatus_to_exitcode(status), dict(plain.partition("p")))
    """
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert run.stdout.split(" ", 1) == ["5", "{b'a': b'1', b'b': b'2'}\n"], run.stderr


# In a callback of a weak reference too it goes to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_leave_whole_transactions_and_a_free_turn(ks):
    """KeyboardInterrupt between any two lines: each transaction is there or not, and the next can begin."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    part = ks.partition("p")
    stop = threading.Event()
    former = signal.signal(signal.SIGINT, raise_interrupt)

    def interrupt() -> None:
        chance = 0
        while not stop.wait(0.000_2 + chance % 7 * 0.000_1):
            chance += 1
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    interrupted = begun = 0
    try:
        thread.start()
        while interrupted < 150 and begun < 100_000:
            try:
                begun += 1
                with ks.write_tx() as tx:
                    view = tx.partition("p")
                    view[b"a%06d" % begun] = b"1"
                    view.get(b"x")
                    view[b"b%06d" % begun] = b"1"
                part[b"direct"] = b"1"
            except KeyboardInterrupt:
                interrupted += 1
            tx = None
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        while True:
            try:
                stop.set()
                thread.join()
                signal.signal(signal.SIGINT, former)
                break
            except KeyboardInterrupt:
                continue
    gc.collect()
    assert interrupted
    keys = list(part)
    assert {key[1:] for key in keys if key[:1] == b"a"} == {key[1:] for key in keys if key[:1] == b"b"}
    client = Client()
    client.do(lambda: ks.transact(lambda tx: tx.partition("p").insert(b"last", b"1")))
    client.stop()
    assert part[b"last"] == b"1"
