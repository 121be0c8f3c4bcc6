from libc.stdint cimport int64_t, uint64_t
from fjeld.kernel.checksum cimport XXH128_hash_t

cdef extern from "<errno.h>" nogil:
    int ECANCELED

cdef extern from "system.h" nogil:
    int fj_reflink(int target, int source) noexcept
    int64_t fj_copy_range(int source, int target, uint64_t offset, size_t n) noexcept

# A new file, synced and sealed, with the bytes of `source`: by reflink, else copy_file_range, else read and write.
# Without `reflink` by read and write only: nothing is shared. Nothing is left behind on an error.
# With `sum` what is copied goes through a buffer, and is summed on its way; a reflink is not summed.
# Once `cancel` (or NULL) is not 0, -ECANCELED soon.
cdef int file_copy(const char *source, const char *target, bint reflink, uint64_t *reflinked_bytes, uint64_t *copied_bytes, XXH128_hash_t *sum, int *cancel) noexcept nogil
