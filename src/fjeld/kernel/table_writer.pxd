# The writer of a table file.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_refs cimport BlobRefs
from fjeld.kernel.block_builder cimport BlockBuilder
from fjeld.kernel.checksum cimport XXH128_hash_t
from fjeld.kernel.compression cimport Compressor
from fjeld.kernel.failure cimport Failure
from fjeld.kernel.footer cimport Footer
from fjeld.kernel.output cimport Output
from fjeld.kernel.sparse_index cimport IndexBuilder

cdef struct Writer:
    # options
    uint32_t block_bytes
    uint32_t filter_bits
    # the parts under way
    Output output
    BlockBuilder block
    IndexBuilder index
    Compressor compressor
    Footer footer
    Failure failure             # the first failure; nothing is written after it
    # the keys
    uint8_t *smallest
    size_t smallest_bytes
    size_t smallest_capacity_bytes
    uint8_t *last               # the last key that was added
    size_t last_bytes
    size_t last_capacity_bytes
    uint64_t last_tag
    uint64_t *hashes            # of the distinct keys
    size_t hashes_capacity_bytes
    uint64_t keys
    # what the properties say
    uint64_t entries
    uint64_t tombstones
    uint64_t weak_tombstones
    uint64_t min_seqno
    uint64_t max_seqno
    uint64_t raw_bytes          # of keys and values
    BlobRefs blobs              # what its entries refer to
    XXH128_hash_t sum           # of the whole file, once it is finished

cdef class TableWriter:
    """One table being written. Not thread-safe; add may be called without the GIL."""
    cdef Writer *writer
    cdef readonly str path
    cdef bytes encoded_path
    cdef str keyspace_id
    cdef object number
    cdef object must_be_open(self)
    cdef bytes encode_properties(self, Writer *w)
    cdef dict facts(self, Writer *w)

# keys in order (key asc, tag desc); the writer asserts nothing else. ST_OK or a failure in f.
cdef int writer_add(Writer *w, const uint8_t *key, size_t key_bytes, uint64_t tag,
                    const uint8_t *value, size_t value_bytes, Failure *f) noexcept nogil
cdef uint64_t writer_file_bytes(const Writer *w) noexcept nogil     # written so far, with what is buffered
