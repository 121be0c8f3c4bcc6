"""Flush and compaction: many sorted inputs become tables, in one loop that never needs the GIL.

What is kept. The open snapshots cut the seqnos into stripes; of each key the newest version of every stripe
is kept, the others no one can see. In the oldest stripe, where nothing lies beneath the output, a tombstone
is not kept either, and a kept value gets seqno 0: nobody can tell the difference, and zeros are short.

A weak tombstone waits for the next older version in its stripe: a value vanishes together with it, and what
lies beneath is looked at as if they had never been; anything else turns it into a plain tombstone, and where
there is nothing, it stays as it is. One that lies under a newer value of its stripe is unseen, but stays too
until it meets its own value: else, once a later weak tombstone and that newer value have vanished, the old
value would show again.

Versions of one key are never split between two outputs.

A filter, where the user has one, is asked about the newest values that no open snapshot sees (`filter_queue`).

A value in a blob file is an entry like any other: what is kept is the pointer to it. With a sink, large values go to
blob files, and those that lie in files to be emptied are moved (`blob_sink`).

A range [start, stop) makes one of several compactions over the same inputs, which can run at once: what they
keep is together what a single one would.

A `max_seqno` makes the inputs what they were at that seqno: what is newer, in a memtable that is written to
meanwhile, is passed over. A backup writes what a cut holds in memory that way, and seals nothing for it.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING
from cython.cimports.fjeld.kernel.blob import blob_read, blob_room
from cython.cimports.fjeld.kernel.blob_format import BlobPointer, pointer_decode
from cython.cimports.fjeld.kernel.blob_sink import FILE_DUE, BlobSink
from cython.cimports.fjeld.kernel.coding import (
    KIND_BLOB,
    KIND_TOMBSTONE,
    KIND_WEAK_TOMBSTONE,
    POINTER_BYTES,
    VALUE_BIT,
    cbytes,
    fj_atomic_load,
    fj_atomic_store,
    fj_compare,
)
from cython.cimports.fjeld.kernel.failure import (
    ST_COLD,
    ST_OK,
    Failure,
    fail_nomem,
    failure_clear,
    raise_failure,
)
from cython.cimports.fjeld.kernel.filter_queue import QUEUE_ASK, QUEUE_BOTTOM, FilterQueue
from cython.cimports.fjeld.kernel.memory import reserve
from cython.cimports.fjeld.kernel.merge import Source, merge_close, merge_first, merge_seek, merge_step
from cython.cimports.fjeld.kernel.table import RUN_STREAM
from cython.cimports.fjeld.kernel.table_writer import TableWriter, writer_add, writer_file_bytes
from cython.cimports.fjeld.kernel.view import View
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memcmp, memcpy

from fjeld.errors import CancelledError

CANCELLED = cython.declare(cython.int, 7)
FILTER_DUE = cython.declare(cython.int, 8)
NO_STRIPE = cython.declare(uint32_t, 0xFFFFFFFF)
CHECK_EVERY = cython.declare(
    uint64_t, 4096
)  # entries between two looks at the cancel flag: about a millisecond
CHECK_EVERY_SEPARATED = cython.declare(uint64_t, 64)  # of those, values of 64 KiB may be copied


@cython.cclass
class Compaction:
    """One merge, drained into one table after another. One thread; `cancel` may come from any."""

    def __cinit__(
        self,
        inputs: View,
        snapshots: list,
        drop_tombstones: bool,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        splits: tuple = (),
        filter: object = None,
        max_seqno: uint64_t = (1 << 56) - 1,
        sink: BlobSink | None = None,
    ):
        """splits: keys, ascending, at which another output begins. filter: see `FilterQueue`; None: all stay. sink:
        where large values go; None: those that are in tables stay there, and no other is moved.
        """
        i: cython.Py_ssize_t
        self.inputs = inputs
        self.keys = (start, stop, *splits)
        if filter is not None:
            self.queue = FilterQueue(filter)
        self.sink = sink
        if sink is not None:
            sink.sources = cython.address(inputs.blob_set)
        self.bounds = cython.cast(cython.pointer[Bound], calloc(len(self.keys), cython.sizeof(Bound)))
        if self.bounds == cython.NULL:
            raise MemoryError
        for i, key in enumerate(self.keys):
            if key is not None:
                self.bounds[i].key = PyBytes_AS_STRING(key)
                self.bounds[i].key_bytes = len(key)
        self.split_count = len(splits)
        self.drop_tombstones = drop_tombstones
        self.snapshots = cython.cast(
            cython.pointer[uint64_t], calloc(len(snapshots) + 1, cython.sizeof(uint64_t))
        )
        if self.snapshots == cython.NULL:
            raise MemoryError
        for i, seqno in enumerate(sorted(set(snapshots))):
            self.snapshots[i] = seqno
            self.snapshot_count = i + 1
        inputs.open_merge(cython.address(self.merge), (max_seqno << 8) | 0xFF, RUN_STREAM)

    def __dealloc__(self):
        merge_close(cython.address(self.merge))
        free(self.snapshots)
        free(self.bounds)
        free(self.key)
        free(self.shown)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stripe_of(self, seqno: uint64_t) -> uint32_t:
        """How many snapshots do not see this seqno: versions with the same answer are in one stripe."""
        i: uint32_t = 0
        while i < self.snapshot_count and self.snapshots[i] < seqno:
            i += 1
        return i

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    @cython.inline
    def same_key(self) -> cython.bint:
        s: cython.pointer[Source] = self.merge.order[0]
        return self.have_key and s.key_bytes == self.key_bytes and memcmp(s.key, self.key, s.key_bytes) == 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def next_key(self, f: cython.pointer[Failure]) -> cython.int:
        """The merge stands on a new key: remember it."""
        s: cython.pointer[Source] = self.merge.order[0]
        if not reserve(cython.address(self.key), cython.address(self.key_capacity_bytes), s.key_bytes):
            return fail_nomem(f)
        memcpy(self.key, s.key, s.key_bytes)
        self.key_bytes = s.key_bytes
        self.have_key = True
        self.stripe = NO_STRIPE
        self.under_value = False
        return ST_OK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def settle_weak(self, w: cython.pointer[Writer], tag: uint64_t, f: cython.pointer[Failure]) -> cython.int:
        """Write the weak tombstone that waited, with the tag it has or became."""
        self.pending_weak = False
        if self.drop_tombstones and self.stripe == 0:
            self.entries_dropped += 1
            return ST_OK
        return self.emit(w, self.key, self.key_bytes, tag, cython.NULL, 0, 0, f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def harden_weak(self, w: cython.pointer[Writer], f: cython.pointer[Failure]) -> cython.int:
        """The weak tombstone that waited met a tombstone."""
        if self.under_value:
            self.pending_weak = False  # unseen, and the older one hides what it would hide
            self.entries_dropped += 1
            return ST_OK
        return self.settle_weak(w, (self.weak_tag & ~cython.cast(uint64_t, 0xFF)) | KIND_TOMBSTONE, f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def annihilate(self) -> cython.int:
        """The weak tombstone that waited met its value: both vanish."""
        self.pending_weak = False
        self.entries_dropped += 2
        if not self.under_value:
            self.stripe = NO_STRIPE  # the next version is the newest of its stripe
        return ST_OK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def take(self, w: cython.pointer[Writer], f: cython.pointer[Failure]) -> cython.int:
        """Decide over the version that the merge stands on."""
        s: cython.pointer[Source] = self.merge.order[0]
        kind: uint64_t = s.tag & 0xFF
        tag: uint64_t = s.tag
        stripe: uint32_t = self.stripe_of(s.tag >> 8)
        status: cython.int
        if self.pending_weak:
            if stripe != self.stripe:
                status = self.settle_weak(w, self.weak_tag, f)
            elif kind & VALUE_BIT:
                return self.annihilate()
            else:
                status = self.harden_weak(w, f)
            if status != ST_OK:
                return status
        if stripe == self.stripe and not (kind == KIND_WEAK_TOMBSTONE and self.under_value):
            self.entries_dropped += 1
            return ST_OK
        if stripe != self.stripe:
            self.stripe = stripe
            self.under_value = False
        if kind == KIND_WEAK_TOMBSTONE:
            self.pending_weak = True
            self.weak_tag = s.tag
            return ST_OK
        flags: cython.int = 0
        if kind & VALUE_BIT and stripe == self.snapshot_count:
            flags = QUEUE_ASK  # no open snapshot sees it
        if self.drop_tombstones and stripe == 0:
            if not kind & VALUE_BIT:
                self.entries_dropped += 1
                return ST_OK
            tag = kind  # seqno 0
            flags |= QUEUE_BOTTOM
        elif kind & VALUE_BIT:
            self.under_value = True
        return self.emit(w, s.key, s.key_bytes, tag, s.value, s.value_bytes, flags, f)

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def emit(
        self,
        w: cython.pointer[Writer],
        key: cbytes,
        key_bytes: cython.size_t,
        tag: uint64_t,
        value: cbytes,
        value_bytes: cython.size_t,
        flags: cython.int,
        f: cython.pointer[Failure],
    ) -> cython.int:
        if self.queue is not None:
            if flags & QUEUE_ASK and tag & 0xFF == KIND_BLOB:
                return self.show(key, key_bytes, tag, value, flags, f)
            return self.queue.add(key, key_bytes, tag, value, value_bytes, cython.NULL, 0, flags, f)
        if self.sink is not None:
            return self.sink.add(w, key, key_bytes, tag, value, value_bytes, f)
        return writer_add(w, key, key_bytes, tag, value, value_bytes, f)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def show(
        self,
        key: cbytes,
        key_bytes: cython.size_t,
        tag: uint64_t,
        pointer: cbytes,
        flags: cython.int,
        f: cython.pointer[Failure],
    ) -> cython.int:
        """Queue an entry whose value is in a blob file: the filter is shown the value."""
        p: BlobPointer
        status: cython.int
        pointer_decode(pointer, cython.address(p))
        n: cython.size_t = blob_room(cython.address(p), key_bytes)
        if not reserve(cython.address(self.shown), cython.address(self.shown_capacity_bytes), n):
            return fail_nomem(f)
        status = blob_read(
            cython.address(self.inputs.blob_set), cython.address(p), key, key_bytes, self.shown, False, f
        )
        if status != ST_OK:
            return status
        return self.queue.add(key, key_bytes, tag, pointer, POINTER_BYTES, self.shown, p.raw_bytes, flags, f)

    # ---- the loop ----

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self, f: cython.pointer[Failure]) -> cython.int:
        self.started = True
        first: cython.pointer[Bound] = self.bounds + START
        if first.key == cython.NULL:
            return merge_first(cython.address(self.merge), f)
        return merge_seek(cython.address(self.merge), cython.cast(cbytes, first.key), first.key_bytes, f)

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def reached(self, bound: cython.pointer[Bound]) -> cython.bint:
        """Does the merge stand on this key or behind it?"""
        s: cython.pointer[Source] = self.merge.order[0]
        return fj_compare(s.key, s.key_bytes, cython.cast(cbytes, bound.key), bound.key_bytes) >= 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def output_ends(self, w: cython.pointer[Writer], target_bytes: uint64_t) -> cython.bint:
        """The merge stands on a new key: does it go into another output?"""
        split: cython.bint = False
        while self.split_index < self.split_count and self.reached(self.bounds + SPLITS + self.split_index):
            self.split_index += 1
            split = True
        return writer_file_bytes(w) >= target_bytes or (split and self.have_key)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def drain(
        self, w: cython.pointer[Writer], target_bytes: uint64_t, f: cython.pointer[Failure]
    ) -> cython.int:
        status: cython.int
        check_every: uint64_t = CHECK_EVERY if self.sink is None else CHECK_EVERY_SEPARATED
        if not self.started:
            status = self.begin(f)
            if status != ST_OK:
                return status
        while self.merge.active:
            if self.merge.order[0].tag > self.merge.max_tag:
                status = merge_step(cython.address(self.merge), f)
                if status != ST_OK:
                    return status
                continue
            if self.queue is not None and self.queue.full():
                return FILTER_DUE
            if self.sink is not None and self.sink.full():
                return FILE_DUE
            if not self.same_key():
                if self.pending_weak:
                    status = self.settle_weak(w, self.weak_tag, f)
                    if status != ST_OK:
                        return status
                    continue  # what was written may have filled the queue
                if self.bounds[STOP].key != cython.NULL and self.reached(self.bounds + STOP):
                    break
                if self.output_ends(w, target_bytes):
                    self.have_key = False  # the next output begins with this key
                    return ST_OK
                status = self.next_key(f)
                if status != ST_OK:
                    return status
            self.entries_read += 1
            if self.entries_read % check_every == 0 and fj_atomic_load(cython.address(self.cancelled)):
                return CANCELLED
            status = self.take(w, f)
            if status == ST_OK:
                status = merge_step(cython.address(self.merge), f)
            if status != ST_OK:
                return status
        self.ended = True
        if self.pending_weak:
            return self.settle_weak(w, self.weak_tag, f)
        return ST_OK

    def run(self, writer: TableWriter, target_bytes: int) -> bool:
        """Fill one table up to about target_bytes; True while there is more for another. Lets go of the GIL.

        What the filter raises is raised: the output is to be abandoned.
        """
        failure: Failure
        status: cython.int
        target: uint64_t = target_bytes
        w: cython.pointer[Writer] = writer.writer
        failure_clear(cython.address(failure))
        while True:
            with cython.nogil:
                status = self.drain(w, target, cython.address(failure))
            if status == FILE_DUE:
                self.sink.begin()
                continue
            if self.queue is None or (status != ST_OK and status != FILTER_DUE):
                break
            self.queue.ask()
            again: cython.bint = status == FILTER_DUE
            with cython.nogil:
                status = self.queue.write(w, self.sink, cython.address(failure))
            if status != ST_OK or not again:
                break
        if status == CANCELLED:
            raise CancelledError("the compaction was cancelled")
        if status < 0 or status == ST_COLD:
            raise_failure(cython.address(failure))
        return not self.ended

    @property
    def entries_refused(self):
        """How many the filter refused."""
        return 0 if self.queue is None else self.queue.entries_refused

    def cancel(self):
        """Make `run` raise CancelledError soon. From any thread."""
        fj_atomic_store(cython.address(self.cancelled), 1)
