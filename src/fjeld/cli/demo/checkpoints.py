"""Checkpoints beside a running writer.

The run is divided into windows: in even ones no checkpoint is taken, in odd ones one after the other without
a pause. So both kinds of commits come from the same phase of the store's life. One checkpoint of each odd
window is kept to be proved; the others are deleted as soon as they are published.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import fjeld
from fjeld.cli.demo.latency import Interval

__all__ = ["Checkpointer", "Taken", "window_of"]


def window_of(done: int, total: int, windows: int) -> int:
    """The window (0 to windows - 1) in which item number `done` of `total` falls."""
    return min(done * windows // max(total, 1), windows - 1)


@dataclass(frozen=True, slots=True)
class Taken:
    """A checkpoint that was kept, and the snapshot of the source at the same seqno."""

    info: fjeld.CheckpointInfo
    snapshot: fjeld.Snapshot


class Checkpointer:
    """Owns the thread that takes checkpoints. `enter` and `finish` are for the writer's thread."""

    def __init__(self, keyspace: fjeld.Keyspace, folder: Path) -> None:
        self._keyspace = keyspace
        self._folder = folder
        self._changed = threading.Condition()
        self._window = 0  # guarded by _changed, like the next three
        self._finished = False
        self._failure: BaseException | None = None
        self._kept_window = -1
        self._thread = threading.Thread(target=self._run, name="demo-checkpoints")
        self.infos: list[fjeld.CheckpointInfo] = []
        self.kept: list[Taken] = []
        self.in_flight: list[Interval] = []
        self.quiet: list[Interval] = []
        self._quiet_since_ns: int | None = time.perf_counter_ns()

    def start(self) -> None:
        self._thread.start()

    def enter(self, window: int) -> None:
        """The writer has come to this window. Waits where a busy one would end without a checkpoint."""
        if window == self._window:
            return
        self._await_one()
        now_ns = time.perf_counter_ns()
        if self._quiet_since_ns is not None:
            self.quiet.append((self._quiet_since_ns, now_ns))
        self._quiet_since_ns = now_ns if window % 2 == 0 else None
        with self._changed:
            self._window = window
            self._changed.notify()

    def finish(self) -> None:
        """Waits for the checkpoint in flight. Raises what went wrong in the thread."""
        self._await_one()
        if self._quiet_since_ns is not None:
            self.quiet.append((self._quiet_since_ns, time.perf_counter_ns()))
            self._quiet_since_ns = None
        with self._changed:
            self._finished = True
            self._changed.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def release(self) -> None:
        """Lets go of the snapshots."""
        for taken in self.kept:
            taken.snapshot.close()

    def _await_one(self) -> None:
        """In a busy window: until it has its checkpoint, or the thread has failed."""
        with self._changed:
            while self._window % 2 == 1 and self._kept_window != self._window and self._failure is None:
                self._changed.wait()

    def _run(self) -> None:
        try:
            while (window := self._next_window()) is not None:
                self._take(window)
        except BaseException as error:
            with self._changed:
                self._failure = error  # told to the writer by finish()
                self._changed.notify()

    def _next_window(self) -> int | None:
        """The odd window to take a checkpoint in; blocks during even ones. None at the end."""
        with self._changed:
            while not self._finished and self._window % 2 == 0:
                self._changed.wait()
            return None if self._finished else self._window

    def _take(self, window: int) -> None:
        target = self._folder / f"{len(self.infos) + 1:04}"
        start_ns = time.perf_counter_ns()
        info = self._keyspace.backup_to(target, with_snapshot=True)
        self.in_flight.append((start_ns, time.perf_counter_ns()))
        self.infos.append(info)
        assert info.snapshot is not None, "with_snapshot=True gives one"
        if window == self._kept_window:
            info.snapshot.close()
            shutil.rmtree(target)
        else:
            self.kept.append(Taken(info, info.snapshot))
            with self._changed:
                self._kept_window = window
                self._changed.notify()
