# POSIX mutexes: for what may block. Never wait for one while holding the GIL.
cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *m, void *attributes) noexcept
    int pthread_mutex_destroy(pthread_mutex_t *m) noexcept
    int pthread_mutex_lock(pthread_mutex_t *m) noexcept
    int pthread_mutex_trylock(pthread_mutex_t *m) noexcept
    int pthread_mutex_unlock(pthread_mutex_t *m) noexcept
