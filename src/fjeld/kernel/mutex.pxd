# POSIX mutexes, conditions and semaphores: for what may block. Never wait for one while holding the GIL.
from libc.stdint cimport uint64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *m, void *attributes) noexcept
    int pthread_mutex_destroy(pthread_mutex_t *m) noexcept
    int pthread_mutex_lock(pthread_mutex_t *m) noexcept
    int pthread_mutex_trylock(pthread_mutex_t *m) noexcept
    int pthread_mutex_unlock(pthread_mutex_t *m) noexcept
    ctypedef struct pthread_cond_t:
        pass
    int pthread_cond_destroy(pthread_cond_t *c) noexcept
    int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) noexcept
    int pthread_cond_signal(pthread_cond_t *c) noexcept
    int pthread_cond_broadcast(pthread_cond_t *c) noexcept

cdef extern from *:
    """
    #include <errno.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t fj_monotonic_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    static inline int fj_cond_init(pthread_cond_t *c) {
        pthread_condattr_t a;
        pthread_condattr_init(&a);
        pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
        int status = pthread_cond_init(c, &a);
        pthread_condattr_destroy(&a);
        return status;
    }
    /* Wait until the moment given; 0: somebody signalled, 1: the time is over. */
    static inline int fj_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t until_ns) {
        struct timespec t;
        t.tv_sec = (time_t)(until_ns / 1000000000u);
        t.tv_nsec = (long)(until_ns % 1000000000u);
        return pthread_cond_timedwait(c, m, &t) == ETIMEDOUT;
    }
    """
    uint64_t fj_monotonic_ns() noexcept nogil
    int fj_cond_init(pthread_cond_t *c) noexcept nogil
    int fj_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t until_ns) noexcept nogil

# POSIX semaphores: to wake a thread from code that may not wait for anything.
cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *s, int shared, unsigned int value) noexcept
    int sem_destroy(sem_t *s) noexcept
    int sem_post(sem_t *s) noexcept
    int sem_wait(sem_t *s) noexcept
