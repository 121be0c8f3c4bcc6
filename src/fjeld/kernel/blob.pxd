# The reader of blob files, and the set of those that one view can see.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_format cimport BlobPointer
from fjeld.kernel.descriptors cimport Descriptor, DescriptorPool, Descriptors
from fjeld.kernel.failure cimport Failure

cdef struct BlobFile:
    const char *path
    Descriptor descriptor       # its place in the pool of open files
    Descriptors *descriptors
    uint64_t number
    uint64_t file_bytes         # as the manifest says

cdef struct BlobSet:
    BlobFile **files            # ascending by number; borrowed from the readers
    uint32_t count

cdef class BlobReader:
    """Owns a BlobFile. Opens the file when it is first read."""
    cdef BlobFile *file
    cdef readonly str path
    cdef bytes encoded_path
    cdef DescriptorPool descriptors     # keep alive
    cdef readonly bint held             # its file is open and stays open, whatever becomes of its name

cdef int blob_set_init(BlobSet *s, tuple readers) except -1
cdef void blob_set_free(BlobSet *s) noexcept nogil
cdef BlobFile *blob_find(const BlobSet *s, uint64_t number) noexcept nogil      # NULL: not in the set

# How much room `blob_read` needs for the value: its length, and what is read behind it where it is not compressed.
cdef size_t blob_room(const BlobPointer *p, size_t key_bytes) noexcept nogil
# Read, check and decompress the value of `key` into `into`, which has blob_room. ST_OK, ST_COLD (only with `now`: it would have to
# be waited for, or something is wrong), or a failure in f. Blocks unless `now`: call without the GIL.
cdef int blob_read(const BlobSet *s, const BlobPointer *p, const uint8_t *key, size_t key_bytes, uint8_t *into, bint now,
                   Failure *f) noexcept nogil
# The record as it is in the file, checked, into record_bytes at `into`, and its codec.
cdef int blob_read_record(const BlobSet *s, const BlobPointer *p, const uint8_t *key, size_t key_bytes, uint8_t *into,
                          int *codec, bint now, Failure *f) noexcept nogil
