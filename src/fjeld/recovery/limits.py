"""Room for open files: a reader holds every file that it reads, because their names may go."""

from __future__ import annotations

import errno
import os
import resource

__all__ = ["allow_descriptors", "too_many_files"]

# What the process may open beside: a few sockets, modules, a log.
SPARE_DESCRIPTORS = 64


def allow_descriptors(more: int, path: str) -> None:
    """So many files more may be opened: the soft limit is raised for it, where the hard one permits.

    OSError (EMFILE) that says what to do where it does not.
    """
    try:
        open_now = len(os.listdir("/proc/self/fd"))
    except OSError:  # no /proc: what most processes have
        open_now = 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = open_now + more + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise too_many_files(more, path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def too_many_files(count: int, path: str) -> OSError:
    """The error for a limit that is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OSError(
        errno.EMFILE,
        f"reading needs {count:,} files open at once, and this process may open {hard:,}: "
        "raise the hard limit (ulimit -Hn, or LimitNOFILE= of the service), or compact the keyspace",
        path,
    )
