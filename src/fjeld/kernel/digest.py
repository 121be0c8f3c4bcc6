"""Whole-partition passes that need no GIL: the exact count, and the digest of the logical content.

Digest of a partition: XXH3-128 over `key length (u32), value length (u32), key, value` of each visible entry
in key order. It says nothing of how the entries lie in files, so a checkpoint, a compacted copy and an import
of the same content have the same digest.
"""

import cython
from cython.cimports.fjeld.kernel.blob import BlobSet, blob_read, blob_room
from cython.cimports.fjeld.kernel.blob_format import BlobPointer, pointer_decode
from cython.cimports.fjeld.kernel.checksum import XXH3_128bits_update, XXH3_state_t, Xxh128
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, cbytes, fj_atomic_load, fj_store32
from cython.cimports.fjeld.kernel.core import Access
from cython.cimports.fjeld.kernel.failure import (
    ST_END,
    ST_NOMEM,
    ST_OK,
    Failure,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.files import CancelFlag
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.merge import Merge, merge_close, merge_first, merge_next
from cython.cimports.fjeld.kernel.table import RUN_STREAM
from cython.cimports.fjeld.kernel.view import View
from cython.cimports.libc.stdint import uint8_t, uint32_t, uint64_t
from cython.cimports.libc.stdlib import free

from fjeld.errors import CancelledError


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_pass(
    m: cython.pointer[Merge], count: cython.pointer[uint64_t], f: cython.pointer[Failure]
) -> cython.int:
    status: cython.int = merge_first(m, f)
    while status == ST_OK:
        status = merge_next(m, f)
        if status == ST_OK:
            count[0] += 1
    return status


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def digest_pass(
    m: cython.pointer[Merge],
    blobs: cython.pointer[cython.const[BlobSet]],
    state: cython.pointer[XXH3_state_t],
    count: cython.pointer[uint64_t],
    cancelled: cython.pointer[cython.const[cython.int]],
    f: cython.pointer[Failure],
) -> cython.int:
    """ST_OK where it was cancelled before the end."""
    lengths: uint8_t[8]
    p: BlobPointer
    room: cython.pointer[uint8_t] = cython.NULL
    room_bytes: cython.size_t = 0
    value: cbytes
    value_bytes: uint32_t
    status: cython.int = merge_first(m, f)
    while status == ST_OK:
        if cancelled != cython.NULL and (count[0] & 1023) == 0 and fj_atomic_load(cancelled) != 0:
            break
        status = merge_next(m, f)
        if status == ST_OK:
            count[0] += 1
            value = m.value
            value_bytes = m.value_bytes
            if m.tag & 0xFF == KIND_BLOB:
                pointer_decode(value, cython.address(p))
                if reserve(
                    cython.address(room),
                    cython.address(room_bytes),
                    blob_room(cython.address(p), m.key_bytes),
                ):
                    status = blob_read(blobs, cython.address(p), m.key, m.key_bytes, room, False, f)
                else:
                    status = fail_nomem(f)
                if status != ST_OK:
                    break
                value = room
                value_bytes = p.raw_bytes
            fj_store32(lengths, m.key_bytes)
            fj_store32(lengths + 4, value_bytes)
            XXH3_128bits_update(state, lengths, 8)
            XXH3_128bits_update(state, m.key, m.key_bytes)
            XXH3_128bits_update(state, value, value_bytes)
    free(room)
    return status


@cython.cfunc
def scan_all(access: Access, state: Xxh128 | None, cancel: CancelFlag | None) -> uint64_t:
    failure: Failure
    merge: Merge
    status: cython.int
    count: uint64_t = 0
    cancelled: cython.pointer[cython.const[cython.int]] = cython.NULL
    if cancel is not None:
        cancelled = cython.address(cancel.raised)
    xxh: cython.pointer[XXH3_state_t] = cython.NULL if state is None else state.state
    access.check()
    tag: uint64_t = access.read_tag()
    view: View = access.take_view()
    blobs: cython.pointer[cython.const[BlobSet]] = cython.address(view.blob_set)
    failure_clear(cython.address(failure))
    view.open_merge(cython.address(merge), tag, RUN_STREAM)
    own: object = None
    try:
        own = access.join_merge(cython.address(merge))  # lives as long as the merge
        if state is None:
            with cython.nogil:
                status = count_pass(cython.address(merge), cython.address(count), cython.address(failure))
        else:
            with cython.nogil:
                status = digest_pass(
                    cython.address(merge),
                    blobs,
                    xxh,
                    cython.address(count),
                    cancelled,
                    cython.address(failure),
                )
        if status == ST_OK:
            raise CancelledError("reading was cancelled")
        if status != ST_END:
            raise_failure(cython.address(failure))
    finally:
        merge_close(cython.address(merge))
    del own
    return count


def count_entries(access: Access) -> int:
    """The exact number of entries that `access` sees. Reads all keys; lets go of the GIL."""
    return scan_all(access, None, None)


def digest_entries(access: Access, state: Xxh128, cancel: CancelFlag | None = None) -> int:
    """Feed every entry that `access` sees to `state`; their number. Lets go of the GIL.

    CancelledError once `cancel` is set.
    """
    return scan_all(access, state, cancel)
