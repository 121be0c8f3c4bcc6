"""Faults and the trace: what tests put between the engine and the system calls in `files`.

Thread safety: all of it is global and guarded by one spin lock, taken only while faults or the trace are on
(and at open and close, to know the path of a descriptor). An operation is recorded when it was done, before
its caller learns of it: what happens because of it comes after it. A sync is recorded where it begins, so
that a write that ran beside it never looks synced.
"""

import os

import cython
from cython.cimports.fjeld.kernel.coding import fj_spin_lock, fj_spin_unlock
from cython.cimports.libc.stdint import int64_t, uint8_t, uint64_t
from cython.cimports.libc.stdlib import calloc, free, malloc
from cython.cimports.libc.string import memcpy, strdup, strstr

__all__ = ["OPERATIONS", "clear_faults", "faults_hit", "inject", "start_trace", "stop_trace"]

# In the order of the enum Operation.
OPERATIONS = (
    "create", "open", "read", "write", "sync", "sync_all", "truncate", "allocate", "seal", "link", "reflink",
    "copy", "rename", "exchange", "unlink", "mkdir", "rmdir", "sync_dir", "close", "map", "populate", "lock", "noreplace",
    "pwrite_short",
)  # fmt: skip

_probe = cython.declare(Probe)
probe_on = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_opened(fd: cython.int, path: cython.pointer[cython.const[cython.char]]) -> cython.void:
    if fd < 0 or fd >= PROBE_DESCRIPTORS:
        return
    known: cython.p_char = strdup(path)
    fj_spin_lock(cython.address(_probe.lock))
    before: cython.p_char = _probe.paths[fd]
    _probe.paths[fd] = known
    fj_spin_unlock(cython.address(_probe.lock))
    free(before)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_closed(fd: cython.int) -> cython.void:
    if fd < 0 or fd >= PROBE_DESCRIPTORS:
        return
    fj_spin_lock(cython.address(_probe.lock))
    before: cython.p_char = _probe.paths[fd]
    _probe.paths[fd] = cython.NULL
    fj_spin_unlock(cython.address(_probe.lock))
    free(before)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _in_path(
    pattern: cython.pointer[cython.const[cython.char]], path: cython.pointer[cython.const[cython.char]]
) -> cython.bint:
    return pattern[0] == 0 or (path != cython.NULL and strstr(path, pattern) != cython.NULL)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fault_locked(
    operation: cython.int,
    path: cython.pointer[cython.const[cython.char]],
    other: cython.pointer[cython.const[cython.char]],
) -> cython.int:
    """The errno of the first fault that is due. Each that matches counts it. Requires: the lock."""
    answer: cython.int = 0
    i: cython.int
    for i in range(_probe.faults_used):
        fault: cython.pointer[Fault] = cython.address(_probe.faults[i])
        if fault.operation != operation and (fault.operation != OP_ANY or operation >= OP_NOREPLACE):
            continue
        if not _in_path(fault.pattern, path) and not _in_path(fault.pattern, other):
            continue
        if fault.after > 0:
            fault.after -= 1
        elif fault.count > 0 and answer == 0:
            fault.count -= 1
            _probe.hits += 1
            answer = fault.errnum if fault.errnum != 0 else -1
    return answer


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_fault(
    operation: cython.int,
    path: cython.pointer[cython.const[cython.char]],
    other: cython.pointer[cython.const[cython.char]],
) -> cython.int:
    fj_spin_lock(cython.address(_probe.lock))
    errnum: cython.int = _fault_locked(operation, path, other)
    fj_spin_unlock(cython.address(_probe.lock))
    return errnum


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_fault_fd(operation: cython.int, fd: cython.int) -> cython.int:
    fj_spin_lock(cython.address(_probe.lock))
    errnum: cython.int = _fault_locked(operation, _path_locked(fd), cython.NULL)
    fj_spin_unlock(cython.address(_probe.lock))
    return errnum


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _path_locked(fd: cython.int) -> cython.pointer[cython.const[cython.char]]:
    if fd < 0 or fd >= PROBE_DESCRIPTORS:
        return cython.NULL
    return _probe.paths[fd]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _free_event(event: cython.pointer[Event]) -> cython.void:
    free(event.path)
    free(event.other)
    free(event.data)
    free(event)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _append_event(event: cython.pointer[Event]) -> uint64_t:
    """Take the event over: to the end of the trace, or to nowhere if the trace was stopped meanwhile."""
    fj_spin_lock(cython.address(_probe.lock))
    if not _probe.tracing:
        fj_spin_unlock(cython.address(_probe.lock))
        _free_event(event)
        return 0
    _probe.next_id += 1
    event.id = _probe.next_id
    if _probe.last == cython.NULL:
        _probe.first = event
    else:
        _probe.last.next = event
    _probe.last = event
    number: uint64_t = event.id
    fj_spin_unlock(cython.address(_probe.lock))
    return number


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_note(
    operation: cython.int,
    path: cython.pointer[cython.const[cython.char]],
    other: cython.pointer[cython.const[cython.char]],
) -> uint64_t:
    if not _probe.tracing:
        return 0
    event: cython.pointer[Event] = cython.cast(cython.pointer[Event], calloc(1, cython.sizeof(Event)))
    if event == cython.NULL:
        return 0
    event.operation = operation
    event.path = strdup(path)
    if other != cython.NULL:
        event.other = strdup(other)
    return _append_event(event)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_note_number(
    operation: cython.int, path: cython.pointer[cython.const[cython.char]], number: uint64_t
) -> uint64_t:
    if not _probe.tracing:
        return 0
    event: cython.pointer[Event] = cython.cast(cython.pointer[Event], calloc(1, cython.sizeof(Event)))
    if event == cython.NULL:
        return 0
    event.operation = operation
    event.path = strdup(path)
    event.number = number
    return _append_event(event)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_note_fd(
    operation: cython.int,
    fd: cython.int,
    number: uint64_t,
    data: cython.pointer[cython.const[cython.void]],
    data_bytes: cython.size_t,
) -> uint64_t:
    if not _probe.tracing:
        return 0
    event: cython.pointer[Event] = cython.cast(cython.pointer[Event], calloc(1, cython.sizeof(Event)))
    if event == cython.NULL:
        return 0
    event.operation = operation
    event.number = number
    if data_bytes > 0:
        event.data = cython.cast(cython.pointer[uint8_t], malloc(data_bytes))
        if event.data != cython.NULL:
            memcpy(event.data, data, data_bytes)
            event.data_bytes = data_bytes
    fj_spin_lock(cython.address(_probe.lock))
    path: cython.pointer[cython.const[cython.char]] = _path_locked(fd)
    if path != cython.NULL:
        event.path = strdup(path)
    fj_spin_unlock(cython.address(_probe.lock))
    return _append_event(event)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def probe_drop(id: uint64_t) -> cython.void:
    fj_spin_lock(cython.address(_probe.lock))
    event: cython.pointer[Event] = _probe.first
    while event != cython.NULL:
        if event.id == id:
            event.dropped = True
        event = event.next
    fj_spin_unlock(cython.address(_probe.lock))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _switch() -> cython.void:
    """Set `probe_on` to what is now wanted. Requires: the lock."""
    global probe_on
    probe_on = _probe.tracing or _probe.faults_used > 0


def inject(operation, after, errno, *, path_contains="", count=1):
    """Let the matching operations from the (after + 1)th on fail with `errno`, `count` of them.

    `operation` is one of OPERATIONS; None is any of them. "pwrite_short" lets a write stop half-way before it
    fails; with errno 0 the rest is then written, as the system does. "noreplace" is the file system's way to
    rename without replacing: with EINVAL it has none. Neither is an operation of its own: None does not match
    them. Several faults may be active.
    """
    if operation is not None and operation not in OPERATIONS:
        raise ValueError(f"no such file operation: {operation!r}; there are {', '.join(OPERATIONS)}")
    if after < 0 or count < 1 or errno < 0 or (errno == 0 and operation != "pwrite_short"):
        raise ValueError("a fault needs after >= 0, count >= 1 and an errno")
    pattern: bytes = os.fsencode(path_contains)
    if len(pattern) >= PROBE_PATTERN_BYTES:
        raise ValueError(f"path_contains is longer than {PROBE_PATTERN_BYTES - 1} bytes")
    number: cython.int = OP_ANY if operation is None else OPERATIONS.index(operation)
    skipped: int64_t = after
    failures: int64_t = count
    errnum: cython.int = errno
    text: cython.p_char = pattern
    text_bytes: cython.size_t = len(pattern) + 1
    full: cython.bint = False
    fj_spin_lock(cython.address(_probe.lock))
    if _probe.faults_used == PROBE_FAULTS:
        full = True
    else:
        fault: cython.pointer[Fault] = cython.address(_probe.faults[_probe.faults_used])
        fault.operation = number
        memcpy(fault.pattern, text, text_bytes)
        fault.after = skipped
        fault.count = failures
        fault.errnum = errnum
        _probe.faults_used += 1
        _switch()
    fj_spin_unlock(cython.address(_probe.lock))
    if full:
        raise ValueError(f"more than {PROBE_FAULTS} faults: call clear_faults() first")


def clear_faults():
    """No operation fails any more on purpose; `faults_hit` starts again at 0."""
    fj_spin_lock(cython.address(_probe.lock))
    _probe.faults_used = 0
    _probe.hits = 0
    _switch()
    fj_spin_unlock(cython.address(_probe.lock))


def faults_hit():
    """How many operations failed on purpose since `clear_faults`."""
    fj_spin_lock(cython.address(_probe.lock))
    hits: int64_t = _probe.hits
    fj_spin_unlock(cython.address(_probe.lock))
    return hits


def start_trace():
    """Record operations from now on. An earlier trace is discarded."""
    stop_trace()
    fj_spin_lock(cython.address(_probe.lock))
    _probe.tracing = True
    _switch()
    fj_spin_unlock(cython.address(_probe.lock))


def stop_trace():
    """Record no more; give what was done since `start_trace`, in order."""
    fj_spin_lock(cython.address(_probe.lock))
    event: cython.pointer[Event] = _probe.first
    _probe.first = cython.NULL
    _probe.last = cython.NULL
    _probe.tracing = False
    _switch()
    fj_spin_unlock(cython.address(_probe.lock))
    trace: list = []
    after: cython.pointer[Event]
    while event != cython.NULL:
        after = event.next
        if not event.dropped:
            trace.append(_describe(event))
        _free_event(event)
        event = after
    return trace


@cython.cfunc
def _describe(event: cython.pointer[Event]) -> tuple:
    name: object = OPERATIONS[event.operation]
    path: object = os.fsdecode(cython.cast(bytes, event.path)) if event.path != cython.NULL else ""
    if event.other != cython.NULL:
        return (name, path, os.fsdecode(cython.cast(bytes, event.other)))
    if event.operation == OP_WRITE:
        data: object = event.data[: event.data_bytes] if event.data_bytes > 0 else b""
        return (name, path, event.number, data)
    if event.operation == OP_TRUNCATE or event.operation == OP_ALLOCATE:
        return (name, path, event.number)
    return (name, path)
