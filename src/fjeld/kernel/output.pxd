# A file being written from its beginning to its end: buffered, hashed on the way, sealed when it is whole.
from libc.stdint cimport uint8_t, uint64_t
from fjeld.kernel.checksum cimport XXH3_state_t, XXH128_hash_t
from fjeld.kernel.failure cimport Failure

cdef extern from "system.h" nogil:
    void fj_start_writing(int fd, uint64_t offset, uint64_t n)

cdef enum:
    # Large enough that the system call costs nothing beside the copy, small enough to stay in the second-level cache.
    OUTPUT_BUFFER_BYTES = 256 << 10
    # The disk begins to write so much behind the writer. Of a file of 16 MiB the sync at the end then waits for 1 ms where it
    # waited for 10, all of it takes a fifth less time, and syncs of journals need not wait behind a large one.
    WRITE_BEHIND_BYTES = 1 << 20

cdef struct Output:
    int fd                      # -1: not open
    const char *path            # borrowed
    uint8_t *buffer
    size_t buffered_bytes
    uint64_t written_bytes      # in the file, without what is buffered
    uint64_t started_bytes      # of them, what the disk was told to write
    XXH3_state_t *hash          # over all of it, buffered or not

# Create the file: it must not exist. ST_OK or a failure in f; output_close in any case.
cdef int output_open(Output *o, const char *path, Failure *f) noexcept nogil
cdef int output_append(Output *o, const void *data, size_t n, Failure *f) noexcept nogil
# Room for n bytes in the buffer, to be filled in place and then taken; NULL: more than fits it, or a failure (f.status says which).
cdef uint8_t *output_room(Output *o, size_t n, Failure *f) noexcept nogil
cdef void output_take(Output *o, size_t n) noexcept nogil
cdef uint64_t output_bytes(const Output *o) noexcept nogil      # appended so far
# Write what is buffered, fdatasync, seal (0444) and close. On failure the file stays open.
cdef int output_finish(Output *o, XXH128_hash_t *sum, Failure *f) noexcept nogil
cdef void output_close(Output *o) noexcept nogil                # free everything; an unfinished file stays as it is
