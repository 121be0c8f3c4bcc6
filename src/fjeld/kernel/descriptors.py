"""The pool of open file descriptors.

Open descriptors form a ring. When one more would exceed the limit, the hand walks the ring and closes the
first that is not in use and was not used since the hand last passed (second chance). Where all are in use the
limit gives way until one is released.

The spin lock guards the ring and every Descriptor in it; files are opened and closed outside it.
"""

import cython
from cython.cimports.fjeld.kernel.coding import fj_spin_lock, fj_spin_unlock
from cython.cimports.fjeld.kernel.files import file_close, file_open_read
from cython.cimports.libc.errno import EMFILE, ENFILE
from cython.cimports.libc.stdlib import calloc, free


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def descriptor_acquire(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.int:
    fd: cython.int
    surplus: cython.int = -1
    fj_spin_lock(cython.address(pool.lock))
    if d.fd < 0:
        fj_spin_unlock(cython.address(pool.lock))
        fd = open_file(pool, d.path)
        if fd < 0:
            return fd
        fj_spin_lock(cython.address(pool.lock))
        if d.fd < 0:
            d.fd = fd
            link(pool, d)
            d.users += 1  # so that it is not the one to be closed
            if pool.open_count > pool.limit:
                surplus = close_one_idle(pool)
            d.users -= 1
        else:
            surplus = fd  # another thread opened it meanwhile
    d.users += 1
    d.recent = 1
    fd = d.fd
    fj_spin_unlock(cython.address(pool.lock))
    if surplus >= 0:
        file_close(surplus)
    return fd


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def descriptor_acquire_open(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.int:
    fj_spin_lock(cython.address(pool.lock))
    fd: cython.int = d.fd
    if fd >= 0:
        d.users += 1
        d.recent = 1
    fj_spin_unlock(cython.address(pool.lock))
    return fd


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def descriptor_release(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.void:
    surplus: cython.int = -1
    fj_spin_lock(cython.address(pool.lock))
    d.users -= 1
    if d.users == 0 and pool.open_count > pool.limit:
        surplus = unlink(pool, d)
    fj_spin_unlock(cython.address(pool.lock))
    if surplus >= 0:
        file_close(surplus)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def descriptor_forget(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.void:
    surplus: cython.int = -1
    fj_spin_lock(cython.address(pool.lock))
    if d.fd >= 0:
        surplus = unlink(pool, d)
    fj_spin_unlock(cython.address(pool.lock))
    if surplus >= 0:
        file_close(surplus)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def open_file(pool: cython.pointer[Descriptors], path: cython.p_const_char) -> cython.int:
    """Open; where the process or the machine has no descriptor left, give up idle ones of ours for it."""
    surplus: cython.int
    fd: cython.int = file_open_read(path)
    while fd == -EMFILE or fd == -ENFILE:
        fj_spin_lock(cython.address(pool.lock))
        surplus = close_one_idle(pool)
        fj_spin_unlock(cython.address(pool.lock))
        if surplus < 0:
            break
        file_close(surplus)
        fd = file_open_read(path)
    return fd


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def close_one_idle(pool: cython.pointer[Descriptors]) -> cython.int:
    """Second chance: take one out of the ring, for the caller to close. -1: all are in use.

    Requires: the pool's lock.
    """
    i: cython.int
    d: cython.pointer[Descriptor]
    for i in range(2 * pool.open_count):  # the first round may only clear the bits
        d = pool.hand
        pool.hand = d.next
        if d.users == 0 and d.recent == 0:
            return unlink(pool, d)
        if d.users == 0:
            d.recent = 0
    return -1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def link(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.void:
    """Into the ring behind the hand: the last that it will come to. Requires: the pool's lock."""
    if pool.hand == cython.NULL:
        d.next = d.previous = d
        pool.hand = d
    else:
        d.next = pool.hand
        d.previous = pool.hand.previous
        d.previous.next = d
        d.next.previous = d
    pool.open_count += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unlink(pool: cython.pointer[Descriptors], d: cython.pointer[Descriptor]) -> cython.int:
    """Out of the ring; the descriptor that is to be closed. Requires: the pool's lock."""
    fd: cython.int = d.fd
    if pool.hand == d:
        pool.hand = d.next if d.next != d else cython.NULL
    d.previous.next = d.next
    d.next.previous = d.previous
    d.next = d.previous = cython.NULL
    d.fd = -1
    d.recent = 0
    pool.open_count -= 1
    return fd


@cython.final
@cython.cclass
class DescriptorPool:
    """Owns the ring. Any thread. The descriptors' owners keep the pool alive and leave it before they go."""

    def __cinit__(self, limit: cython.int):
        if limit < 1:
            raise ValueError("the limit of open descriptors must be at least 1")
        self.pool = cython.cast(cython.pointer[Descriptors], calloc(1, cython.sizeof(Descriptors)))
        if self.pool == cython.NULL:
            raise MemoryError()
        self.pool.limit = limit

    def __dealloc__(self):
        free(self.pool)

    @property
    def limit(self) -> int:
        return self.pool.limit

    @property
    def open_count(self) -> int:
        fj_spin_lock(cython.address(self.pool.lock))
        count: cython.int = self.pool.open_count
        fj_spin_unlock(cython.address(self.pool.lock))
        return count

    def close_all(self) -> None:
        """Close every descriptor that is not in use; they open again when they are needed."""
        pool: cython.pointer[Descriptors] = self.pool
        fd: cython.int
        with cython.nogil:
            while True:
                fj_spin_lock(cython.address(pool.lock))
                fd = close_one_idle(pool)
                fj_spin_unlock(cython.address(pool.lock))
                if fd < 0:
                    break
                file_close(fd)

    def check(self) -> None:
        """Assert that the ring is closed in both directions and as long as the count says."""
        pool: cython.pointer[Descriptors] = self.pool
        d: cython.pointer[Descriptor]
        steps: cython.int = 0
        sound: cython.bint = True
        fj_spin_lock(cython.address(pool.lock))
        d = pool.hand
        while d != cython.NULL and steps <= pool.open_count:
            sound = sound and d.next.previous == d and d.fd >= 0 and d.users >= 0
            steps += 1
            d = d.next
            if d == pool.hand:
                break
        sound = sound and steps == pool.open_count
        fj_spin_unlock(cython.address(pool.lock))
        if not sound:
            raise AssertionError("the ring of open descriptors is broken")
