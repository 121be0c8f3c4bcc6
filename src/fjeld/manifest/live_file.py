"""Files that are in use, and the one place that deletes them.

A sealed file lives as long as somebody holds its `LiveFile`: a version's view, a snapshot, an iterator, a
pin, a backup. Python counts these references; nobody takes a lock to hold a file or to let go of it. When the
last one goes and an edit has made the file obsolete, its path goes to the `Reaper`, and a worker deletes it
at its leisure.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from fjeld.kernel import files
from fjeld.sync_points import sync_point

__all__ = ["LiveFile", "Reaper"]


class Reaper:
    """Owns the paths of files that nobody needs any more, and deletes them.

    `give` is called from finalizers, which run in any thread at any point of its code, even within another
    call of `give` or `reap`: it takes no lock and does no I/O. `reap` may be called by any number of threads.
    """

    __slots__ = (
        "_condemned",
        "_counters",
        "_pid",
        "_wake",
        "deleted_files",
        "failed_deletions",
        "last_error",
    )

    def __init__(self, wake: Callable[[], object] | None = None) -> None:
        """`wake` tells a worker that there is something to reap.

        It is called from finalizers: `queue.SimpleQueue.put` and `deque.append` are safe there; what takes a
        lock that is not reentrant (`threading.Event.set`, `queue.Queue.put`) is not.
        """
        self._condemned: deque[str] = deque()
        self._wake = wake
        self._pid = os.getpid()
        self._counters = threading.Lock()
        self.deleted_files = 0
        self.failed_deletions = 0
        self.last_error: OSError | None = None

    @property
    def pending_files(self) -> int:
        """How many wait to be deleted."""
        return len(self._condemned)

    def give(self, path: str) -> None:
        """Condemn a file. Requires: nobody can open or link it any more."""
        self._condemned.append(path)
        if self._wake is not None:
            self._wake()

    def reap(self) -> int:
        """Delete what was condemned before the call; how many files are gone.

        What fails is kept for the next time. A child of fork deletes nothing: the files are its parent's.
        """
        if os.getpid() != self._pid:
            return 0
        deleted = 0
        kept: list[str] = []
        for _ in range(len(self._condemned)):
            try:
                path = self._condemned.popleft()
            except IndexError:  # another thread was faster
                break
            sync_point("file:delete")
            try:
                files.unlink(path)
                deleted += 1
            except FileNotFoundError:
                pass  # as good as deleted
            except OSError as error:
                kept.append(path)
                self.last_error = error
        self._condemned.extend(kept)
        with self._counters:
            self.deleted_files += deleted
            self.failed_deletions += len(kept)
        return deleted


class LiveFile:
    """One sealed file on disk. The object is the reference: whoever holds it keeps the file.

    There is one for each file, made by the keyspace. Any thread may hold it and let go of it.
    """

    __slots__ = ("__weakref__", "_obsolete", "_reaper", "path")

    def __init__(self, path: str, reaper: Reaper) -> None:
        self.path = path
        self._reaper = reaper
        self._obsolete = False

    @property
    def obsolete(self) -> bool:
        """Whether no version from now on will name it."""
        return self._obsolete

    def mark_obsolete(self) -> None:
        """An edit has removed the file: it goes when the last reference goes.

        Requires: the edit is in the manifest, synced.
        """
        self._obsolete = True

    def __del__(self) -> None:
        # At interpreter exit, or where __init__ was interrupted, anything may be missing. What is not
        # condemned now is deleted by the next recovery.
        try:
            if self._obsolete:
                self._reaper.give(self.path)
        except BaseException:  # a finalizer has nobody to raise to
            pass
