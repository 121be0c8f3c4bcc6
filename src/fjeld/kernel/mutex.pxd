# POSIX mutexes and semaphores: for what may block. Never wait for one while holding the GIL.
cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *m, void *attributes) noexcept
    int pthread_mutex_destroy(pthread_mutex_t *m) noexcept
    int pthread_mutex_lock(pthread_mutex_t *m) noexcept
    int pthread_mutex_trylock(pthread_mutex_t *m) noexcept
    int pthread_mutex_unlock(pthread_mutex_t *m) noexcept

# POSIX semaphores: to wake a thread from code that may not wait for anything.
cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *s, int shared, unsigned int value) noexcept
    int sem_destroy(sem_t *s) noexcept
    int sem_post(sem_t *s) noexcept
    int sem_wait(sem_t *s) noexcept
