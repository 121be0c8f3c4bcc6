# What tests put between the engine and the system: faults to inject, a trace of the operations.
# Off, it costs one predictable branch on `probe_on` an operation.
from libc.stdint cimport uint8_t, uint64_t, int64_t

# In the order of OPERATIONS in file_probe.py; from OP_NOREPLACE on: no operations of their own, only faults.
cdef enum Operation:
    OP_CREATE, OP_OPEN, OP_READ, OP_WRITE, OP_SYNC, OP_SYNC_ALL, OP_TRUNCATE, OP_ALLOCATE, OP_SEAL, OP_LINK, OP_REFLINK,
    OP_COPY, OP_RENAME, OP_EXCHANGE, OP_UNLINK, OP_MKDIR, OP_RMDIR, OP_SYNC_DIR, OP_CLOSE, OP_MAP, OP_POPULATE, OP_LOCK, OP_NOREPLACE,
    OP_PWRITE_SHORT

cdef enum:
    OP_ANY = -1
    PROBE_DESCRIPTORS = 65536   # descriptors whose path is known; the table's untouched pages cost nothing
    PROBE_FAULTS = 16
    PROBE_PATTERN_BYTES = 512

cdef struct Fault:
    int operation
    char pattern[PROBE_PATTERN_BYTES]   # a part of the path; empty: any path
    int64_t after                       # matching operations that still succeed
    int64_t count                       # matching operations that then fail
    int errnum

cdef struct Event:
    Event *next
    uint64_t id
    int operation
    bint dropped
    char *path
    char *other
    uint64_t number             # offset or size
    uint8_t *data
    size_t data_bytes

cdef struct Probe:
    int lock
    char *paths[PROBE_DESCRIPTORS]
    Fault faults[PROBE_FAULTS]
    int faults_used
    int64_t hits
    bint tracing
    Event *first
    Event *last
    uint64_t next_id

cdef int probe_on               # faults or the trace are active

cdef void probe_opened(int fd, const char *path) noexcept nogil
cdef void probe_closed(int fd) noexcept nogil

# The errno that this operation is to fail with, or 0 (-1: a short write that is not an error). Call only if probe_on.
# `other` is the second path of link, rename and copy (or NULL): a fault matches either.
cdef int probe_fault(int operation, const char *path, const char *other) noexcept nogil
cdef int probe_fault_fd(int operation, int fd) noexcept nogil

# Record an operation that was done. Call only if probe_on. The number drops it again (of a sync, recorded before it is done).
cdef uint64_t probe_note(int operation, const char *path, const char *other) noexcept nogil
cdef uint64_t probe_note_number(int operation, const char *path, uint64_t number) noexcept nogil
cdef uint64_t probe_note_fd(int operation, int fd, uint64_t number, const void *data, size_t data_bytes) noexcept nogil
cdef void probe_drop(uint64_t id) noexcept nogil
