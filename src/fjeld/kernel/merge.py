"""The k-way merge: memtables and runs as one ordered stream of visible entries.

The sources that stand on an entry are kept in an array in the order in which their entries come; the first is
used and moves on, and is put back in its place by insertion. With the few sources that a tree has (memtables,
level-0 tables, one run a level) and runs of neighbours in one source, that is one comparison of two 8-byte
heads for most entries.

Order forward: key ascending, newest version first. In reverse: key descending, oldest version first, so that
the newest visible version is the last one seen of its key: it is held as a candidate until the key changes.

A run whose next block is not in memory answers ST_COLD: the caller lets go of the GIL, calls `merge_load` and
tries again. Nothing here blocks otherwise. Not thread-safe: one user at a time.
"""

import cython
from cython.cimports.fjeld.kernel.block import block_release
from cython.cimports.fjeld.kernel.coding import VALUE_BIT, cbytes, fj_atomic_add, fj_compare, fj_head64
from cython.cimports.fjeld.kernel.failure import ST_COLD, ST_END, ST_NOMEM, ST_OK, fail_nomem
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.memtable import (
    entry_value,
    mem_first,
    mem_init,
    mem_last,
    mem_next,
    mem_prev,
    mem_seek,
    mem_seek_before,
)
from cython.cimports.fjeld.kernel.run import (
    run_close,
    run_first,
    run_init,
    run_last,
    run_load,
    run_next,
    run_prev,
    run_seek,
    run_seek_before,
)
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcmp, memcpy, memset

LOADED_NOTHING = cython.declare(cython.int, 99)
START_FIRST = cython.declare(cython.int, 0)
START_LAST = cython.declare(cython.int, 1)
START_SEEK = cython.declare(cython.int, 2)
START_BEFORE = cython.declare(cython.int, 3)
NEWEST = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)


# ---- life --------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_init(m: cython.pointer[Merge], sources: uint32_t, max_tag: uint64_t) -> cython.int:
    memset(m, 0, cython.sizeof(Merge))
    m.max_tag = max_tag
    m.loaded = LOADED_NOTHING
    m.sources = cython.cast(cython.pointer[Source], calloc(sources + 2, cython.sizeof(Source)))
    m.order = cython.cast(
        cython.pointer[cython.pointer[Source]], calloc(sources + 2, cython.sizeof(cython.pointer[Source]))
    )
    if m.sources == cython.NULL or m.order == cython.NULL:
        merge_close(m)
        return ST_NOMEM
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_add_memtable(m: cython.pointer[Merge], memtable: cython.pointer[Memtable]) -> cython.void:
    s: cython.pointer[Source] = m.sources + m.source_count
    s.kind = SOURCE_MEMTABLE
    mem_init(cython.address(s.mem), memtable)
    m.source_count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_add_run(
    m: cython.pointer[Merge],
    tables: cython.pointer[cython.pointer[Table]],
    count: uint32_t,
    mode: cython.int,
) -> cython.void:
    s: cython.pointer[Source] = m.sources + m.source_count
    s.kind = SOURCE_RUN
    run_init(cython.address(s.run), tables, count, mode)
    m.source_count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_close(m: cython.pointer[Merge]) -> cython.void:
    i: uint32_t
    if m.sources != cython.NULL:
        for i in range(m.source_count):
            if m.sources[i].kind == SOURCE_RUN:
                run_close(cython.address(m.sources[i].run))
    candidate_drop(m)
    free(m.sources)
    free(m.order)
    free(m.last)
    memset(m, 0, cython.sizeof(Merge))


# ---- sources -----------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def source_read(s: cython.pointer[Source]) -> cython.int:
    """Copy the current entry's place out of the cursor: ST_OK, or ST_END where it stands on none."""
    if s.kind == SOURCE_RUN:
        if not s.run.valid:
            return ST_END
        s.head = s.run.head
        s.key = s.run.key
        s.key_bytes = s.run.key_bytes
        s.tag = s.run.tag
        s.value = s.run.value
        s.value_bytes = s.run.value_bytes
        return ST_OK
    if s.mem.entry == cython.NULL:
        return ST_END
    s.key = cython.address(s.mem.entry.data[0])
    s.key_bytes = s.mem.entry.key_bytes
    s.head = fj_head64(s.key, s.key_bytes)
    s.tag = s.mem.entry.tag
    s.value = entry_value(s.mem.entry)
    s.value_bytes = s.mem.entry.value_bytes
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def source_move(s: cython.pointer[Source], reverse: cython.bint, f: cython.pointer[Failure]) -> cython.int:
    status: cython.int
    if s.kind == SOURCE_RUN:
        status = run_prev(cython.address(s.run), f) if reverse else run_next(cython.address(s.run), f)
        if status != ST_OK:
            return status
    elif reverse:
        mem_prev(cython.address(s.mem))
    else:
        mem_next(cython.address(s.mem))
    return source_read(s)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def source_start(
    m: cython.pointer[Merge], s: cython.pointer[Source], f: cython.pointer[Failure]
) -> cython.int:
    key: cbytes = m.seek_key
    n: cython.size_t = m.seek_key_bytes
    status: cython.int = ST_OK
    if s.kind == SOURCE_MEMTABLE:
        if m.start == START_FIRST:
            mem_first(cython.address(s.mem))
        elif m.start == START_LAST:
            mem_last(cython.address(s.mem))
        elif m.start == START_SEEK:
            mem_seek(cython.address(s.mem), key, n, NEWEST)
        else:
            mem_seek_before(cython.address(s.mem), key, n, NEWEST)
    elif m.start == START_FIRST:
        status = run_first(cython.address(s.run), f)
    elif m.start == START_LAST:
        status = run_last(cython.address(s.run), f)
    elif m.start == START_SEEK:
        status = run_seek(cython.address(s.run), key, n, NEWEST, f)
    else:
        status = run_seek_before(cython.address(s.run), key, n, NEWEST, f)
    return source_read(s) if status == ST_OK else status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def comes_before(a: cython.pointer[Source], b: cython.pointer[Source], reverse: cython.bint) -> cython.bint:
    c: cython.int
    if a.head != b.head:
        return (a.head > b.head) if reverse else (a.head < b.head)
    c = fj_compare(a.key, a.key_bytes, b.key, b.key_bytes)
    if c == 0:
        return (a.tag < b.tag) if reverse else (a.tag > b.tag)
    return (c > 0) if reverse else (c < 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def order_sift(m: cython.pointer[Merge], i: uint32_t) -> cython.void:
    """order[i] is the only one out of place, towards the end: move it there."""
    s: cython.pointer[Source] = m.order[i]
    while i + 1 < m.active and comes_before(m.order[i + 1], s, m.reverse):
        m.order[i] = m.order[i + 1]
        i += 1
    m.order[i] = s


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def order_add(m: cython.pointer[Merge], s: cython.pointer[Source]) -> cython.void:
    i: uint32_t = m.active
    m.active += 1
    while i > 0 and comes_before(s, m.order[i - 1], m.reverse):
        m.order[i] = m.order[i - 1]
        i -= 1
    m.order[i] = s


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def order_remove_first(m: cython.pointer[Merge]) -> cython.void:
    i: uint32_t
    for i in range(1, m.active):
        m.order[i - 1] = m.order[i]
    m.active -= 1


# ---- positioning -------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_start(
    m: cython.pointer[Merge],
    start: cython.int,
    key: cbytes,
    key_bytes: cython.size_t,
    f: cython.pointer[Failure],
) -> cython.int:
    m.start = start
    m.reverse = start == START_LAST or start == START_BEFORE
    m.seek_key = key
    m.seek_key_bytes = key_bytes
    m.active = 0
    m.spent = cython.NULL
    m.cold = cython.NULL
    m.loaded = LOADED_NOTHING
    m.have_last = False
    m.key = cython.NULL
    candidate_drop(m)
    m.positioning = 1
    return merge_resume(m, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_resume(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    s: cython.pointer[Source]
    status: cython.int
    while m.positioning and cython.cast(uint32_t, m.positioning) <= m.source_count:
        s = m.sources + (m.positioning - 1)
        if m.loaded != LOADED_NOTHING:
            status = source_read(s) if m.loaded == ST_OK else m.loaded
            m.loaded = LOADED_NOTHING
        else:
            status = source_start(m, s, f)
        if status == ST_COLD:
            m.cold = s
            return ST_COLD
        if status < 0:
            return status
        if status == ST_OK:
            order_add(m, s)
        m.positioning += 1
    m.positioning = 0
    m.seek_key = cython.NULL
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_first(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    return merge_start(m, START_FIRST, cython.NULL, 0, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_last(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    return merge_start(m, START_LAST, cython.NULL, 0, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_seek(
    m: cython.pointer[Merge], key: cbytes, key_bytes: cython.size_t, f: cython.pointer[Failure]
) -> cython.int:
    return merge_start(m, START_SEEK, key, key_bytes, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_seek_before(
    m: cython.pointer[Merge], key: cbytes, key_bytes: cython.size_t, f: cython.pointer[Failure]
) -> cython.int:
    return merge_start(m, START_BEFORE, key, key_bytes, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_load(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    status: cython.int = run_load(cython.address(m.cold.run), f)
    if status < 0:
        return status
    m.loaded = status
    m.cold = cython.NULL
    return ST_OK


# ---- moving ------------------------------------------------------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def move_spent(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    """The first source's entry was used: move it on and put it in its place."""
    s: cython.pointer[Source] = m.spent
    status: cython.int
    if m.loaded != LOADED_NOTHING:
        status = source_read(s) if m.loaded == ST_OK else m.loaded
        m.loaded = LOADED_NOTHING
    else:
        status = source_move(s, m.reverse, f)
    if status == ST_OK:
        if m.active > 1:
            order_sift(m, 0)
    elif status == ST_END:
        order_remove_first(m)
    else:
        if status == ST_COLD:
            m.cold = s
        return status
    m.spent = cython.NULL
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def last_is(m: cython.pointer[Merge], s: cython.pointer[Source]) -> cython.bint:
    return m.have_last and s.key_bytes == m.last_bytes and memcmp(s.key, m.last, s.key_bytes) == 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def last_set(m: cython.pointer[Merge], s: cython.pointer[Source], f: cython.pointer[Failure]) -> cython.int:
    if s.key_bytes > m.last_capacity or m.last == cython.NULL:
        if not reserve(cython.address(m.last), cython.address(m.last_capacity), s.key_bytes):
            return fail_nomem(f)
    memcpy(m.last, s.key, s.key_bytes)
    m.last_bytes = s.key_bytes
    m.have_last = True
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_next(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    return next_reverse(m, f) if m.reverse else next_forward(m, f)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_forward(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    s: cython.pointer[Source]
    status: cython.int
    while True:
        if m.spent != cython.NULL:
            status = move_spent(m, f)
            if status != ST_OK:
                return status
        if m.active == 0:
            return ST_END
        s = m.order[0]
        m.spent = s
        if is_hidden(m, s.tag) or last_is(m, s):
            continue  # too new, or an older version of a key that was dealt with
        status = last_set(m, s, f)
        if status != ST_OK:
            return status
        if not s.tag & VALUE_BIT:
            continue
        m.key = s.key
        m.key_bytes = s.key_bytes
        m.tag = s.tag
        m.value = s.value
        m.value_bytes = s.value_bytes
        return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def candidate_drop(m: cython.pointer[Merge]) -> cython.void:
    m.have_candidate = False
    if m.held != cython.NULL:
        block_release(m.held)
        m.held = cython.NULL


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
@cython.inline
def candidate_set(
    m: cython.pointer[Merge], s: cython.pointer[Source], f: cython.pointer[Failure]
) -> cython.int:
    """Hold this version; its key is copied, its value is kept alive by a reference on its block."""
    status: cython.int = last_set(m, s, f)
    if status != ST_OK:
        return status
    candidate_drop(m)
    if s.kind == SOURCE_RUN:
        m.held = s.run.block
        fj_atomic_add(cython.address(m.held.refs), 1)
    m.have_candidate = True
    m.tag = s.tag
    m.value = s.value
    m.value_bytes = s.value_bytes
    return ST_OK


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_reverse(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    s: cython.pointer[Source]
    status: cython.int
    if m.key != cython.NULL:  # the candidate was handed out by the call before
        m.key = cython.NULL
        candidate_drop(m)
    while True:
        if m.spent != cython.NULL:
            status = move_spent(m, f)
            if status != ST_OK:
                return status
        s = m.order[0] if m.active else cython.NULL
        if m.have_candidate and (s == cython.NULL or not last_is(m, s)):
            if m.tag & VALUE_BIT:
                m.key = m.last
                m.key_bytes = cython.cast(uint32_t, m.last_bytes)
                return ST_OK
            candidate_drop(m)
        if s == cython.NULL:
            return ST_END
        m.spent = s
        if not is_hidden(m, s.tag):
            status = candidate_set(m, s, f)
            if status != ST_OK:
                return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def merge_step(m: cython.pointer[Merge], f: cython.pointer[Failure]) -> cython.int:
    m.spent = m.order[0]
    return move_spent(m, f)
