# Files, for the kernel and for the control plane. The calls without the GIL are those of file_calls:
# they return >= 0, or -errno, and retry EINTR and short reads and writes.
from libc.stdint cimport uint8_t, uint64_t, int64_t
from fjeld.kernel.file_calls cimport (
    file_create,
    file_open_read,
    file_close,
    file_close_new,
    file_pread,
    file_pread_now,
    file_pwrite,
    file_sync,
    file_sync_all,
    file_allocate,
    file_truncate,
    file_truncate_path,
    file_seal,
    file_size,
    file_will_read,
    file_next_data,
    file_next_hole,
    file_map,
    file_populate,
    file_release,
    file_unmap,
    file_link,
    file_rename,
    file_rename_exchange,
    file_rename_noreplace,
    file_unlink,
    file_make_directory,
    file_remove_directory,
    file_sync_directory,
)
from fjeld.kernel.file_copy cimport file_copy

cdef extern from "<errno.h>" nogil:
    int ECANCELED

cdef class CancelFlag:
    """Tells a call that runs without the GIL to stop. Any thread may set it, at any time."""
    cdef int raised

cdef class AppendFile:
    """A new file that grows at its end. Not thread-safe."""
    cdef int fd
    cdef readonly str path
    cdef readonly uint64_t size
