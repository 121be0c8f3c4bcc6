"""The reading methods that partitions and snapshots share: point look-ups and ranges over one partition.

A hit in memory never lets go of the GIL and allocates nothing but the returned bytes.
"""

import cython
from cython.cimports.cpython.bytes import (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cython.cimports.fjeld.kernel.blob_format import pointer_raw_bytes
from cython.cimports.fjeld.kernel.blob_value import (
    WANTED_COLD,
    Wanted,
    blob_value,
    wanted_done,
    wanted_drop,
    wanted_read,
    wanted_take,
)
from cython.cimports.fjeld.kernel.checksum import fj_xxh64
from cython.cimports.fjeld.kernel.coding import KIND_BLOB, KIND_VALUE, cbytes
from cython.cimports.fjeld.kernel.core import Access, check_key, coerce
from cython.cimports.fjeld.kernel.cursor import Cursor
from cython.cimports.fjeld.kernel.failure import Failure, raise_failure
from cython.cimports.fjeld.kernel.look_ahead import PROBES, Probe, look_ahead, probe_found, probe_release
from cython.cimports.fjeld.kernel.memtable import MemEntry
from cython.cimports.fjeld.kernel.scan import SCAN_ITEMS, SCAN_KEYS, SCAN_VALUES, Scan
from cython.cimports.fjeld.kernel.view import NOT_NOW, Found, View, found_entry, found_release
from cython.cimports.libc.stdint import uint32_t, uint64_t

MISSING = cython.declare(object, object())
NOT_READY = object()
"""What the `..._now` methods give where they would have to wait for the disk."""
_NOT_READY = cython.declare(object, NOT_READY)


@cython.cfunc
@cython.inline
def key_bytes(key: object) -> bytes:
    """A key as exact bytes of an allowed length."""
    if not PyBytes_CheckExact(key):
        key = coerce(key, "key")
    if PyBytes_GET_SIZE(key) > 65535:
        check_key(key)
    return key


@cython.cfunc
def bound(key: object, follow: cython.bint) -> bytes:
    """An end of a range; `follow`: just behind the key."""
    if key is None:
        return None
    exact: bytes = key_bytes(key)
    return exact + b"\x00" if follow else exact


@cython.cfunc
def after_prefix(prefix: bytes) -> bytes:
    """The first key behind all that begin with the prefix, or None."""
    kept: bytes = prefix.rstrip(b"\xff")
    if not kept:
        return None
    return kept[: len(kept) - 1] + bytes([kept[len(kept) - 1] + 1])


@cython.cfunc
@cython.inline
def value_of(found: cython.pointer[Found]) -> object:
    """The value that was found; None for a tombstone."""
    if (found.tag & 0xFF) != KIND_VALUE:
        return None
    return PyBytes_FromStringAndSize(cython.cast(cython.p_char, found.value), found.value_bytes)


@cython.cclass
class Reader(Access):
    """Reads of one partition: the newest state, or that of a snapshot. Safe to use from many threads."""

    @cython.cfunc
    def lookup(self, key: object, default: object, wait: cython.bint) -> object:
        found: Found
        view: View
        value: object
        status: cython.int
        self.check()
        if not PyBytes_CheckExact(key) or PyBytes_GET_SIZE(key) > 65535:
            key = key_bytes(key)
        tag: uint64_t = self.read_tag()
        view = self.take_view()
        status = view.find(
            cython.cast(cbytes, PyBytes_AS_STRING(key)),
            PyBytes_GET_SIZE(key),
            tag,
            cython.address(found),
            wait,
        )
        if status != 1:
            return default if status == 0 else _NOT_READY
        value = default
        if (found.tag & 0xFF) == KIND_VALUE:
            value = PyBytes_FromStringAndSize(cython.cast(cython.p_char, found.value), found.value_bytes)
        elif (found.tag & 0xFF) == KIND_BLOB:
            value = self.follow(view, key, cython.address(found), wait)
        found_release(cython.address(found))
        return value

    @cython.cfunc
    def follow(self, view: View, key: bytes, found: cython.pointer[Found], wait: cython.bint) -> object:
        """The value that the entry points to."""
        value: object
        try:
            value = blob_value(
                cython.address(view.blob_set),
                found.value,
                cython.cast(cbytes, PyBytes_AS_STRING(key)),
                PyBytes_GET_SIZE(key),
                wait,
            )
        except BaseException:
            found_release(found)
            raise
        return _NOT_READY if value is None else value

    def get(self, key, default=None):
        """The value of key, or default."""
        return self.lookup(key, default, True)

    def get_now(self, key, default=None):
        """As `get`, but it never waits for the disk: NOT_READY where it would."""
        return self.lookup(key, default, False)

    def __getitem__(self, key):
        value: object = self.lookup(key, MISSING, True)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return self.size_of(key) is not None

    @cython.cfunc
    def measure(self, key: object, wait: cython.bint) -> object:
        found: Found
        size: object = None
        status: cython.int
        self.check()
        exact: bytes = key_bytes(key)
        tag: uint64_t = self.read_tag()
        view: View = self.take_view()
        status = view.find(
            cython.cast(cbytes, PyBytes_AS_STRING(exact)),
            PyBytes_GET_SIZE(exact),
            tag,
            cython.address(found),
            wait,
        )
        if status != 1:
            return None if status == 0 else _NOT_READY
        if (found.tag & 0xFF) == KIND_VALUE:
            size = found.value_bytes
        elif (found.tag & 0xFF) == KIND_BLOB:
            size = pointer_raw_bytes(found.value)
        found_release(cython.address(found))
        return size

    def size_of(self, key):
        """The length of key's value in bytes, or None where there is no such key; the value is not read."""
        return self.measure(key, True)

    def size_now(self, key):
        """As `size_of`, but it never waits for the disk: NOT_READY where it would."""
        return self.measure(key, False)

    def get_many(self, keys):
        """The values of many keys as of one moment, in their order; None for each that is not there."""
        return self.lookup_many(keys, True)

    def get_many_now(self, keys):
        """As `get_many`, but it never waits for the disk: NOT_READY where it would."""
        return self.lookup_many(keys, False)

    @cython.cfunc
    def lookup_many(self, keys: object, wait: cython.bint) -> object:
        view: View
        values: list = []
        self.check()
        tag: uint64_t = self.read_tag()
        view = self.take_view()
        exact: list = [key if PyBytes_CheckExact(key) else key_bytes(key) for key in keys]
        self.check()  # giving the keys may have closed the keyspace
        start: cython.Py_ssize_t
        for start in range(0, len(exact), PROBES):
            if not self.find_group(view, exact[start : start + PROBES], tag, values, wait):
                return _NOT_READY
        return values

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def find_group(
        self, view: View, keys: list, tag: uint64_t, values: list, wait: cython.bint
    ) -> cython.int:
        """Append the values of up to PROBES keys; 0 where they would have to be waited for. Those in blob files come
        last, all in one go.
        """
        wanted: Wanted[PROBES]
        places: cython.Py_ssize_t[PROBES]
        blobs: uint32_t = 0
        read: uint32_t
        f: Failure
        probes: Probe[PROBES]
        found: Found
        e: cython.pointer[MemEntry]
        p: cython.pointer[Probe]
        i: uint32_t
        status: cython.int
        count: uint32_t = len(keys)
        key: object
        for i in range(count):
            key = keys[i]
            check_key(key)
            p = cython.address(probes[i])
            p.key = cython.cast(cbytes, PyBytes_AS_STRING(key))
            p.key_bytes = PyBytes_GET_SIZE(key)
            p.hashed = fj_xxh64(p.key, p.key_bytes)
            e = view.find_in_memory(p.key, p.key_bytes, tag)
            p.wanted = e == cython.NULL
            if e == cython.NULL:
                values.append(None)
            else:
                found_entry(cython.address(found), e)
                values.append(value_of(cython.address(found)))
        look_ahead(view, probes, count)
        first: cython.Py_ssize_t = len(values) - count
        try:
            for i in range(count):
                p = cython.address(probes[i])
                status = 0
                if p.wanted and probe_found(p, tag, cython.address(found)):
                    status = 1
                elif p.wanted:
                    status = view.find_in_tables(
                        p.key, p.key_bytes, p.hashed, tag, cython.address(found), wait, p.place
                    )
                if status == NOT_NOW:
                    return 0
                if status and (found.tag & 0xFF) == KIND_BLOB:
                    # Counted before it is taken: what is dropped in the end may be NULL, not unknown.
                    wanted[blobs].value = cython.NULL
                    places[blobs] = first + i
                    blobs += 1
                    wanted_take(cython.address(wanted[blobs - 1]), found.value, p.key, p.key_bytes)
                    found_release(cython.address(found))
                elif status:
                    values[first + i] = value_of(cython.address(found))
                    found_release(cython.address(found))
            if blobs:
                read = wanted_read(cython.address(view.blob_set), wanted, blobs, wait, cython.address(f))
                if read == WANTED_COLD:
                    return 0
                if read < blobs:
                    raise_failure(cython.address(f))
                for i in range(blobs):
                    values[places[i]] = wanted_done(cython.address(wanted[i]))
        finally:
            for i in range(blobs):
                wanted_drop(cython.address(wanted[i]))
            for i in range(count):
                probe_release(cython.address(probes[i]))
        return 1

    # ---- ranges ----

    @cython.cfunc
    def open_scan(self, start: bytes | None, stop: bytes | None, reverse: object, mode: cython.int) -> Scan:
        return Scan(self, start, stop, reverse, mode)

    @cython.cfunc
    def open_cursor(self, start: bytes | None, stop: bytes | None) -> Cursor:
        return Cursor(self, start, stop)

    def range(self, start=None, stop=None, *, include_start=True, include_stop=False, reverse=False):
        """An iterator over (key, value) between two keys (None: open), as of now."""
        self.check()
        return self.open_scan(bound(start, not include_start), bound(stop, include_stop), reverse, SCAN_ITEMS)

    def prefix(self, prefix, *, reverse=False):
        """An iterator over (key, value) of all keys that begin with `prefix`, as of now."""
        self.check()
        exact: bytes = key_bytes(prefix)
        return self.open_scan(exact, after_prefix(exact), reverse, SCAN_ITEMS)

    def scan_items(self, reverse=False):
        """An iterator over all (key, value), as of now."""
        self.check()
        return self.open_scan(None, None, reverse, SCAN_ITEMS)

    def scan_keys(self, reverse=False):
        """An iterator over all keys, as of now."""
        self.check()
        return self.open_scan(None, None, reverse, SCAN_KEYS)

    def scan_values(self, reverse=False):
        """An iterator over all values in the order of their keys, as of now."""
        self.check()
        return self.open_scan(None, None, reverse, SCAN_VALUES)

    def __iter__(self):
        return self.scan_keys()

    def __reversed__(self):
        return self.scan_keys(True)

    def first(self):
        """The entry with the least key as (key, value), or None."""
        return next(self.scan_items(), None)

    def last(self):
        """The entry with the greatest key as (key, value), or None."""
        return next(self.scan_items(True), None)

    def is_empty(self):
        """Is there no entry?"""
        return next(self.scan_keys(), None) is None

    def cursor(self, *, start=None, stop=None, prefix=None):
        """A movable cursor over a range (start <= key < stop) or a prefix, as of now."""
        self.check()
        if prefix is None:
            return self.open_cursor(bound(start, False), bound(stop, False))
        if start is not None or stop is not None:
            raise ValueError("a cursor takes a prefix, or start and stop, not both")
        exact: bytes = key_bytes(prefix)
        return self.open_cursor(exact, after_prefix(exact))
