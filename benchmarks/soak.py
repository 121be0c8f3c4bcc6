"""Hours of random work on a bounded disk, compared with a model in memory all the time.

Partitions with different strategies are written, cleared, dropped; snapshots and iterators are held for long;
every now and then a backup is taken while writes go on, opened, and compared entry by entry with what was
there at its seqno; every few minutes the keyspace is closed, a process works on it and is killed, and what it
acknowledged is looked for. Ends with exit code 1 at the first difference, and leaves the folder behind. The
operations follow from the seed; when the other things happen follows from the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import fjeld
from benchmarks.harness import disk_bytes
from benchmarks.soak_crash import burst
from benchmarks.soak_held import Held, check_snapshot
from benchmarks.soak_model import (
    CATALOGUE,
    FIFO,
    Difference,
    Model,
    Operation,
    Store,
    Workload,
    compare,
    key_of,
    plan,
)

ROUND = 200  # operations between two looks at the clock
KEPT_BACKUPS = 3
WORD_SECONDS = 60.0


@dataclass
class Backup:
    """One that is under way in a thread of its own."""

    target: Path
    base: Model
    since: list[tuple[int, Operation]] = field(default_factory=list)
    """(the seqno after it, operation): what was done since `base` was copied."""
    info: fjeld.CheckpointInfo | None = None
    failure: BaseException | None = None
    thread: threading.Thread | None = None

    def begin(self, keyspace: fjeld.Keyspace) -> None:
        self.thread = threading.Thread(target=self._take, args=[keyspace], daemon=True)
        self.thread.start()

    def _take(self, keyspace: fjeld.Keyspace) -> None:
        try:
            self.info = keyspace.backup_to(self.target, with_snapshot=True)
        except BaseException as error:
            self.failure = error

    @property
    def ended(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()

    def result(self) -> tuple[fjeld.CheckpointInfo, Model]:
        """What was taken, and what must be in it. Waits for it."""
        assert self.thread is not None
        self.thread.join()
        if self.failure is not None:
            raise self.failure
        assert self.info is not None
        for seqno, operation in self.since:
            if seqno <= self.info.seqno:
                self.base.apply(operation)
        return self.info, self.base


@dataclass(frozen=True)
class Limits:
    seconds: float
    disk_bytes: int
    backup_seconds: float
    crash_seconds: float


class Soak:
    """Everything that is open, and what must be in it. For one thread."""

    def __init__(self, folder: Path, seed: int, limits: Limits) -> None:
        self._folder, self._seed, self._limits = folder, seed, limits
        self._workload = Workload(limits.disk_bytes)
        self._model = Model({name: {} for name in self._workload.partitions()})
        self._chance = random.Random(seed)
        self._store = Store(folder / "keyspace", self._workload)
        self._plan = plan(str(seed), self._workload, 0)
        self._backup: Backup | None = None
        self._kept: list[tuple[Path, Model]] = []
        self.counts: Counter[str] = Counter()
        self._held = Held(self._chance, limits.seconds / 4, self.counts)

    # ---- the loop ----

    def run(self) -> None:
        start = time.perf_counter()
        next_backup, next_crash = start + self._limits.backup_seconds, start + self._limits.crash_seconds
        next_word = start + WORD_SECONDS
        while (now := time.perf_counter()) < start + self._limits.seconds:
            self._work(islice(self._plan, ROUND))
            self._read()
            self._held.go_on(self._store, self._model, now)
            if self._backup is not None and self._backup.ended:
                self._finish_backup()
            if self._backup is None and now > next_backup:
                self._bound_the_disk()
                self._begin_backup()
                next_backup = now + self._limits.backup_seconds
            if now > next_crash:
                self._crash()
                next_crash = time.perf_counter() + self._limits.crash_seconds
            if now > next_word:
                print(f"{now - start:,.0f} s: {self.summary()}", file=sys.stderr)
                next_word = now + WORD_SECONDS
        self._reopen()
        while self._kept:
            self._drop_backup()
        self._store.keyspace.close()

    def summary(self) -> str:
        return ", ".join(f"{count:,} {what}" for what, count in self.counts.items())

    def _work(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if self._backup is not None and operation.kind in CATALOGUE:
                continue
            self._store.apply(operation)
            self._model.apply(operation)
            if self._backup is not None:
                self._backup.since.append((self._store.keyspace.seqno, operation))
            if operation.kind == "drop":
                self._held.dropped(operation.partition)
            self.counts["operations"] += 1

    def _read(self) -> None:
        """A range and as many gets of each partition; of "fifo" how far it has forgotten."""
        for name, partition in self._store.partitions.items():
            contents = self._model.contents[name]
            if name == FIFO:
                oldest = partition.first()
                first_key = oldest[0] if oldest is not None else None
                forgotten = self._model.forget(first_key, self._workload.fifo_bytes)
                self.counts["entries forgotten"] += forgotten
                continue
            first = self._chance.randrange(self._workload.keys)
            keys = [key_of(first + offset) for offset in range(100)]
            expected = {key: contents[key] for key in keys if key in contents}
            compare("a range", name, partition.range(keys[0], keys[-1], include_stop=True), expected)
            if partition.get_many(keys) != [contents.get(key) for key in keys]:
                raise Difference(f"get_many, partition {name!r}: not the values from {keys[0]!r} on")
            self.counts["entries compared"] += 2 * len(expected)

    def _compare_all(self, where: str, store: Store, model: Model) -> None:
        for name, contents in model.contents.items():
            compare(where, name, store.partitions[name].range(), contents)
            self.counts["entries compared"] += len(contents)

    # ---- backups ----

    def _begin_backup(self) -> None:
        self.counts["backups"] += 1
        self._backup = Backup(self._folder / f"backup{self.counts['backups']}", self._model.copy())
        self._backup.begin(self._store.keyspace)

    def _finish_backup(self) -> None:
        """Compares the digest with the source's, and every entry with the model."""
        assert self._backup is not None
        (info, model), target = self._backup.result(), self._backup.target
        self._backup = None
        assert info.snapshot is not None
        where = f"{target.name} (seqno {info.seqno})"
        with info.snapshot as snapshot:
            digest = self._store.keyspace.digest(snapshot=snapshot)
            self.counts["entries compared"] += check_snapshot(f"the snapshot of {where}", snapshot, model)
            in_fifo = len(snapshot.partition(FIFO))
        opened = Store(target, self._workload)
        with opened.keyspace as keyspace:
            same = keyspace.digest() == digest
            # Once opened it forgets by itself: with less in "fifo" its digest is another one.
            if not same and len(opened.partitions[FIFO]) == in_fifo:
                raise Difference(f"{where} has not the digest of the keyspace at its seqno")
            self.counts["digests equal"] += same
            self._compare_all(where, opened, model)
        self._kept.append((target, model))
        if len(self._kept) > KEPT_BACKUPS:
            self._drop_backup()

    def _drop_backup(self) -> None:
        """The oldest: nothing that was written since may have changed it."""
        target, model = self._kept.pop(0)
        opened = Store(target, self._workload)
        with opened.keyspace:
            self._compare_all(f"{target.name}, later", opened, model)
        shutil.rmtree(target)

    def _bound_the_disk(self) -> None:
        while (used := disk_bytes(self._folder)) > self._limits.disk_bytes:
            if not self._kept:
                raise Difference(f"the disk grew to {used:,} bytes without a backup")
            self._drop_backup()

    # ---- the end of a process ----

    def _reopen(self) -> None:
        """Ends all that is held, closes, opens, compares."""
        if self._backup is not None:
            self._finish_backup()
        self._held.end()
        self._compare_all("before closing", self._store, self._model)
        digest = self._store.keyspace.digest()
        in_fifo = len(self._store.partitions[FIFO])
        self._store.keyspace.close()
        self._store = Store(self._folder / "keyspace", self._workload)
        if self._store.keyspace.digest() != digest and len(self._store.partitions[FIFO]) == in_fifo:
            raise Difference("the digest is another one after closing and opening")
        self._compare_all("after closing and opening", self._store, self._model)
        self.counts["closed"] += 1

    def _crash(self) -> None:
        """A process works and is killed; what it has told of must be there, and at most one operation more."""
        self._reopen()
        self._store.keyspace.close()
        seed, path = f"{self._seed}/{self.counts['crashes']}", self._folder / "keyspace"
        seconds = self._chance.uniform(0, min(5, self._limits.seconds / 10))
        done = burst(path, seed, self._workload, self._model.appended, seconds)
        operations = plan(seed, self._workload, self._model.appended)
        for operation in islice(operations, done):
            self._model.apply(operation)
        self._store = Store(path, self._workload)
        where = f"after crash {self.counts['crashes'] + 1}, {done:,} operations told of"
        try:
            self._compare_all(where, self._store, self._model)
        except Difference as difference:
            self._model.apply(next(operations))
            try:
                self._compare_all(where, self._store, self._model)
            except Difference as other:
                raise Difference(f"{difference}; or with one operation more: {other}") from None
        self._plan = plan(f"{seed}/after", self._workload, self._model.appended)
        self.counts["crashes"] += 1
        self.counts["operations"] += done


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--disk-mb", type=float, default=2_000)
    parser.add_argument("--backup-seconds", type=float, default=60)
    parser.add_argument("--crash-seconds", type=float, default=240)
    parser.add_argument("--seed", type=int, help="default: another one each time; it is shown")
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="fjeld-soak-", dir=chosen.dir))
    limits = Limits(chosen.seconds, int(chosen.disk_mb * 1e6), chosen.backup_seconds, chosen.crash_seconds)
    soak = Soak(folder, seed, limits)
    try:
        soak.run()
    except Exception as error:
        print(f"seed {seed}, {soak.summary()}", file=sys.stderr)
        print(f"{type(error).__name__}: {error}\nleft in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    if chosen.json:
        print(json.dumps({"seed": seed, "seconds": chosen.seconds, **soak.counts}, indent=2))
    else:
        print("| | |\n|---|--:|")
        for what, count in [("seed", seed), *soak.counts.items()]:
            print(f"| {what} | {count if what == 'seed' else f'{count:,}'} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
