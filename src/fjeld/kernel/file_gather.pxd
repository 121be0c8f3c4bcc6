# One write of bytes that lie in two places.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "system.h" nogil:
    int64_t fj_pwrite_two(int fd, const void *head, size_t head_bytes, const void *body, size_t body_bytes,
                          size_t zeros, uint64_t offset) noexcept

# `head`, then `body`, then zeros (fewer than 8), at `offset`: all of it, or -errno.
cdef int file_write_two(int fd, const char *head, size_t head_bytes, const char *body, size_t body_bytes,
                        size_t zeros, uint64_t offset) noexcept nogil
