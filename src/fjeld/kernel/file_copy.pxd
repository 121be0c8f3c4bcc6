from libc.stdint cimport int64_t, uint64_t

cdef extern from "system.h" nogil:
    int fj_reflink(int target, int source) noexcept
    int64_t fj_copy_range(int source, int target, uint64_t offset, size_t n) noexcept

# A new file, synced and sealed, with the bytes of `source`: by reflink, else copy_file_range, else read and write.
# Without `reflink` by read and write only: nothing is shared. Nothing is left behind on an error.
cdef int file_copy(const char *source, const char *target, bint reflink, uint64_t *reflinked_bytes, uint64_t *copied_bytes) noexcept nogil
