# Every system call on files that the engine makes. One place: so that faults can be injected and the
# sequence of operations recorded (tests of crash states and of the checkpoint's trace; file_probe).
# All return >= 0, or -errno. They retry EINTR and short reads and writes. None needs the GIL; the caller lets go of it.
from libc.stdint cimport uint8_t, uint64_t, int64_t

cdef extern from "system.h" nogil:
    int fj_sync_data(int fd) noexcept
    int64_t fj_pread_now(int fd, void *into, size_t n, uint64_t offset) noexcept
    int fj_sync_all(int fd) noexcept
    int fj_allocate(int fd, uint64_t n) noexcept
    int fj_rename_exchange(const char *one, const char *other) noexcept
    int fj_rename_noreplace(const char *source, const char *target) noexcept
    int64_t fj_seek(int fd, uint64_t offset, int hole) noexcept
    int fj_populate(void *start, size_t n) noexcept
    int fj_release(void *start, size_t n) noexcept

cdef int file_create(const char *path) noexcept nogil                # O_CREAT|O_EXCL|O_RDWR|O_CLOEXEC, 0644 -> fd
cdef int file_open_read(const char *path) noexcept nogil             # O_RDONLY|O_CLOEXEC -> fd
cdef int file_close(int fd) noexcept nogil
cdef int64_t file_pread_now(int fd, void *buf, size_t n, uint64_t offset) noexcept nogil # from the page cache only: n, or less, or -errno
cdef int64_t file_pread(int fd, void *buf, size_t n, uint64_t offset) noexcept nogil    # bytes read; short only at the end of the file
cdef int file_pwrite(int fd, const void *buf, size_t n, uint64_t offset) noexcept nogil # all of it, or -errno
cdef int file_sync(int fd) noexcept nogil                            # fdatasync
cdef int file_sync_all(int fd) noexcept nogil                        # fsync
cdef int file_allocate(int fd, uint64_t n) noexcept nogil            # posix_fallocate
cdef int file_truncate(int fd, uint64_t n) noexcept nogil
cdef int file_truncate_path(const char *path, uint64_t n) noexcept nogil
cdef int file_seal(int fd) noexcept nogil                            # fchmod 0444
cdef int64_t file_size(int fd) noexcept nogil
cdef void file_will_read(int fd, uint64_t offset, uint64_t n) noexcept nogil   # a hint: the system reads it meanwhile; nothing is waited for
cdef int64_t file_next_data(int fd, uint64_t offset) noexcept nogil  # where the next bytes are that are not a hole; -ENXIO: none
cdef int64_t file_next_hole(int fd, uint64_t offset) noexcept nogil  # where they end
cdef int file_map(int fd, uint64_t n, uint8_t **map) noexcept nogil  # shared, read and write
cdef int file_populate(int fd, uint8_t *start, uint64_t n) noexcept nogil  # no page fault there any more; -EFAULT: it would be SIGBUS
cdef void file_release(uint8_t *start, uint64_t n) noexcept nogil    # out of this process' memory; the bytes stay in the file
cdef void file_unmap(uint8_t *map, uint64_t n) noexcept nogil

cdef int file_link(const char *source, const char *target) noexcept nogil
cdef int file_rename(const char *source, const char *target) noexcept nogil            # replaces the target
cdef int file_rename_exchange(const char *one, const char *other) noexcept nogil        # -EINVAL, -ENOSYS: it cannot
cdef int file_rename_noreplace(const char *source, const char *target) noexcept nogil  # -EEXIST where there is one
cdef int file_unlink(const char *path) noexcept nogil
cdef int file_make_directory(const char *path) noexcept nogil        # 0755
cdef int file_remove_directory(const char *path) noexcept nogil
cdef int file_sync_directory(const char *path) noexcept nogil

# Close a file that was made here, `status` so far; where that or closing is an error, unlink it. The status.
cdef int file_close_new(int fd, const char *path, int status) noexcept nogil

# Without faults and trace, for what records itself as one operation (a copy).
cdef int64_t file_read_all(int fd, char *into, size_t n, uint64_t offset) noexcept nogil
cdef int file_write_all(int fd, const char *data, size_t n, uint64_t offset) noexcept nogil
