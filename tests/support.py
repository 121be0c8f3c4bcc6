"""What the tests of the running engine share: content, copies, threads that stop at sync points, traces."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import fjeld
from fjeld.kernel import files
from fjeld.sync_points import set_sync_point
from tests.small import small_options

# Never waited for in a test that passes.
TIMEOUT_SECONDS = 60

Content = dict[str, dict[bytes, bytes]]
Event = tuple[Any, ...]


def settle(keyspace: fjeld.Keyspace) -> None:
    """Until nothing is left to do in the background."""
    keyspace._engine.maintainer.wait_idle()


def fill(partition: Any, count: int, *, seed: int = 0, value_bytes: int = 40, start: int = 0) -> None:
    """Entries `start` to `start + count`, in random order, one write each."""
    chance = random.Random(seed)
    numbers = list(range(start, start + count))
    chance.shuffle(numbers)
    for number in numbers:
        partition.insert(b"%08d" % number, chance.randbytes(value_bytes))


def content_of(keyspace: Any) -> Content:
    """Everything in a keyspace or a snapshot."""
    return {name: dict(keyspace.partition(name).items()) for name in keyspace.partitions()}


def content_at(path: Path | str) -> Content:
    """Everything in the keyspace in a folder, which is opened for that."""
    with fjeld.open(path, create=False) as keyspace:
        return content_of(keyspace)


def digest_at(path: Path | str) -> str:
    with fjeld.open(path, create=False) as keyspace:
        return keyspace.digest()


def tree_of(path: Path | str) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of each file beneath a folder."""
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            try:
                found[str(file.relative_to(path))] = (stat.S_IMODE(file.stat().st_mode), file.read_bytes())
            except FileNotFoundError:
                continue  # deleted meanwhile: also an answer
    return found


def crash_copy(path: Path, target: Path) -> Path:
    """What a process killed at this moment would leave behind. Requires: nobody writes.

    What the background deletes meanwhile may be missing.
    """

    def copy(source: str, destination: str) -> None:
        with suppress(FileNotFoundError):
            shutil.copy2(source, destination)

    shutil.copytree(path, target, copy_function=copy)
    return target


def abandon(keyspace: fjeld.Keyspace) -> None:
    """End a keyspace as a killed process would: nothing is flushed, nothing retired, the folder is unlocked."""
    engine = keyspace._engine
    engine.poison(RuntimeError("abandoned by a test"))
    keyspace.close()


def journals_of(path: Path) -> list[Path]:
    return sorted((path / "journals").glob("*.jnl"))


def tables_of(path: Path) -> list[Path]:
    return sorted((path / "tables").glob("*.sst"))


def manifest_of(path: Path) -> Path:
    return path / (path / "CURRENT").read_text().strip()


def leftovers(folder: Path) -> list[str]:
    """Staging folders that a backup has left behind."""
    return [name for name in os.listdir(folder) if name.endswith(".fjeld-staging")]


class Gate:
    """Stops the first thread that passes a sync point until `open` is called; later ones pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reached = threading.Event()
        self._go = threading.Event()
        self._first = threading.Lock()
        set_sync_point(name, self._stop)

    def _stop(self) -> None:
        if self._first.acquire(blocking=False):
            self.reached.set()
            assert self._go.wait(TIMEOUT_SECONDS), f"nobody opened the gate at {self.name}"

    def wait(self) -> None:
        assert self.reached.wait(TIMEOUT_SECONDS), f"nobody came to {self.name}"

    def open(self) -> None:
        self._go.set()
        set_sync_point(self.name, None)


class Task:
    """A function in a thread of its own; `result` waits for it and gives or raises what it did."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive(), "the task hangs"
        if self._error is not None:
            raise self._error
        return self._value


@contextmanager
def running(function: Callable[[threading.Event], object], threads: int = 1) -> Iterator[None]:
    """`function(stop)` in threads while the block runs; what they raise is raised at its end."""
    stop = threading.Event()
    tasks = [Task(lambda: function(stop)) for _ in range(threads)]
    try:
        yield
    finally:
        stop.set()
        for task in tasks:
            task.result()


@contextmanager
def traced() -> Iterator[list[Event]]:
    """The file operations of the block, in order; filled in when it ends."""
    events: list[Event] = []
    files.start_trace()
    try:
        yield events
    finally:
        events += files.stop_trace()


def opened(path: Path, **changed: Any) -> fjeld.Keyspace:
    """A keyspace with small options."""
    return fjeld.open(path, options=small_options(**changed))


@contextmanager
def fast_folder(default: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests that sync thousands of times."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield default
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="fjeld-test-") as folder:
        yield Path(folder)


def raise_interrupt(_signal: int, frame: FrameType | None) -> None:
    """A handler of SIGINT: KeyboardInterrupt between any two lines of ours, but not of what measures the coverage (its
    lock would stay taken), nor in finalizers, where it goes to nobody and is only complained about.
    """
    while frame is not None and f"{os.sep}tests{os.sep}" not in frame.f_code.co_filename:
        name = frame.f_code.co_filename
        if f"{os.sep}coverage{os.sep}" in name or f"{os.sep}_pytest{os.sep}" in name:
            return
        if frame.f_code.co_name == "__del__":
            return
        frame = frame.f_back
    raise KeyboardInterrupt
