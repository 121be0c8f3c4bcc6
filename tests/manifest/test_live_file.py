"""Files live as long as somebody holds them, and one place deletes them."""

import errno
import gc
import os
import subprocess
import sys
import threading
import weakref
from queue import SimpleQueue

import pytest

from fjeld.kernel import files
from fjeld.manifest.live_file import LiveFile, Reaper


@pytest.fixture(autouse=True)
def _no_faults():
    yield
    files.clear_faults()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "000000000001.sst"
    path.write_bytes(b"x")
    return path


def test_an_obsolete_file_is_deleted_when_the_last_reference_has_gone(path):
    reaper = Reaper()
    version = LiveFile(str(path), reaper)
    pin = version
    version.mark_obsolete()
    assert version.obsolete
    del version
    assert reaper.reap() == 0
    assert path.exists()
    del pin
    assert path.exists(), "the finalizer does no I/O"
    assert reaper.pending_files == 1
    assert reaper.reap() == 1
    assert not path.exists()
    assert (reaper.pending_files, reaper.deleted_files) == (0, 1)


def test_a_file_that_is_not_obsolete_stays(path):
    reaper = Reaper()
    LiveFile(str(path), reaper)
    assert reaper.pending_files == 0
    assert path.exists()


def test_the_worker_is_woken(path):
    woken = SimpleQueue()
    reaper = Reaper(wake=lambda: woken.put(True))
    LiveFile(str(path), reaper).mark_obsolete()
    assert woken.get_nowait()


def test_a_file_that_is_gone_already_is_fine(path):
    reaper = Reaper()
    reaper.give(str(path))
    path.unlink()
    assert reaper.reap() == 0
    assert (reaper.pending_files, reaper.failed_deletions) == (0, 0)


def test_what_cannot_be_deleted_is_kept_for_the_next_time(tmp_path):
    reaper = Reaper()
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
        reaper.give(str(tmp_path / name))
    files.inject("unlink", 1, errno.EACCES)
    assert reaper.reap() == 2
    assert (reaper.pending_files, reaper.failed_deletions, reaper.deleted_files) == (1, 1, 2)
    assert reaper.last_error.errno == errno.EACCES
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert reaper.reap() == 1
    assert list(tmp_path.iterdir()) == []


def test_a_finalizer_never_raises(path, capfd):
    def angry():
        raise KeyboardInterrupt

    reaper = Reaper(wake=angry)
    LiveFile(str(path), reaper).mark_obsolete()
    assert reaper.reap() == 1
    half_made = LiveFile.__new__(LiveFile)
    del half_made
    assert capfd.readouterr().err == ""


def test_a_cycle_is_collected_while_the_reaper_works(path):
    """A finalizer may run at any point, also within `reap`: neither waits for the other."""
    reaper = Reaper()

    class Iterator:
        pass

    iterator = Iterator()
    iterator.file = LiveFile(str(path), reaper)
    iterator.itself = iterator
    iterator.file.mark_obsolete()
    del iterator
    with reaper._counters:
        gc.collect()
    assert reaper.pending_files == 1
    assert reaper.reap() == 1


def test_it_can_be_looked_up_weakly(path):
    table = weakref.WeakValueDictionary()
    file = LiveFile(str(path), Reaper())
    table[1] = file
    assert table[1] is file
    del file
    assert 1 not in table


def test_many_threads_let_go_and_reap_at_once(tmp_path):
    reaper = Reaper()
    held = []
    for number in range(400):
        (tmp_path / str(number)).touch()
        file = LiveFile(str(tmp_path / str(number)), reaper)
        file.mark_obsolete()
        held.append([file])
    del file
    start = threading.Barrier(4)
    deleted = []

    def work(part):
        start.wait()
        for cell in held[part::4]:
            cell.clear()
            deleted.append(reaper.reap())

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deleted.append(reaper.reap())
    assert sum(deleted) == reaper.deleted_files == 400
    assert list(tmp_path.iterdir()) == []


def test_a_child_of_fork_deletes_nothing(path):
    script = f"""
import os
from fjeld.manifest.live_file import LiveFile, Reaper
reaper = Reaper()
LiveFile({str(path)!r}, reaper).mark_obsolete()
child = os.fork()
if child == 0:
    os._exit(reaper.reap())
assert os.waitpid(child, 0)[1] == 0
assert os.path.exists({str(path)!r})
assert reaper.reap() == 1
"""
    _run(script)
    assert not path.exists()


def test_at_interpreter_exit_nothing_is_said(path):
    script = f"""
import sys
from fjeld.manifest.live_file import LiveFile, Reaper
reaper = Reaper(wake=lambda: print("woken"))
file = LiveFile({str(path)!r}, reaper)
file.mark_obsolete()
sys.modules["kept"] = [file]
del file
"""
    _run(script)
    assert path.exists(), "the next recovery deletes it"


def _run(script):
    source = os.path.dirname(os.path.dirname(sys.modules["fjeld"].__file__))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
