"""The iterator over a range of keys, forward or in reverse, as of its creation.

Values in blob files are read ahead: from the first one on, entries are taken in chunks that grow, and the values of a
chunk are read with one release of the GIL. A value that cannot be read raises when its turn comes, not before.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.blob_value import (
    WANTED_COLD,
    Wanted,
    wanted_done,
    wanted_drop,
    wanted_read,
    wanted_take,
)
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, cbytes, fj_compare
from cython.cimports.fjeld.kernel.core import Access
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_END,
    ST_OK,
    Failure,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.merge import (
    Merge,
    merge_close,
    merge_first,
    merge_last,
    merge_load,
    merge_next,
    merge_resume,
    merge_seek,
    merge_seek_before,
)
from cython.cimports.fjeld.kernel.table import RUN_CACHED
from cython.cimports.fjeld.kernel.view import NOT_NOW
from cython.cimports.libc.stdint import uint32_t, uint64_t


@cython.cfunc
def start_at(
    m: cython.pointer[Merge], start: cython.int, key: bytes | None, failure: cython.pointer[Failure]
) -> cython.int:
    """Begin to position the merge: its status. ST_COLD: go on with start_cold; `key` must live until then."""
    data: cbytes = cython.NULL
    size: cython.size_t = 0
    if key is not None:
        data = cython.cast(cbytes, PyBytes_AS_STRING(key))
        size = PyBytes_GET_SIZE(key)
    if start == BEGIN_FIRST:
        return merge_first(m, failure)
    if start == BEGIN_LAST:
        return merge_last(m, failure)
    if start == BEGIN_SEEK:
        return merge_seek(m, data, size, failure)
    return merge_seek_before(m, data, size, failure)


@cython.cfunc
def start_cold(m: cython.pointer[Merge], failure: cython.pointer[Failure]) -> cython.int:
    """Position it to the end, letting go of the GIL; its status."""
    status: cython.int = ST_COLD
    while status == ST_COLD:
        with cython.nogil:
            status = merge_load(m, failure)
        if status == ST_OK:
            status = merge_resume(m, failure)
    return status


@cython.cfunc
@cython.exceptval(-1, check=False)
def position(m: cython.pointer[Merge], start: cython.int, key: bytes | None) -> cython.int:
    """Position the merge. `key` must live until this returns; it is not needed afterwards."""
    failure: Failure
    failure_clear(cython.address(failure))
    status: cython.int = start_at(m, start, key, cython.address(failure))
    if status == ST_COLD:
        status = start_cold(m, cython.address(failure))
    if status < 0:
        raise_failure(cython.address(failure))
    return 1


@cython.cfunc
def advance_cold(
    m: cython.pointer[Merge], status: cython.int, failure: cython.pointer[Failure]
) -> cython.int:
    while status == ST_COLD:
        with cython.nogil:
            status = merge_load(m, failure)
        if status == ST_OK:
            status = merge_next(m, failure)
    if status < 0:
        raise_failure(failure)
    return 1 if status == ST_OK else 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def advance(m: cython.pointer[Merge]) -> cython.int:
    failure: Failure
    status: cython.int = merge_next(m, cython.address(failure))
    if status == ST_OK:
        return 1
    if status == ST_END:
        return 0
    return advance_cold(m, status, cython.address(failure))


@cython.cclass
class Scan:
    """Entries with start <= key < stop (None: open), in order or in reverse. Lazy; may be dropped half-way.

    Thread safety: one thread at a time; a second one inside at the same moment gets a ValueError.
    """

    def __cinit__(self, reader: Access, start: object, stop: object, reverse: bool, mode: int):
        self.owner = reader
        self.core = reader.core
        self.start = start
        self.stop = stop
        self.reverse = reverse
        self.mode = mode
        tag: uint64_t = reader.read_tag()
        self.view = reader.take_view()
        self.view.open_merge(cython.address(self.merge), tag, RUN_CACHED)
        self.own = reader.join_merge(cython.address(self.merge))

    def __dealloc__(self):
        merge_close(cython.address(self.merge))

    def __iter__(self):
        return self

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, wait: cython.bint) -> cython.int:
        """Stand in front of the first entry; or NOT_NOW."""
        m: cython.pointer[Merge] = cython.address(self.merge)
        failure: Failure
        f: cython.pointer[Failure] = cython.address(failure)
        status: cython.int = ST_COLD
        failure_clear(f)
        if self.phase == NEW:
            if self.reverse:
                status = start_at(m, BEGIN_LAST if self.stop is None else BEGIN_BEFORE, self.stop, f)
            else:
                status = start_at(m, BEGIN_FIRST if self.start is None else BEGIN_SEEK, self.start, f)
        if status == ST_COLD:
            self.phase = POSITIONING
            if not wait:
                return NOT_NOW
            status = start_cold(m, f)
        if status < 0:
            raise_failure(f)
        self.phase = RUNNING
        return 1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def step(self, wait: cython.bint) -> cython.int:
        """1: the merge stands on an entry; 0: at its end; NOT_NOW."""
        failure: Failure
        status: cython.int = ST_COLD
        if (self.phase == NEW or self.phase == POSITIONING) and self.begin(wait) == NOT_NOW:
            return NOT_NOW
        failure_clear(cython.address(failure))
        if self.phase == RUNNING:
            status = merge_next(cython.address(self.merge), cython.address(failure))
        if status == ST_COLD:
            self.phase = COLD
            if not wait:
                return NOT_NOW
            self.phase = RUNNING
            return advance_cold(cython.address(self.merge), status, cython.address(failure))
        if status < 0:
            raise_failure(cython.address(failure))
        return 1 if status == ST_OK else 0

    @cython.cfunc
    def finish(self) -> cython.void:
        self.phase = DONE
        merge_close(cython.address(self.merge))
        self.view = None

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def enter(self) -> cython.int:
        reader: Access = self.owner
        if self.busy:
            raise ValueError("this iterator is being used by another thread")
        reader.check()
        return 0

    @cython.cfunc
    def entry(self) -> object:
        """What the merge stands on, to hand out. Not inline: TrackedScan overrides it."""
        if self.mode == SCAN_KEYS:
            return self.key()
        if self.mode == SCAN_VALUES:
            return self.value()
        return (self.key(), self.value())

    def __next__(self):
        found: cython.int = 1
        if self.phase == DONE:
            raise StopIteration
        self.enter()
        if self.ready or self.error is not None:
            return self.ready.pop() if self.ready else self.end_ahead()
        self.busy = True
        try:
            if not self.stands:
                found = advance(cython.address(self.merge)) if self.phase == RUNNING else self.step(True)
            if found and self.points():
                self.fill(True)
                return self.ready.pop() if self.ready else self.end_ahead()
        except BaseException:
            self.phase = DONE  # where a merge stands after a failure is not known
            raise
        finally:
            self.busy = False
        if found == 0 or self.beyond():
            self.finish()
            raise StopIteration
        return self.entry()

    def take(self, count, wait=True):
        """The next `count` entries as a list, or fewer at the end, and whether the iterator has come to its end.

        With wait=False, fewer too where the next one would have to be waited for: what can be had at once.
        """
        found: cython.int = 1
        most: cython.Py_ssize_t = count
        waits: cython.bint = wait
        entries: list = []
        while found == 1 and len(entries) < most and self.phase != DONE:
            self.enter()
            if self.ready:
                entries.append(self.ready.pop())
                continue
            if self.error is not None:
                if entries and not isinstance(self.error, StopIteration):
                    break  # it is raised by the next call
                try:
                    self.end_ahead()
                except StopIteration:
                    break
            self.busy = True
            try:
                if not self.stands:
                    found = self.step(waits)
                if found == 1 and self.points():
                    found = self.fill(waits)
                    continue
            except BaseException:
                self.phase = DONE
                raise
            finally:
                self.busy = False
            if found == 0 or (found == 1 and self.beyond()):
                self.finish()
            elif found == 1:
                entries.append(self.entry())
        return entries, self.phase == DONE

    # ---- values in blob files ----

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def points(self) -> cython.bint:
        """Does the merge stand on an entry of the range whose value is wanted and lies in a blob file?"""
        return self.mode != SCAN_KEYS and self.merge.tag & 0xFF == KIND_BLOB and not self.beyond()

    @cython.cfunc
    def end_ahead(self) -> object:
        """Raise what comes behind the entries that were read ahead."""
        error: object = self.error
        self.error = None
        self.finish()
        raise error

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fill(self, wait: cython.bint) -> cython.int:
        """Take the entry that the merge stands on and some more, and have them ready, as far as their values can be
        read; then `error` is what comes. NOT_NOW: its value would have to be waited for.
        """
        wanted: Wanted[AHEAD_ENTRIES]
        places: uint32_t[AHEAD_ENTRIES]
        count: uint32_t = 0
        i: uint32_t
        total_bytes: cython.size_t = 0
        m: cython.pointer[Merge] = cython.address(self.merge)
        chunk: list = []
        self.ahead = min(2 * self.ahead, AHEAD_ENTRIES) if self.ahead else 1
        try:
            while True:
                key: bytes = self.key()
                value: object = None
                if m.tag & 0xFF == KIND_BLOB:
                    # Counted before it is taken: what is dropped in the end may be NULL, not unknown.
                    wanted[count].value = cython.NULL
                    places[count] = len(chunk)
                    count += 1
                    wanted_take(
                        cython.address(wanted[count - 1]),
                        m.value,
                        cython.cast(cbytes, PyBytes_AS_STRING(key)),
                        PyBytes_GET_SIZE(key),
                    )
                    total_bytes += wanted[count - 1].room_bytes
                else:
                    value = self.value()
                chunk.append([key, value])
                if not wait or len(chunk) >= self.ahead or total_bytes >= AHEAD_BYTES or not self.go_on():
                    break
            return self.take_ready(chunk, wanted, places, count, wait)
        finally:
            for i in range(count):
                wanted_drop(cython.address(wanted[i]))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def go_on(self) -> cython.bint:
        """Go to the next entry of the range. What fails is for later: entries before it are handed out first."""
        try:
            if advance(cython.address(self.merge)) and not self.beyond():
                return True
            self.error = StopIteration()
        except Exception as error:
            self.error = error
        return False

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take_ready(
        self,
        chunk: list,
        wanted: cython.pointer[Wanted],
        places: cython.pointer[uint32_t],
        count: uint32_t,
        wait: cython.bint,
    ) -> cython.int:
        f: Failure
        i: uint32_t
        read: uint32_t = wanted_read(
            cython.address(self.view.blob_set), wanted, count, wait, cython.address(f)
        )
        self.stands = read == WANTED_COLD
        if self.stands:
            return NOT_NOW
        for i in range(read):
            chunk[places[i]][1] = wanted_done(cython.address(wanted[i]))
        if read < count:
            try:
                raise_failure(cython.address(f))
            except Exception as error:
                self.error = error
            del chunk[places[read] :]
        chunk.reverse()
        if self.mode == SCAN_VALUES:
            self.ready = [value for _, value in chunk]
        else:
            self.ready = [(key, value) for key, value in chunk]
        return 1

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def beyond(self) -> cython.bint:
        """Is the entry outside the range?"""
        if self.reverse:
            return self.start is not None and (
                fj_compare(
                    self.merge.key,
                    self.merge.key_bytes,
                    cython.cast(cbytes, PyBytes_AS_STRING(self.start)),
                    PyBytes_GET_SIZE(self.start),
                )
                < 0
            )
        return self.stop is not None and (
            fj_compare(
                self.merge.key,
                self.merge.key_bytes,
                cython.cast(cbytes, PyBytes_AS_STRING(self.stop)),
                PyBytes_GET_SIZE(self.stop),
            )
            >= 0
        )

    @cython.cfunc
    @cython.inline
    def key(self) -> bytes:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.merge.key), self.merge.key_bytes)

    @cython.cfunc
    @cython.inline
    def value(self) -> bytes:
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.merge.value), self.merge.value_bytes)
