"""What Python can do to a store: forks, exits, interrupts, buffers that change, callbacks that raise, finalizers."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fjeld
from fjeld.sync_points import set_sync_point
from tests.small import SMALL_PARTITION, small_options


def run(
    script: str, *arguments: object, timeout: int = 120, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, from the folder of the tests.

    Its coverage is not measured: a child of fork would wait for ever for a lock of the measurement.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=check,
    )


@pytest.fixture
def ks(path: Path, small: fjeld.KeyspaceOptions) -> Iterator[fjeld.Keyspace]:
    with fjeld.open(path, options=small) as keyspace:
        yield keyspace


# ---- fork ----


def files_of(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file.relative_to(path)): (file.stat().st_ino, file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def in_a_child(work: Callable[[], object]) -> object:
    """What `work` gives, or the name of what it raises, in a forked child that ends without cleaning up."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                answer = work()
            except BaseException as error:
                answer = type(error).__name__
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read() or '"died"')
    os.waitpid(child, 0)
    return answer


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_of_fork_is_refused(ks: fjeld.Keyspace, path: Path) -> None:
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%05d" % i, b"v" * 40) for i in range(1000))
    p.compact()
    p[b"k"] = b"v"
    snap = ks.snapshot()
    view = snap.partition("p")
    items, cursor, batch = iter(p.items()), p.cursor(), ks.batch()
    next(items)
    batch.insert(p, b"l", b"w")
    ks._engine.maintainer.wait_idle()
    before = files_of(path)
    for use in (
        lambda: p.get(b"k"),
        lambda: p.insert(b"k", b"w"),
        lambda: p.remove(b"k"),
        lambda: p.insert_many([(b"k", b"w")]),
        lambda: batch.commit(),
        lambda: next(items),
        lambda: cursor.seek_first(),
        lambda: view.get(b"k"),
        lambda: len(p),
        lambda: snap.partitions(),
        lambda: ks.partition("q"),
        lambda: ks.drop_partition("p"),
        lambda: ks.snapshot(),
        lambda: ks.flush(),
        lambda: ks.compact(),
        lambda: ks.persist(),
        lambda: ks.digest(),
        lambda: ks.backup_to(path.parent / "copy"),
        lambda: p.clear(),
    ):
        assert in_a_child(use) == "ClosedError"
    assert in_a_child(lambda: fjeld.open(path)) == "LockedError"

    def everything_goes() -> str:
        ks.close()
        snap.close()
        batch.discard()
        cursor.close()
        return "done"

    assert in_a_child(everything_goes) == "done"
    assert files_of(path) == before
    assert not (path.parent / "copy").exists()
    assert p[b"k"] == b"v"  # nothing of this has reached the parent
    p[b"k"] = b"w"
    p.compact()
    assert len(p) == 1001
    snap.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_may_open_a_keyspace_of_its_own(ks: fjeld.Keyspace, tmp_path: Path) -> None:
    def open_another() -> int:
        with fjeld.open(tmp_path / "other", options=small_options()) as other:
            p = other.partition("p")
            p.insert_many((b"%05d" % i, b"v" * 40) for i in range(1000))
            other.compact()
            return len(p)

    assert in_a_child(open_another) == 1000
    with fjeld.open(tmp_path / "other") as other:
        assert len(other.partition("p")) == 1000


def test_a_child_that_outlives_a_killed_parent_does_not_keep_the_lock(path: Path) -> None:
    """Nobody is left then who could unlock it."""
    script = """
        import os, signal, sys, time
        import fjeld

        ks = fjeld.open(sys.argv[1])
        child = os.fork()
        if child == 0:
            os.write(1, b"%d\\n" % os.getpid())
            signal.pause()
        os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            parent.wait()
            with fjeld.open(path) as again:
                again.partition("p")[b"k"] = b"v"
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_lives_on_does_not_keep_the_lock(path: Path) -> None:
    ks = fjeld.open(path)
    release, wait = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(wait)
        os.read(release, 1)
        os._exit(0)
    os.close(release)
    try:
        ks.close()
        with fjeld.open(path) as again:
            again.partition("p")[b"k"] = b"v"
    finally:
        os.close(wait)
        os.waitpid(child, 0)


def test_a_child_forked_in_the_middle_of_everything_ends(path: Path) -> None:
    """Whatever locks other threads hold at the moment of the fork, the child gets its refusal, and exits."""
    script = """
        import os, sys, threading
        import fjeld
        from tests.small import SMALL_PARTITION, small_options

        ks = fjeld.open(sys.argv[1], options=small_options())
        p = ks.partition("p", options=SMALL_PARTITION)
        stop = threading.Event()

        def work(job):
            i = 0
            while not stop.is_set():
                i += 1
                job(i)

        jobs = [
            lambda i: p.insert(b"%06d" % (i % 5000), b"v" * 40),
            lambda i: p.get(b"%06d" % (i % 5000)),
            lambda i: list(p.range(b"%06d" % (i % 5000), reverse=i % 2)),
            lambda i: p.compact(),
            lambda i: ks.snapshot().close(),
            lambda i: ks.partition("other").clear(),
        ]
        threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for _ in range(40):
            child = os.fork()
            if child == 0:
                try:
                    p.insert(b"from the child", b"x")
                except fjeld.ClosedError:
                    sys.exit(7)     # with finalizers and exit handlers
                sys.exit(8)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        stop.set()
        for thread in threads:
            thread.join()
        assert b"from the child" not in p
        ks.close()
        print("ended")
    """
    done = run(script, path, check=False)
    assert (done.stdout, done.stderr) == ("ended\n", "")
    with fjeld.open(path) as ks:
        assert b"from the child" not in ks.partition("p")


# ---- the end of the interpreter ----


@pytest.mark.parametrize("how", ["return", "raise", "sys.exit(3)", "thread", "abandoned"])
def test_the_interpreter_ends_with_everything_open(path: Path, how: str) -> None:
    script = """
        import sys, threading, time
        import fjeld
        from tests.small import SMALL_PARTITION, small_options

        ks = fjeld.open(sys.argv[1], options=small_options())
        p = ks.partition("p", options=SMALL_PARTITION)
        p.insert_many((b"%05d" % i, b"v" * 40) for i in range(2000))
        items, keys = iter(p.items()), reversed(p)
        next(items), next(keys)
        cursor = p.cursor()
        cursor.seek(b"01000")
        snap = ks.snapshot()
        view = snap.partition("p")
        values = iter(view.values())
        batch = ks.batch()
        batch.insert(p, b"never", b"committed")
        pin = ks.pin()
        p[b"last"] = b"written"
        class Cycle: pass
        cycle = Cycle()
        cycle.itself, cycle.held = cycle, (ks, p, items, keys, cursor, snap, view, values, batch, pin)

        def scan_for_ever():
            try:
                while True:
                    for _ in p.items(): pass
                    p[b"scratch"] = b"x"
            except fjeld.ClosedError:
                pass

        how = sys.argv[2]
        if how == "thread":
            threading.Thread(target=scan_for_ever, daemon=True).start()
            time.sleep(0.05)
        if how == "abandoned":
            del ks, p, items, keys, cursor, snap, view, values, batch, pin
        if how == "raise":
            raise SystemError("on purpose")
        if how.startswith("sys"):
            sys.exit(3)
    """
    done = run(script, path, how, check=False)
    assert done.returncode == {"raise": 1, "sys.exit(3)": 3}.get(how, 0), done.stderr
    if how == "raise":
        assert done.stderr.strip().endswith("SystemError: on purpose")
    else:
        assert done.stderr == ""
    with fjeld.open(path, create=False) as ks:
        p = ks.partition("p")
        p.pop(b"scratch", None)
        assert len(p) == 2001
        assert p[b"last"] == b"written"
        assert b"never" not in p


# ---- interrupts ----


def test_a_storm_of_interrupts(path: Path) -> None:
    """KeyboardInterrupt at any line of any call: what was acknowledged is there, nothing hangs, the keyspace goes on."""
    script = """
        import os, random, signal, sys, threading, time
        import fjeld
        from tests.small import SMALL_PARTITION, small_options

        # A shell's background job begins with interrupts ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        options = small_options(memtable_bytes=4096, journal_bytes=8192)
        acknowledged = {}
        attempted = {}
        interrupted = 0
        armed = True

        def storm():
            chance = random.Random(5)
            while armed:
                time.sleep(chance.random() * 0.002)
                if armed:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        ks = fjeld.open(sys.argv[1], options=options)
        p = ks.partition("p", options=SMALL_PARTITION)
        q = ks.partition("q")
        thread = threading.Thread(target=storm)
        deadline = time.monotonic() + float(sys.argv[2])
        i = 0
        def ignore(number, frame): pass
        thread.start()
        while True:
            try:
                while time.monotonic() < deadline:
                    i += 1
                    key, value = b"%05d" % (i % 3000), b"%d" % i * 10
                    attempted[key] = value
                    if i % 3:
                        p[key] = value
                    else:
                        with ks.batch() as batch:
                            batch.insert(p, key, value)
                            batch.insert(q, key, value)
                    acknowledged[key] = value
                    if i % 97 == 0:
                        ks.persist(fjeld.PersistMode.SYNC_DATA)
                    if i % 211 == 0:
                        p.flush()
                    if i % 503 == 0:
                        p.compact()
                    if i % 101 == 0:
                        with ks.snapshot() as snap:
                            assert snap.partition("p")[key] == value
                    if i % 301 == 0:
                        ks.partition("t").clear()
                    if i % 59 == 0:
                        sum(len(v) for _, v in p.range(b"01000", b"01100"))
                signal.signal(signal.SIGINT, ignore)
                break
            except KeyboardInterrupt:
                interrupted += 1
        armed = False
        thread.join()

        def check(p):
            found = dict(p)
            for key, value in acknowledged.items():
                assert found[key] in (value, attempted[key]), (key, value, found[key])
            assert found.keys() <= attempted.keys()

        check(p)
        p[b"after"] = b"the storm"
        del p[b"after"]
        ks.persist()
        ks.compact()
        ks.backup_to(sys.argv[1] + "-copy")
        check(p)
        ks.close()
        with fjeld.open(sys.argv[1]) as ks:
            check(ks.partition("p"))
        print("interrupted" if interrupted > 20 else f"only {interrupted} times")
    """
    done = run(script, path, 4, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_an_interrupt_at_every_line(path: Path) -> None:
    """KeyboardInterrupt between any two lines that the main thread runs in an operation: nobody hangs afterwards."""
    script = """
        import linecache, os, sys, threading
        import fjeld
        from tests.small import SMALL_PARTITION, small_options

        SOURCE = os.path.dirname(fjeld.__file__)

        def interrupted_at(number, work):
            # Where it was interrupted; None: it has fewer lines.
            passed, where = 0, None

            def trace(frame, event, _argument):
                nonlocal passed, where
                code = frame.f_code
                if not code.co_filename.startswith(SOURCE):
                    return None
                # Real signals are not handled where a with statement is entered and left; what they raise in a finalizer is lost.
                line = linecache.getline(code.co_filename, frame.f_lineno).strip()
                if event == "line" and not line.startswith("with ") and code.co_name != "__del__":
                    passed += 1
                    if passed == number:
                        where = f"{code.co_filename[len(SOURCE):]}:{frame.f_lineno}"
                        raise KeyboardInterrupt
                return trace

            sys.settrace(trace)
            try:
                work()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            return where

        ks = fjeld.open(sys.argv[1], options=small_options(memtable_bytes=4096, journal_bytes=8192))
        p = ks.partition("p", options=SMALL_PARTITION)
        expected = {b"%03d" % i: b"v" * 40 for i in range(100)}
        p.update(expected)
        outcome = []

        def check():
            p[b"check"] = b"1"
            p.insert_many((b"check%04d" % i, b"c" * 40) for i in range(30))
            ks.persist()
            p.flush()
            with ks.snapshot() as snap:
                assert len(snap.partition("p")) == 131
            for key, _ in p.prefix(b"check"):
                p.remove(key)
            assert dict(p) == expected
            ks._engine.store.version.check()
            outcome.append("sound")

        def rewrite():
            for i in range(40):
                p[b"%03d" % i] = b"v" * 40

        operations = {
            "writes": (rewrite, 7),
            "flush": (lambda: (p.insert(b"000", b"v" * 40), p.flush()), 11),
            "persist": (lambda: ks.persist(), 2),
            "snapshot": (lambda: ks.snapshot().close(), 2),
            "create": (lambda: ks.partition(f"made {number}"), 4),
            "clear": (lambda: ks.partition("q").clear(), 4),
            "drop": (lambda: ks.drop_partition("q"), 2),
            "pin": (lambda: ks.pin().release(), 19),
            "backup": (lambda: ks.backup_to(f"{sys.argv[1]}-{number}"), 83),
        }
        for name, (work, step) in operations.items():
            step = 1 if sys.argv[2] == "all" else step
            number = 1
            while True:
                ks.partition("q")[b"k"] = b"v"
                where = interrupted_at(number, work)
                checker = threading.Thread(target=check, daemon=True)
                checker.start()
                checker.join(60)
                if outcome != ["sound"]:
                    print(name, number, where, "somebody waits for ever" if checker.is_alive() else "unsound")
                    sys.stdout.flush()
                    os._exit(1)
                outcome.clear()
                if where is None:
                    break
                number += step
                if sys.argv[2] != "all" and number > 20 * step:
                    step *= 2
            assert number > 4, name
        ks.close()
        with fjeld.open(sys.argv[1]) as ks:
            assert dict(ks.partition("p")) == expected
        print("sound")
    """
    lines = "all" if os.environ.get("FJELD_LONG") == "1" else "some"
    done = run(script, path, lines, timeout=1200, check=False)
    assert (done.stdout, done.stderr) == ("sound\n", "")


# ---- buffers that change ----


def test_a_buffer_that_changes_after_the_call(ks: fjeld.Keyspace) -> None:
    p = ks.partition("p")
    key, value = bytearray(b"key"), bytearray(b"value")
    p.insert(key, value)
    key[:], value[:] = b"xxx", b"yyyyy"
    assert dict(p) == {b"key": b"value"}
    bound = bytearray(b"a")
    scan, cursor = p.range(bound), p.cursor(start=bound, stop=bytearray(b"z"))
    bound[:] = b"z"
    assert list(scan) == [(b"key", b"value")]
    assert cursor.seek_first()


def test_a_buffer_that_another_thread_changes_meanwhile(ks: fjeld.Keyspace) -> None:
    """It is copied at once: what is journalled, what is found and what its checksum says are the same bytes."""
    p = ks.partition("p", options=SMALL_PARTITION)
    key, value = bytearray(b"k" * 64), bytearray(b"v" * 4096)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 256
            key[:] = bytes([number]) * 64
            value[:] = bytes([number]) * 4096

    thread = threading.Thread(target=change)
    thread.start()
    for _ in range(200):
        p.insert(key, value)
        p.get(key)
        p.remove(bytearray(b"x"))
    stop.set()
    thread.join()
    for found, content in p.items():
        assert len(set(found)) <= 2
        assert len(found) == 64
        assert len(set(content)) <= 2
    content = dict(p)
    ks.close()
    with fjeld.open(ks.path) as again:
        assert dict(again.partition("p")) == content


def test_a_buffer_that_shrinks_while_it_is_copied_cannot(ks: fjeld.Keyspace) -> None:
    value = bytearray(100)
    p = ks.partition("p")

    class Shrinking(bytes):
        def __bytes__(self) -> bytes:
            value.clear()
            return b"from __bytes__"

    p.insert(b"k", Shrinking(b"content"))
    assert p[b"k"] in (b"content", b"from __bytes__")


# ---- callbacks ----


def test_callbacks_that_raise(ks: fjeld.Keyspace, tmp_path: Path) -> None:
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%05d" % i, b"v" * 40) for i in range(1000))

    def broken(*args: object) -> None:
        raise ZeroDivisionError("in progress")

    with pytest.raises(ZeroDivisionError):
        ks.backup_to(tmp_path / "copy", progress=broken)
    assert sorted(name.name for name in tmp_path.iterdir()) == ["keyspace"]
    ks.backup_to(tmp_path / "copy")
    assert len(p) == 1000


def test_a_clock_that_raises(path: Path) -> None:
    broken = False

    def clock() -> int:
        if broken:
            raise ZeroDivisionError("no time")
        return 1

    with fjeld.open(path, options=fjeld.KeyspaceOptions(clock=clock)) as ks:
        p = ks.partition("p")
        p[b"a"] = b"1"
        broken = True
        for write in (
            lambda: p.insert(b"b", b"2"),
            lambda: p.remove(b"a"),
            lambda: p.insert_many([(b"b", b"2")]),
            lambda: ks.backup_to(path.parent / "copy"),
        ):
            with pytest.raises(ZeroDivisionError):
                write()
        assert dict(p) == {b"a": b"1"}
        assert ks.seqno == 1
        broken = False
        p[b"b"] = b"2"
    assert not (path.parent / "copy").exists()
    with fjeld.open(path) as ks:
        assert dict(ks.partition("p")) == {b"a": b"1", b"b": b"2"}


def test_a_clock_that_uses_the_keyspace(path: Path) -> None:
    seen: list[object] = []
    partition: list[fjeld.Partition] = []

    def clock() -> int:
        if partition:
            seen.append(partition[0].get(b"k"))
        return 1

    with fjeld.open(path, options=fjeld.KeyspaceOptions(clock=clock)) as ks:
        partition.append(ks.partition("p"))
        partition[0][b"k"] = b"1"
        partition[0][b"k"] = b"2"
        partition.clear()
    assert seen[:2] == [None, b"1"]


def test_an_argument_that_closes_the_keyspace(path: Path, small: fjeld.KeyspaceOptions) -> None:
    """Arguments are iterated, and may do anything."""
    for method in ("insert_many", "get_many"):
        ks = fjeld.open(path, options=small)
        p = ks.partition("p")
        p.insert_many((b"%05d" % i, b"v" * 40) for i in range(500))
        p.compact()

        def arguments(ks=ks, method=method) -> Iterator[object]:
            yield (b"00001", b"w") if method == "insert_many" else b"00001"
            ks.close()
            yield (b"00002", b"w") if method == "insert_many" else b"00002"

        with pytest.raises(fjeld.ClosedError):
            getattr(p, method)(arguments())
    with fjeld.open(path) as ks:
        assert set(ks.partition("p").values()) == {b"v" * 40}


# ---- closed in the middle ----


def test_closed_during_iterations_and_batches(path: Path, small: fjeld.KeyspaceOptions) -> None:
    ks = fjeld.open(path, options=small)
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%05d" % i, b"v" * 40) for i in range(1000))
    p.compact()
    with pytest.raises(fjeld.ClosedError), ks.batch() as batch:
        for number, (key, value) in enumerate(p.items()):
            batch.insert(p, key, value * 2)
            if number == 500:
                ks.close()
    assert number == 500
    with pytest.raises(fjeld.ClosedError):
        batch.commit()
    with fjeld.open(path) as again:
        assert set(again.partition("p").values()) == {b"v" * 40}


@pytest.mark.parametrize(
    "point", ["backup:staged", "backup:cut", "backup:finished", "backup:linked", "backup:written"]
)
def test_closed_during_a_backup(path: Path, small: fjeld.KeyspaceOptions, point: str) -> None:
    """It either comes to its end or says ClosedError; then no trace of it is left."""
    ks = fjeld.open(path, options=small)
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%05d" % i, b"v" * 40) for i in range(1000))
    p.flush()
    p[b"k"] = b"v"
    digest = ks.digest()
    set_sync_point(point, ks.close)
    target = path.parent / "copy"
    try:
        ks.backup_to(target)
    except fjeld.ClosedError:
        assert [name.name for name in path.parent.iterdir()] == [path.name]
    else:
        with fjeld.open(target) as copy:
            assert copy.digest() == digest
    with fjeld.open(path) as again:
        assert again.digest() == digest


def test_closed_by_another_thread_under_full_load(path: Path, small: fjeld.KeyspaceOptions) -> None:
    """Every thread gets ClosedError and nothing else, whatever it was doing."""
    for round_ in range(6):
        ks = fjeld.open(path, options=small)
        p = ks.partition("p", options=SMALL_PARTITION)
        p.insert_many((b"%05d" % i, b"v" * 40) for i in range(500))
        unexpected: list[BaseException] = []
        started = threading.Barrier(10)

        def work(job: Callable[[int], object], started=started, unexpected=unexpected) -> None:
            number = 0
            started.wait()
            try:
                while True:
                    number += 1
                    job(number)
            except fjeld.ClosedError:
                pass
            except BaseException as error:
                unexpected.append(error)

        def in_a_batch(number: int, ks=ks, p=p) -> None:
            with ks.batch(durability=fjeld.PersistMode.SYNC_DATA) as batch:
                batch.insert(p, b"%05d" % (number % 700), b"b" * 40)

        jobs = [
            lambda i, p=p: p.insert(b"%05d" % (i % 900), b"w" * 40),
            lambda i, p=p: p.get_many(b"%05d" % n for n in range(i % 500, 500, 7)),
            lambda i, p=p: list(p.range(reverse=bool(i % 2))),
            lambda i, p=p: p.flush(),
            lambda i, p=p: p.compact(),
            lambda i, ks=ks: ks.persist(fjeld.PersistMode.SYNC_ALL),
            lambda i, ks=ks, round_=round_: ks.backup_to(path.parent / f"copy{round_}-{i}"),
            in_a_batch,
            lambda i, ks=ks: ks.digest(),
        ]
        threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        started.wait()
        for _ in range(50 * round_):
            p.get(b"00001")
            p.insert(b"main", b"m" * 40)
        ks.close()
        for thread in threads:
            thread.join()
        assert unexpected == []
    with fjeld.open(path) as ks:
        assert len(ks.partition("p")) >= 500
    assert not [name for name in os.listdir(path.parent) if not name.startswith(("keyspace", "copy"))]


# ---- finalizers ----


def test_finalizers_in_any_order(path: Path, small: fjeld.KeyspaceOptions) -> None:
    """Whoever goes first, the others stay sound and the files go when nobody needs them."""
    ks = fjeld.open(path, options=small)
    p = ks.partition("p", options=SMALL_PARTITION)
    p.insert_many((b"%05d" % i, b"v" * 40) for i in range(500))
    p.compact()
    for first in range(6):
        snap = ks.snapshot()
        view = snap.partition("p")
        held = {0: snap, 1: view, 2: iter(view.items()), 3: view.cursor(), 4: iter(p.items()), 5: ks.pin()}
        next(held[2]), next(held[4])
        del snap, view
        for which in sorted(held, key=lambda number: (number - first) % 6):
            del held[which]
            gc.collect()
            p[b"%05d" % which] = b"w" * 40
            p.compact()
    assert ks.stats()["open_snapshots"] == 0
    numbers = {table.number for table in ks._engine.store.version.tables()}
    ks._engine.maintainer.wait_idle()
    assert {int(name.split(".")[0]) for name in os.listdir(path / "tables")} == numbers
    watch = weakref.ref(ks)
    ks.close()
    del ks, p
    gc.collect()
    assert watch() is None
    assert path.name in os.listdir(path.parent)


def test_cycles_are_collected(path: Path, small: fjeld.KeyspaceOptions) -> None:
    class Holder:
        pass

    with fjeld.open(path, options=small) as ks:
        p = ks.partition("p")
        p[b"k"] = b"v"
        for _ in range(50):
            holder = Holder()
            snap = ks.snapshot()
            holder.held = (holder, snap, iter(snap.partition("p").items()), p.cursor())
            del holder, snap
        gc.collect()
        assert ks.stats()["open_snapshots"] == 0
