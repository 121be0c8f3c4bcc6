/* The system calls that are not the same everywhere, behind one face: each returns >= 0, or -errno.
 * Where a call does not exist it answers -ENOSYS and the caller does without. */
#ifndef FJELD_SYSTEM_H
#define FJELD_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <linux/fs.h>
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

static inline int64_t fj_result(int64_t r) { return r < 0 ? -(int64_t)errno : r; }

/* As pread, but only what is in the page cache: it never waits for the disk. -EAGAIN: not all of it is there. */
static inline int64_t fj_pread_now(int fd, void *into, size_t n, uint64_t offset) {
#ifdef RWF_NOWAIT
    struct iovec v = {into, n};
    return fj_result(preadv2(fd, &v, 1, (off_t)offset, RWF_NOWAIT));
#else
    (void)fd, (void)into, (void)n, (void)offset;
    return -EAGAIN;
#endif
}

/* The data, and what is needed to read it back, are on disk. */
static inline int fj_sync_data(int fd) {
#ifdef __APPLE__
    return (int)fj_result(fcntl(fd, F_FULLFSYNC));
#else
    return (int)fj_result(fdatasync(fd));
#endif
}
/* The same with all attributes. */
static inline int fj_sync_all(int fd) {
#ifdef __APPLE__
    return (int)fj_result(fcntl(fd, F_FULLFSYNC));
#else
    return (int)fj_result(fsync(fd));
#endif
}
/* A hint: begin to write these bytes to the disk. It promises nothing, and is no part of any promise. */
static inline void fj_start_writing(int fd, uint64_t offset, uint64_t n) {
#ifdef SYNC_FILE_RANGE_WRITE
    (void)!sync_file_range(fd, (off64_t)offset, (off64_t)n, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd, (void)offset, (void)n;
#endif
}
/* The first n bytes of the file have blocks of their own. */
static inline int fj_allocate(int fd, uint64_t n) {
#ifdef __APPLE__
    fstore_t wish = {F_ALLOCATEALL, F_PEOFPOSMODE, 0, (off_t)n, 0};
    if (fcntl(fd, F_PREALLOCATE, &wish) < 0) return -errno;
    return (int)fj_result(ftruncate(fd, (off_t)n));
#else
    return -posix_fallocate(fd, 0, (off_t)n);
#endif
}
/* Both names change places, at once: neither is ever missing. */
static inline int fj_rename_exchange(const char *one, const char *other) {
#ifdef SYS_renameat2
    return (int)fj_result(syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE));
#else
    (void)one, (void)other;
    return -ENOSYS;
#endif
}
static inline int fj_rename_noreplace(const char *source, const char *target) {
#ifdef SYS_renameat2
    return (int)fj_result(syscall(SYS_renameat2, AT_FDCWD, source, AT_FDCWD, target, RENAME_NOREPLACE));
#else
    (void)source, (void)target;
    return -ENOSYS;
#endif
}
/* target shares all blocks of source from now on, copied on write. */
static inline int fj_reflink(int target, int source) {
#ifdef FICLONE
    return (int)fj_result(ioctl(target, FICLONE, source));
#else
    (void)target, (void)source;
    return -ENOSYS;
#endif
}
static inline int64_t fj_copy_range(int source, int target, uint64_t offset, size_t n) {
#ifdef __linux__
    loff_t from = (loff_t)offset, to = (loff_t)offset;
    return fj_result(copy_file_range(source, &from, target, &to, n, 0));
#else
    (void)source, (void)target, (void)offset, (void)n;
    return -ENOSYS;
#endif
}
/* Where data (or, with `hole`, a hole) begins at or after offset. */
static inline int64_t fj_seek(int fd, uint64_t offset, int hole) {
#ifdef SEEK_DATA
    return fj_result(lseek(fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA));
#else
    (void)fd, (void)offset, (void)hole;
    return -EINVAL;
#endif
}
/* As pwrite of two pieces and then zeros (fewer than 8), in one call; like pwrite it may stop anywhere. */
static inline int64_t fj_pwrite_two(int fd, const void *head, size_t head_bytes, const void *body, size_t body_bytes,
                                    size_t zeros, uint64_t offset) {
#ifdef __linux__
    static const char nothing[8] = {0};
    struct iovec v[3] = {{(void *)head, head_bytes}, {(void *)body, body_bytes}, {(void *)nothing, zeros}};
    return fj_result(pwritev(fd, v, 3, (off_t)offset));
#else
    (void)body, (void)body_bytes, (void)zeros;
    return fj_result(pwrite(fd, head, head_bytes, (off_t)offset));
#endif
}
/* The pages can be written without a fault from now on (-EFAULT: writing them would be SIGBUS). */
static inline int fj_populate(void *start, size_t n) { return (int)fj_result(madvise(start, n, MADV_POPULATE_WRITE)); }
/* The pages of a shared mapping leave this process; their bytes stay in the page cache. */
static inline int fj_release(void *start, size_t n) { return (int)fj_result(madvise(start, n, MADV_DONTNEED)); }

#endif
