# The writer of one blob file.
from libc.stdint cimport uint8_t, uint64_t
from fjeld.kernel.blob_format cimport BlobFooter, BlobPointer
from fjeld.kernel.checksum cimport XXH128_hash_t
from fjeld.kernel.compression cimport Compressor
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.output cimport Output

cdef struct BlobOut:
    Output output
    Compressor compressor
    Failure failure             # the first failure; nothing is written after it
    const char *path            # borrowed
    uint64_t number
    bint begun                  # the file is there
    BlobFooter footer           # what was written
    uint8_t *large              # a record that does not fit the output's buffer
    size_t large_bytes
    XXH128_hash_t sum           # of the whole file, once it is finished

cdef class BlobWriter:
    """One blob file being written; it is made with its first record. Not thread-safe."""
    cdef BlobOut *out
    cdef readonly str path
    cdef readonly object number
    cdef bytes encoded_path
    cdef object must_be_open(self)

# Append the value of a key; where it is, as an entry holds it (POINTER_BYTES), into `pointer`. ST_OK or a failure in f.
cdef int blob_put(BlobOut *o, const uint8_t *key, size_t key_bytes, const uint8_t *value, size_t value_bytes,
                  uint8_t *pointer, Failure *f) noexcept nogil
# Append a record of another file as it is (`p` of there): value and key at `record`, and their codec.
cdef int blob_copy(BlobOut *o, const uint8_t *record, const BlobPointer *p, size_t key_bytes, int codec, uint8_t *pointer,
                   Failure *f) noexcept nogil
cdef uint64_t blob_out_bytes(const BlobOut *o) noexcept nogil      # of the file so far
