# One data block of a table that is surveyed (table_check).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob_refs cimport BlobRefs
from fjeld.kernel.checksum cimport XXH3_state_t, XXH128_hash_t
from fjeld.kernel.table cimport Table

# What was wrong in one place.
cdef struct Finding:
    uint64_t offset
    const char *what            # static text

cdef enum:
    # Keys that are hashed and looked up together: enough that none waits for another, few enough for the first-level cache.
    KEYS = 64
    # Where they are put together: one of the longest always has room, and KEYS of the usual.
    KEYS_BYTES = 80 << 10

# An entry where it lies.
cdef struct Parsed:
    const uint8_t *suffix
    uint64_t suffix_bytes
    uint64_t value_bytes
    uint64_t tag                # as in the file: seqno << 3 | kind

# One block on the way through it: the entry before, and what was counted.
cdef struct Walk:
    const uint8_t *end
    const uint8_t *prefix       # of all keys of the block
    uint64_t prefix_bytes
    uint64_t told_seqno         # of an ingested table, which the manifest says; else 0
    uint64_t head               # the first 8 bytes of the suffix
    const uint8_t *suffix
    uint64_t suffix_bytes
    uint64_t tag
    uint64_t keys
    uint64_t tombstones
    uint64_t weak_tombstones
    uint64_t min_seqno
    uint64_t max_seqno
    uint64_t raw_bytes          # without the prefixes

# One survey: what was counted and found on the way through.
cdef struct Survey:
    uint64_t entries
    uint64_t keys
    uint64_t tombstones
    uint64_t weak_tombstones
    uint64_t min_seqno
    uint64_t max_seqno
    uint64_t raw_bytes
    uint64_t size_bytes
    XXH128_hash_t xxh128
    bint whole                  # all blocks could be read: the counts are those of the table
    # the last key of the block before; behind a bad block it is not known
    uint8_t *previous
    size_t previous_bytes
    uint64_t previous_tag
    size_t previous_capacity_bytes
    bint has_previous
    # memory used again and again
    uint8_t *chunk
    size_t chunk_capacity_bytes
    uint8_t *plain              # a block, decompressed
    size_t plain_capacity_bytes
    # keys that are still to be looked up in the filter; those that have a prefix are put together
    const uint8_t *key_at[KEYS]
    uint32_t key_lengths[KEYS]
    uint64_t hashes[KEYS]
    uint32_t key_count
    uint8_t *together
    size_t together_bytes
    size_t together_capacity_bytes
    XXH3_state_t *state
    Finding *findings
    size_t finding_count
    size_t finding_capacity_bytes
    uint8_t *properties         # the payload of the properties block; NULL: it could not be read
    uint32_t properties_bytes
    BlobRefs blobs              # what the entries refer to
    uint64_t ahead_bytes        # that the disk is asked for at once; 0: the system reads ahead by itself
    const int *cancelled        # NULL, or set by another thread to stop

# Keep a finding. ST_OK or ST_NOMEM.
cdef int note(Survey *s, uint64_t offset, const char *what) noexcept nogil
# Check block i, which lies at `block` with its trailer. What is wrong is a finding. ST_OK or ST_NOMEM.
cdef int survey_block(Table *t, Survey *s, uint32_t i, const uint8_t *block, size_t n) noexcept nogil
