"""Has anything that was read changed since? The tree itself answers.

Nothing is remembered about transactions that have committed: their versions are in memtables and tables, and
an open snapshot at `since` keeps flush and compaction from making them one with what is older. Only sources
whose newest seqno is above `since` are looked at: mostly the active memtable.

Requires: a snapshot at a seqno up to `since` is open from before the newer versions were written, and none of them
is a weak tombstone, which vanishes together with its value and leaves nothing to be seen.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.coding import cbytes, fj_compare
from cython.cimports.fjeld.kernel.failure import ST_OK, Failure, failure_clear, raise_failure
from cython.cimports.fjeld.kernel.memtable import MemtableOwner
from cython.cimports.fjeld.kernel.merge import Merge, Source, merge_close, merge_first, merge_seek, merge_step
from cython.cimports.fjeld.kernel.table import RUN_STREAM, TableReader
from cython.cimports.fjeld.kernel.view import Found, View, found_release
from cython.cimports.libc.stdint import uint64_t

CHANGED = cython.declare(cython.int, 8)
UNCHANGED = cython.declare(cython.int, 9)
NEWEST = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)
# In memory that many entries are looked at before the GIL is let go of: about 50 us.
STEPS_WITH_GIL = cython.declare(uint64_t, 1000)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def is_newer(owner: MemtableOwner, since: uint64_t) -> cython.bint:
    return owner.memtable.entries != 0 and owner.memtable.last_seqno > since


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def reaches(reader: TableReader, since: uint64_t) -> cython.bint:
    return reader.table.max_seqno > since


@cython.cfunc
def newer_part(view: View, since: uint64_t) -> View:
    """The sources of a view that may hold versions newer than `since`; None where there are none."""
    memtables: list = [owner for owner in view.memtables if is_newer(owner, since)]
    levels: tuple = ()
    if view.tables_seqno > since:
        levels = tuple(
            [tuple([reader for reader in level if reaches(reader, since)]) for level in view.levels]
        )
    elif not memtables:
        return None
    return View(tuple(memtables), levels)


@cython.cfunc
def find_change(view: View, points: set, spans: list, since: uint64_t) -> object:
    newer: View = newer_part(view, since)
    found: object
    if newer is None:
        return None
    for key in points:
        if point_changed(newer, key, since):
            return key
    for low, high in spans:
        found = changed_between(newer, low, high, since)
        if found is not None:
            return found
    return None


@cython.cfunc
@cython.exceptval(-1, check=False)
def point_changed(newer: View, key: bytes, since: uint64_t) -> cython.bint:
    found: Found
    if not newer.find(
        cython.cast(cbytes, PyBytes_AS_STRING(key)),
        PyBytes_GET_SIZE(key),
        NEWEST,
        cython.address(found),
        True,
    ):
        return False
    found_release(cython.address(found))
    return (found.tag >> 8) > since


@cython.cfunc
def changed_between(newer: View, low: bytes | None, high: bytes | None, since: uint64_t) -> object:
    """The first key with low <= key < high that has a version newer than `since`, or None."""
    m: Merge
    f: Failure
    status: cython.int
    left: uint64_t = STEPS_WITH_GIL if newer.tables_seqno == 0 else 0
    failure_clear(cython.address(f))
    newer.open_merge(cython.address(m), NEWEST, RUN_STREAM)
    first: cbytes = cython.NULL
    first_bytes: cython.size_t = 0
    end: cbytes = cython.NULL
    end_bytes: cython.size_t = 0
    if low is not None:
        first = cython.cast(cbytes, PyBytes_AS_STRING(low))
        first_bytes = PyBytes_GET_SIZE(low)
    if high is not None:
        end = cython.cast(cbytes, PyBytes_AS_STRING(high))
        end_bytes = PyBytes_GET_SIZE(high)
    try:
        if left:
            status = start(cython.address(m), first, first_bytes, cython.address(f))
            if status == ST_OK:
                status = look(cython.address(m), end, end_bytes, since, left, cython.address(f))
        else:
            with cython.nogil:
                status = start(cython.address(m), first, first_bytes, cython.address(f))
        if status == ST_OK:
            with cython.nogil:
                status = look(cython.address(m), end, end_bytes, since, NEWEST, cython.address(f))
        if status < 0:
            raise_failure(cython.address(f))
        if status == CHANGED:
            return PyBytes_FromStringAndSize(cython.cast(cython.p_char, m.order[0].key), m.order[0].key_bytes)
    finally:
        merge_close(cython.address(m))
    return None


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def start(
    m: cython.pointer[Merge], key: cbytes, key_bytes: cython.size_t, f: cython.pointer[Failure]
) -> cython.int:
    if key == cython.NULL:
        return merge_first(m, f)
    return merge_seek(m, key, key_bytes, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def look(
    m: cython.pointer[Merge],
    end: cbytes,
    end_bytes: cython.size_t,
    since: uint64_t,
    steps: uint64_t,
    f: cython.pointer[Failure],
) -> cython.int:
    """Go on by so many versions: CHANGED, UNCHANGED, ST_OK where there are more, or a failure."""
    s: cython.pointer[Source]
    status: cython.int
    while m.active:
        s = m.order[0]
        if end != cython.NULL and fj_compare(s.key, s.key_bytes, end, end_bytes) >= 0:
            break
        if (s.tag >> 8) > since:
            return CHANGED
        if steps == 0:
            return ST_OK
        steps -= 1
        status = merge_step(m, f)
        if status != ST_OK:
            return status
    return UNCHANGED
