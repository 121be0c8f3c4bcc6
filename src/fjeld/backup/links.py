"""Hard links of many files, made some at a time, in the caller's thread or ahead of it.

The tables and blob files of a cut are known and whole from the moment of the cut on, so they need not wait for the
journals to be brought to disk, nor for the documents: `ahead` has a thread of its own link them meanwhile. What came
of it is taken in order by the thread that asks for it (`outcomes`), and only that thread reports, copies what could
not be linked, and raises. Links are in the way of nothing: into a staging folder that nobody looks into, of files that
the cut holds.

More than one such thread does not pay: the names of one folder are made one after another by the system.

Invariants: one thread at most makes the links, and the outcomes are those of the files in their order; when the block
of `ahead` is left, by whatever way, that thread has ended, so the cut may be let go of and the staging folder removed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from fjeld.backup.progress import Meter
from fjeld.kernel import files
from fjeld.manifest.state import FileRecord
from fjeld.sync_points import sync_point

__all__ = ["LINKS_AT_ONCE", "Links", "ahead"]

# Links made in one go without the GIL; then the progress is reported. About 16 ms of work: a busy Python thread, as
# the caller is that encodes documents meanwhile, keeps the GIL for 5 ms from whoever wants it for the next ones.
LINKS_AT_ONCE = 1024
# How soon a cancellation is seen that comes while another thread links.
TICK_SECONDS = 0.05


class Links:
    """Those of some files of one folder into another. `outcomes` is for one thread, `make_all` for another."""

    def __init__(self, source: str, target: str, records: Sequence[FileRecord]) -> None:
        self.records = records
        self._source = os.fsencode(os.path.join(source, ""))
        self._target = os.fsencode(os.path.join(target, ""))
        self._cancel = files.CancelFlag()
        self._made: SimpleQueue[list[int] | BaseException] | None = None
        """Where another thread puts what came of it. None: nobody works ahead."""

    def outcomes(self, meter: Meter) -> Iterator[tuple[Sequence[FileRecord], list[int]]]:
        """Some files, and for each of them 0 or the errno, until all are done. Once only."""
        for some in self._portions():
            yield some, self._make(some) if self._made is None else self._take(self._made, meter)

    def _take(self, made: SimpleQueue[list[int] | BaseException], meter: Meter) -> list[int]:
        while True:
            try:
                found = made.get(timeout=TICK_SECONDS)
            except Empty:
                meter.check()
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def begin(self) -> None:
        """Another thread will call `make_all`."""
        self._made = SimpleQueue()

    def make_all(self) -> None:
        """For the other thread. Nothing is raised here, but where the outcomes are taken."""
        assert self._made is not None
        try:
            sync_point("backup:linking")
            for some in self._portions():
                if self._cancel.is_set():
                    return
                self._made.put(self._make(some))
            sync_point("backup:linked_ahead")
        except BaseException as error:  # nothing may get lost: somebody waits
            self._made.put(error)

    def cancel(self) -> None:
        """Make no more of them."""
        self._cancel.set()

    def _portions(self) -> Iterator[Sequence[FileRecord]]:
        for start in range(0, len(self.records), LINKS_AT_ONCE):
            yield self.records[start : start + LINKS_AT_ONCE]

    def _make(self, records: Sequence[FileRecord]) -> list[int]:
        names = [record.path.encode() for record in records]
        pairs = [self._source + name for name in names], [self._target + name for name in names]
        return files.link_many(*pairs, self._cancel)


@contextmanager
def ahead(many: Sequence[Links | None]) -> Iterator[None]:
    """Inside the block a thread makes these links, one after another, or it has made them; at its end there is none.

    Whoever leaves the block before all outcomes were taken does not want the rest. None: nothing to be made.
    """
    wanted = [links for links in many if links is not None and links.records]

    def work() -> None:
        for links in wanted:
            links.make_all()

    thread = threading.Thread(target=work, name="fjeld-backup-links", daemon=True)
    try:
        for links in wanted:
            links.begin()
        if wanted:
            _start(thread)
        yield
    finally:
        for links in wanted:
            links.cancel()
        if thread.ident is not None:  # a start that was interrupted: it finds all of it cancelled
            thread.join()


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except (
        RuntimeError
    ):  # no thread can be had, as in exit handlers from Python 3.12 on: then first the links
        thread.run()
