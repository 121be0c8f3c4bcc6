# Values out of blob files, as Python objects.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fjeld.kernel.blob cimport BlobSet
from fjeld.kernel.blob_format cimport BlobPointer
from fjeld.kernel.failure cimport Failure

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass

cdef extern from *:
    """
    static inline PyObject *fj_bytes_new(size_t n) { return PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n); }
    static inline char *fj_bytes_data(PyObject *o) { return PyBytes_AS_STRING(o); }
    static inline void fj_bytes_drop(PyObject *o) { Py_XDECREF(o); }
    /* Takes the reference over: nobody else has one. */
    static inline PyObject *fj_bytes_cut(PyObject *o, size_t n) { _PyBytes_Resize(&o, (Py_ssize_t)n); return o; }
    """
    PyObject *fj_bytes_new(size_t n) except NULL
    char *fj_bytes_data(PyObject *o) noexcept nogil
    void fj_bytes_drop(PyObject *o) noexcept
    object fj_bytes_cut(PyObject *o, size_t n)

# A value to be read.
cdef struct Wanted:
    BlobPointer pointer
    const uint8_t *key          # borrowed
    size_t key_bytes
    size_t room_bytes
    PyObject *value             # owned: bytes that nobody has seen yet
    int status                  # of reading it

# Note what an entry points to, and make room for it. `wanted_done` or `wanted_drop` in the end.
cdef int wanted_take(Wanted *w, const uint8_t *pointer, const uint8_t *key, size_t key_bytes) except -1
cdef enum:
    WANTED_COLD = 0xFFFFFFF0    # they would have to be waited for

# Read them all, letting go of the GIL at most once. The index of the first that cannot be read, of which f speaks; or count. Without
# `wait` the GIL is kept: WANTED_COLD where some would have to be waited for, or all are too much to be read meanwhile.
cdef uint32_t wanted_read(const BlobSet *s, Wanted *wanted, uint32_t count, bint wait, Failure *f) noexcept
cdef object wanted_done(Wanted *w)              # the value
cdef void wanted_drop(Wanted *w) noexcept

# The value that an entry of this key points to. Lets go of the GIL where it has to wait, or the value is large; without `wait` None there.
cdef object blob_value(const BlobSet *s, const uint8_t *pointer, const uint8_t *key, size_t key_bytes, bint wait)
