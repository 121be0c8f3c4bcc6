# A bounded set of open file descriptors, shared by the tables of a keyspace: 100,000 tables need no more than the limit.

# One file's place in a pool. Whoever owns the file embeds one, with fd = -1 and path set, and the rest zero.
cdef struct Descriptor:
    const char *path        # borrowed from the owner
    int fd                  # -1: not open just now
    int users               # reads under way; a descriptor in use is not closed
    int recent              # the second-chance bit
    Descriptor *next        # the ring of open descriptors
    Descriptor *previous

cdef struct Descriptors:
    int lock
    int limit
    int open_count
    Descriptor *hand        # the next to look at for closing; NULL: none is open

# The descriptor, open and in use until it is released; or -errno. May block: call it without the GIL.
cdef int descriptor_acquire(Descriptors *pool, Descriptor *d) noexcept nogil
# The same if the file is open just now, else -1: does not block.
cdef int descriptor_acquire_open(Descriptors *pool, Descriptor *d) noexcept nogil
cdef void descriptor_release(Descriptors *pool, Descriptor *d) noexcept nogil
# The owner goes. Requires: nobody uses it.
cdef void descriptor_forget(Descriptors *pool, Descriptor *d) noexcept nogil

cdef class DescriptorPool:
    cdef Descriptors *pool
