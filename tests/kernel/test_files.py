"""The control plane's calls on files, the faults that tests inject, and the trace of what was done."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fjeld.kernel import files


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    files.clear_faults()
    files.stop_trace()


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


# ---- whole files ----


@pytest.mark.parametrize("data", [b"", b"x", b"0123456789" * 300_000])
def test_create_and_read(data: bytes) -> None:
    files.create_file("a", data)
    assert files.read_file("a") == data == Path("a").read_bytes()
    assert mode("a") & 0o200


def test_create_sealed() -> None:
    files.create_file("a", b"x", seal=True)
    assert mode("a") == 0o444


def test_create_never_replaces() -> None:
    files.create_file("a", b"old")
    with pytest.raises(FileExistsError) as raised:
        files.create_file("a", b"new")
    assert raised.value.filename == "a"
    assert files.read_file("a") == b"old"


@pytest.mark.parametrize("operation", ["create", "write", "pwrite_short", "seal", "sync_all", "close"])
def test_a_create_that_fails_leaves_nothing(operation: str) -> None:
    files.inject(operation, 0, errno.ENOSPC)
    with pytest.raises(OSError) as raised:
        files.create_file("a", b"data", seal=True)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "a")
    assert files.faults_hit() == 1
    assert os.listdir() == []


def test_paths_are_str_bytes_or_pathlike() -> None:
    files.create_file(b"a", b"1")
    files.create_file(Path("b"), b"2")
    assert (files.read_file("a"), files.read_file(b"b")) == (b"1", b"2")
    with pytest.raises(ValueError, match="null byte"):
        files.read_file("a\0b")


def test_a_missing_file_is_named() -> None:
    for call in (
        files.read_file,
        files.sync_file,
        files.unlink,
        files.remove_directory,
        files.sync_directory,
    ):
        with pytest.raises(FileNotFoundError) as raised:
            call("nope")
        assert raised.value.filename == "nope"


def test_a_read_that_fails() -> None:
    files.create_file("a", b"data")
    files.inject("read", 0, errno.EIO)
    with pytest.raises(OSError, match="a"):
        files.read_file("a")


def test_truncate_and_sync() -> None:
    files.create_file("a", b"0123456789")
    files.truncate("a", 4)
    files.sync_file("a")
    assert files.read_file("a") == b"0123"


def test_no_descriptor_leaks() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for operation in ("write", "sync_all", "seal", "close", "read", "open", "reflink", "copy", "allocate"):
        files.inject(operation, 0, errno.EIO)
        for call in (
            lambda: files.create_file("n", b"x", seal=True),
            lambda: files.read_file("n"),
            lambda: files.sync_file("n"),
            lambda: files.copy_file("n", "m"),
            lambda: files.AppendFile("p").append(b"x"),
        ):
            try:
                call()
            except OSError:
                pass
        for name in os.listdir():
            os.unlink(name)
        files.clear_faults()
    assert len(os.listdir("/proc/self/fd")) == before


# ---- names ----


def test_rename_replaces() -> None:
    files.create_file("a", b"1")
    files.create_file("b", b"2")
    files.rename("a", "b")
    assert os.listdir() == ["b"]
    assert files.read_file("b") == b"1"


@pytest.mark.parametrize("make", [lambda: files.create_file("b", b"2"), lambda: files.make_directory("b")])
@pytest.mark.parametrize("supported", [True, False])
def test_rename_noreplace_refuses_any_target(make: Callable[[], None], supported: bool) -> None:
    files.make_directory("a")
    make()
    if not supported:
        files.inject("noreplace", 0, errno.EINVAL)
    with pytest.raises(FileExistsError) as raised:
        files.rename_noreplace("a", "b")
    assert (raised.value.filename, raised.value.filename2) == ("a", "b")
    assert sorted(os.listdir()) == ["a", "b"]


@pytest.mark.parametrize("supported", [True, False])
def test_rename_noreplace_moves_a_directory(supported: bool) -> None:
    files.make_directory("a")
    if not supported:
        files.inject("noreplace", 0, errno.EINVAL)
    files.start_trace()
    files.rename_noreplace("a", "b")
    assert files.stop_trace() == [("rename", "a", "b")]
    assert os.listdir() == ["b"]


def test_directories() -> None:
    files.make_directory("d")
    files.create_file("d/x", b"")
    files.sync_directory("d")
    with pytest.raises(OSError):
        files.remove_directory("d")
    files.unlink("d/x")
    files.remove_directory("d")
    assert os.listdir() == []


# ---- links and copies ----


def test_link_many_answers_for_each_pair() -> None:
    files.create_file("a", b"1")
    files.create_file("b", b"2")
    assert files.link_many([b"a", b"nope", b"b"], [b"x", b"y", b"a"], None) == [0, errno.ENOENT, errno.EEXIST]
    assert os.stat("a").st_ino == os.stat("x").st_ino
    assert files.link_many([], []) == []
    with pytest.raises(ValueError):
        files.link_many([b"a"], [])


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_link_many_with_faults(number: int) -> None:
    for name in "abcd":
        files.create_file(name, b"")
    files.inject("link", 1, number, count=2)
    sources = [name.encode() for name in "abcd"]
    assert files.link_many(sources, [b"l" + name for name in sources]) == [0, number, number, 0]


def test_link_many_stops_when_cancelled() -> None:
    files.create_file("a", b"1")
    cancel = files.CancelFlag()
    assert not cancel.is_set()
    cancel.set()
    assert cancel.is_set()
    assert files.link_many([b"a", b"a"], [b"x", b"y"], cancel) == [errno.ECANCELED] * 2
    assert os.listdir() == ["a"]


@pytest.mark.parametrize("reflink", [True, False])
@pytest.mark.parametrize("data", [b"", b"x" * 4097, b"0123456789" * 250_000])
def test_copy(data: bytes, reflink: bool) -> None:
    files.create_file("a", data)
    assert sum(files.copy_file("a", "b", reflink=reflink)) == len(data)
    assert files.read_file("b") == data
    assert mode("b") == 0o444
    assert os.stat("a").st_ino != os.stat("b").st_ino


def test_copy_without_reflink_copies() -> None:
    files.create_file("a", b"data")
    files.inject("reflink", 0, errno.EOPNOTSUPP)
    assert files.copy_file("a", "b") == (0, 4)
    assert files.copy_file("a", "c", reflink=False) == (0, 4)
    assert files.faults_hit() == 1


def test_copy_never_replaces() -> None:
    files.create_file("a", b"1")
    files.create_file("b", b"2")
    with pytest.raises(FileExistsError):
        files.copy_file("a", "b")
    assert files.read_file("b") == b"2"


@pytest.mark.parametrize("operation", ["open", "create", "copy", "seal", "sync_all"])
def test_a_copy_that_fails_leaves_no_target(operation: str) -> None:
    files.create_file("a", b"data")
    files.inject("reflink", 0, errno.EXDEV)
    files.inject(operation, 0, errno.EIO)
    with pytest.raises(OSError) as raised:
        files.copy_file("a", "b")
    assert (raised.value.errno, raised.value.filename, raised.value.filename2) == (errno.EIO, "a", "b")
    assert os.listdir() == ["a"]


def test_a_full_disk_ends_a_copy_at_the_reflink() -> None:
    files.create_file("a", b"data")
    files.inject("reflink", 0, errno.ENOSPC)
    with pytest.raises(OSError) as raised:
        files.copy_file("a", "b")
    assert raised.value.errno == errno.ENOSPC
    assert os.listdir() == ["a"]


# ---- files that grow, files that lock ----


def test_append_file() -> None:
    with files.AppendFile("m") as log:
        log.append(b"one")
        log.append(b"")
        log.sync()
        log.append(b"two")
        assert (log.size, log.path) == (6, "m")
        log.seal()
    log.close()
    assert files.read_file("m") == b"onetwo"
    assert mode("m") == 0o444
    for call in (lambda: log.append(b"x"), log.sync, log.seal):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(FileExistsError):
        files.AppendFile("m")


def test_append_file_names_itself_in_errors() -> None:
    log = files.AppendFile("m")
    files.inject("sync", 0, errno.EIO)
    files.inject("write", 0, errno.ENOSPC)
    with pytest.raises(OSError) as raised:
        log.append(b"x")
    assert (raised.value.errno, raised.value.filename, log.size) == (errno.ENOSPC, "m", 0)
    with pytest.raises(OSError) as raised:
        log.sync()
    assert (raised.value.errno, raised.value.filename) == (errno.EIO, "m")


def test_lock_is_exclusive_until_unlocked() -> None:
    fd = files.lock_file("LOCK")
    with pytest.raises(BlockingIOError) as raised:
        files.lock_file("LOCK")
    assert raised.value.filename == "LOCK"
    assert not os.get_inheritable(fd)
    files.unlock_file(fd)
    files.unlock_file(files.lock_file("LOCK"))


def test_unlocking_frees_a_lock_that_a_fork_inherited() -> None:
    fd = files.lock_file("LOCK")
    other = os.dup(fd)  # as a forked child has it: the same open file
    files.unlock_file(fd)
    files.unlock_file(files.lock_file("LOCK"))
    os.close(other)


# ---- faults ----


def test_the_fault_comes_after_so_many_and_so_often() -> None:
    files.inject("create", 1, errno.EIO, count=2)
    outcomes: list[int | None] = []
    for name in "abcde":
        try:
            files.create_file(name, b"")
            outcomes.append(0)
        except OSError as error:
            outcomes.append(error.errno)
    assert outcomes == [0, errno.EIO, errno.EIO, 0, 0]
    assert files.faults_hit() == 2
    files.clear_faults()
    assert files.faults_hit() == 0


def test_a_fault_matches_a_part_of_the_path_also_of_a_descriptor() -> None:
    files.inject("write", 0, errno.EIO, path_contains="tab")
    files.create_file("journal", b"x")
    with pytest.raises(OSError):
        files.create_file("table", b"x")


def test_a_fault_matches_either_path_of_two() -> None:
    files.create_file("a", b"")
    for part in ("a", "target"):
        files.inject("link", 0, errno.EXDEV, path_contains=part)
        assert files.link_many([b"a"], [b"target"]) == [errno.EXDEV]
        files.clear_faults()


def test_any_operation_may_fail() -> None:
    """Injected one later each time, until the operation succeeds."""
    for after in range(20):
        files.inject(None, after, errno.EIO)
        try:
            files.create_file("a", b"data", seal=True)
        except OSError:
            assert files.faults_hit() == 1
            assert os.listdir() == []
            files.clear_faults()
        else:
            break
    assert after == 5  # create, write, seal, sync_all, close


def test_a_short_write_without_an_error_is_completed() -> None:
    files.inject("pwrite_short", 0, 0)
    files.create_file("a", b"0123456789")
    assert files.faults_hit() == 1
    assert files.read_file("a") == b"0123456789"


def test_a_short_write_with_an_error_has_written_half() -> None:
    log = files.AppendFile("a")
    files.inject("pwrite_short", 0, errno.ENOSPC)
    files.start_trace()
    with pytest.raises(OSError):
        log.append(b"0123456789")
    assert files.stop_trace() == [("write", "a", 0, b"01234")]
    assert files.read_file("a") == b"01234"


@pytest.mark.parametrize(
    "arguments",
    [("nope", 0, errno.EIO), ("write", -1, errno.EIO), ("write", 0, 0)],
)
def test_a_fault_that_makes_no_sense_is_refused(arguments: tuple[str, int, int]) -> None:
    with pytest.raises(ValueError):
        files.inject(*arguments)


# ---- the trace ----


def test_the_trace_has_what_was_done_in_order() -> None:
    files.start_trace()
    files.make_directory("d")
    files.create_file("d/a", b"hello", seal=True)
    files.link_many([b"d/a", b"nope"], [b"d/b", b"x"])
    files.copy_file("d/a", "d/c", reflink=False)
    files.rename("d/c", "d/e")
    files.truncate("d/e", 2)
    files.unlink("d/a")
    files.unlink("d/b")
    files.unlink("d/e")
    files.sync_directory("d")
    files.remove_directory("d")
    assert files.stop_trace() == [
        ("mkdir", "d"),
        ("create", "d/a"),
        ("write", "d/a", 0, b"hello"),
        ("seal", "d/a"),
        ("sync_all", "d/a"),
        ("close", "d/a"),
        ("link", "d/a", "d/b"),
        ("open", "d/a"),
        ("create", "d/c"),
        ("copy", "d/a", "d/c"),
        ("seal", "d/c"),
        ("sync_all", "d/c"),
        ("close", "d/a"),
        ("close", "d/c"),
        ("rename", "d/c", "d/e"),
        ("truncate", "d/e", 2),
        ("unlink", "d/a"),
        ("unlink", "d/b"),
        ("unlink", "d/e"),
        ("sync_dir", "d"),
        ("rmdir", "d"),
    ]
    assert files.stop_trace() == []


def test_what_failed_is_not_in_the_trace() -> None:
    log = files.AppendFile("m")
    files.start_trace()
    files.inject(None, 0, errno.EIO, count=100)
    for call in (lambda: log.append(b"x"), log.sync, log.seal, lambda: files.rename("m", "n")):
        with pytest.raises(OSError):
            call()
    files.clear_faults()
    assert files.stop_trace() == []


def test_the_trace_of_many_threads_is_whole() -> None:
    def work(name: str) -> None:
        log = files.AppendFile(name)
        for i in range(50):
            log.append(b"%d," % i)
            log.sync()
        log.close()

    files.start_trace()
    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace = files.stop_trace()
    for name in "abcd":
        mine = [event for event in trace if event[1] == name]
        assert [event[0] for event in mine] == ["create", *["write", "sync"] * 50, "close"]
        written = [event[3] for event in mine if event[0] == "write"]
        assert written == [b"%d," % i for i in range(50)]
