"""The checkpoint: a consistent copy of a running keyspace, in seven steps that nobody waits for.

    1  refuse a target that exists; make the staging folder beside it
    2  under the commit lock: switch the journal, take version and seqno, pin them      writers: microseconds
    3  link every table and blob file of the pinned version (or clone, or copy)
    4  cut the sealed journal's unused tail, sync it; link the journals
    5  write a one-record manifest, CURRENT, checkpoint.json and the marker
    6  sync the folders from below, rename staging to target, sync the parent
    7  let go of the pin

Files are written once (law 1), so a link is as good as a copy; the pin is a reference to files (law 2), so
flushes and compactions go on and install their results meanwhile.

Why 3, 4 and 5 need no order among each other: tables and blob files are whole and on disk from the cut on; what the
documents say follows from the cut and the finished journals; and nobody looks into the staging folder. A power cut
leaves the target only if the rename was done, and that comes after everything: the bytes of each document and journal,
of what was copied (synced by the copy), and each folder's names. The first sync of a group waits for a commit of the file
system, the others find it done (`file_groups`). None of them can be left out by the model of the disk in which the tests
cut the power: each file and each folder forgets what it was not told to keep, whatever else was synced.

Rejected: a thread that makes the links while the journals are synced and the documents written. It saves 2 ms of 20 with
1,000 files; but with it more threads want the interpreter and the processors, and writers' p99.9 with checkpoints back to
back went from 1.1 to 1.6 times that without. One `syncfs` in place of the syncs: it writes what everybody else has not
written yet, active journals too, and nothing bounds its time. Renames and folders synced inside the staging folder, as of
a keyspace that is in use: they make what is seen whole, and nobody sees it.

The variants (chosen partitions, a range of keys, compact) differ in steps 2 to 4 only: nothing is switched and
nothing sealed, the cut holds the memtables, and what does not fit as it is is written to new tables
(`making`). With verify, step 4 ends with every file read back and compared with its checksum.

Rejected: a copy of the journals for the variants. They hold the entries of all partitions and of all keys: a
backup of some would hold the others' bytes, and opening it would have to leave them out.
"""

from __future__ import annotations

import os
import threading
import time

from fjeld.backup.info import CheckpointInfo
from fjeld.backup.making import C, Making, Source, holding, partitions_of
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.request import Request, check_target
from fjeld.backup.staging import Staging
from fjeld.sync_points import sync_point

__all__ = ["Source", "take_checkpoint"]


def take_checkpoint(
    source: Source[C],
    target: str | os.PathLike[str],
    request: Request,
    *,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> CheckpointInfo:
    """See Keyspace.backup_to."""
    started = time.perf_counter()
    source.check_open()
    path = check_target(source.path, target)
    wanted = partitions_of(source.names(), request.partitions)
    with Staging(path) as staging:
        sync_point("backup:staged")
        if request.flush:
            source.flush_all(wanted)
        cut = source.cut(request.snapshot, memory=request.rewrites)
        with holding(source, cut):
            sync_point("backup:cut")
            making = Making(source, staging.path, cut, request)
            making.plan()
            meter = Meter(*making.total, progress, cancel)
            making.move(meter)
            sync_point("backup:linked")
            making.verify(meter)
            source.check_open()
            making.write()
            sync_point("backup:written")
            source.check_open()
            staging.publish()
            sync_point("backup:published")
            return making.info(path, time.perf_counter() - started)
