"""How much of a journal has space on disk, and which of its pages are resident.

Space is allocated in steps ahead of the writer, so that a full disk is an error before anything is written,
and a short journal takes little. What has no space is never touched: that would be a signal.

Writing to a page that is not populated costs a page fault (427 ns a record of 160 bytes, against 5 ns, and 43
ns amortised for populating; measured on ext4, Linux 6.18). So pages are populated ahead of the writer, by a
thread that it wakes in time (`fjeld.kernel.journal_ahead`), and given back behind it; where that thread does
not keep up, the writer populates a window itself.

A *large* record (LARGE_BYTES or more) is written by a system call instead, into pages that the writer has made
just before, by writing zeros: 256 KiB at once from one aligned place to the next are few large folios, which a
record, that begins anywhere, would never get. For 64 KiB that takes 6 us, and the record then 5 us; a record
into no pages takes 15 us, and one stored into pages populated meanwhile by another thread 14 us of that
thread's time. (CPU times, ext4, Linux 6.18.) Pages that another core has filled with zeros were tried: to get
them from there takes longer than to make them here. While records are large, a small one among them populates
only the page it needs.

Thread safety: `pages_reach` and `pages_expect` are the writer's, under the commit lock; `pages_prefault` may be called from
any thread beside it while the journal is mapped.
"""

import mmap

import cython
from cython.cimports.fjeld.kernel import file_probe as probe
from cython.cimports.fjeld.kernel.coding import (
    fj_atomic_load64,
    fj_atomic_store64,
)
from cython.cimports.fjeld.kernel.file_calls import file_write_all
from cython.cimports.fjeld.kernel.files import file_allocate, file_populate, file_release
from cython.cimports.fjeld.kernel.mutex import sem_post
from cython.cimports.libc import errno as e
from cython.cimports.libc.stdint import int64_t, uint64_t

# What the writer populates when it has to by itself: long enough that the call is 43 ns a record, short
# enough that a write waits for it no longer than 70 us.
_WRITER_WINDOW_BYTES = cython.declare(uint64_t, 256 << 10)
# Space is allocated in multiples of this. Each step changes the file's size, which a sync has to record.
_STEP_BYTES = cython.declare(uint64_t, 1 << 20)
# A multiple of every page size in use.
_PAGES_BYTES = cython.declare(uint64_t, 64 << 10)
_PAGE_BYTES = cython.declare(uint64_t, mmap.PAGESIZE)
# After so many bytes of small records they are no longer exceptions among large ones.
_SMALL_RUN_BYTES = cython.declare(uint64_t, 64 << 10)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pages_allocate(j: cython.pointer[Journal], end: uint64_t) -> cython.int:
    if end <= fj_atomic_load64(cython.address(j.allocated)):
        return 0
    end = min((end + _STEP_BYTES - 1) & ~(_STEP_BYTES - 1), j.capacity_bytes)
    status: cython.int = file_allocate(j.fd, end)
    if status >= 0:
        fj_atomic_raise64(cython.address(j.allocated), end)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pages_reach(j: cython.pointer[Journal], end: uint64_t) -> cython.int:
    """The writer gets near the end of what is populated, or over it."""
    populated: uint64_t = _first_unpopulated(j)
    status: cython.int = 0
    if j.wholesale:
        if end - j.large_end < _SMALL_RUN_BYTES:
            return _populate_few(j, populated, end)
        j.wholesale = False
    if end > populated:
        status = _populate(j, populated, max(end, populated + _WRITER_WINDOW_BYTES), _PAGES_BYTES)
    if j.bell != cython.NULL:
        # Once: what the bell wakes sets the alarm anew.
        fj_atomic_store64(cython.address(j.alarm), fj_atomic_load64(cython.address(j.populated)))
        sem_post(j.bell)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _first_unpopulated(j: cython.pointer[Journal]) -> uint64_t:
    """What lies behind the writer, of large records, never will be."""
    here: uint64_t = fj_atomic_load64(cython.address(j.position)) & ~(_PAGE_BYTES - 1)
    return max(fj_atomic_load64(cython.address(j.populated)), here)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _populate_few(j: cython.pointer[Journal], start: uint64_t, end: uint64_t) -> cython.int:
    """The pages of one small record among large ones."""
    status: cython.int = 0
    end = (end + _PAGE_BYTES - 1) & ~(_PAGE_BYTES - 1)
    if end > start:
        status = _populate(j, start, end, _PAGE_BYTES)
    fj_atomic_store64(cython.address(j.alarm), end)
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _populate(j: cython.pointer[Journal], start: uint64_t, end: uint64_t, multiple: uint64_t) -> cython.int:
    """Populate from `start` to `end` at least; two threads may do the same. -errno: no write is possible."""
    end = min((end + multiple - 1) & ~(multiple - 1), j.capacity_bytes)
    status: cython.int = pages_allocate(j, end)
    if status < 0:
        return status
    status = file_populate(j.fd, j.map + start, end - start)
    if status == -e.EFAULT:
        return -e.EIO
    # Any other refusal is of memory for now, or of a kernel before 5.14: then each page comes as it is written.
    fj_atomic_raise64(cython.address(j.populated), end)
    _set_alarm(j)
    _release_behind(j)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _set_alarm(j: cython.pointer[Journal]) -> cython.void:
    """Never beyond what is populated, whoever else populates or sets it at the same time."""
    populated: uint64_t = fj_atomic_load64(cython.address(j.populated))
    ahead: uint64_t = AHEAD_BYTES if j.bell != cython.NULL and populated < j.capacity_bytes else 0
    fj_atomic_store64(cython.address(j.alarm), populated - min(ahead, populated))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _release_behind(j: cython.pointer[Journal]) -> cython.void:
    position: uint64_t = fj_atomic_load64(cython.address(j.position))
    released: uint64_t = fj_atomic_load64(cython.address(j.released))
    if position < released + 2 * AHEAD_BYTES:
        return
    end: uint64_t = (position - AHEAD_BYTES) & ~(_PAGES_BYTES - 1)
    file_release(j.map + released, end - released)
    fj_atomic_raise64(cython.address(j.released), end)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pages_prefault(j: cython.pointer[Journal], limit: uint64_t) -> int64_t:
    if j.map == cython.NULL:
        return 0
    populated: uint64_t = _first_unpopulated(j)
    ahead: uint64_t = fj_atomic_load64(cython.address(j.position)) + 2 * AHEAD_BYTES
    if populated >= min(ahead, j.capacity_bytes):
        _set_alarm(j)
        return 0
    # The writer may have overtaken: what it has populated itself is not done again.
    if _populate(j, populated, min(populated + limit, ahead), _PAGES_BYTES) < 0:
        return 0  # the writer will meet it, and has somebody to tell
    return fj_atomic_load64(cython.address(j.populated)) - populated


# ---- large records -----------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pages_expect(j: cython.pointer[Journal], end: uint64_t, fill: cython.bint) -> cython.int:
    status: cython.int = pages_allocate(j, end)
    j.large_end = end
    j.wholesale = True
    if status < 0 or end <= j.filled or not fill or probe.probe_on:  # a trace has what was meant only
        return status
    start: uint64_t = max(j.position, j.filled)
    j.filled = min((end + FILL_BYTES - 1) & ~cython.cast(uint64_t, FILL_BYTES - 1), j.capacity_bytes)
    # Where this fails, the record that follows fails too, and has somebody to tell.
    if pages_allocate(j, j.filled) >= 0:
        while start < j.filled and status >= 0:
            end = min(j.filled, start + FILL_BYTES)
            status = file_write_all(j.fd, fj_zeros, end - start, start)
            start = end
    return 0
