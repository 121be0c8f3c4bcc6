"""What writers feel of maintenance: they are slowed, and halted, while it is behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from fjeld.errors import CorruptionError
from fjeld.journal.rotation import JournalRotation
from fjeld.kernel.commit import PRESSURE, Commit
from fjeld.maintenance.backpressure import (
    FASTEST_RATE,
    Decision,
    Go,
    Limits,
    Load,
    Slow,
    StallReason,
    Stop,
    decide,
)
from fjeld.maintenance.failures import again
from fjeld.maintenance.live_partition import LivePartition
from fjeld.maintenance.pacer import Pacer, RateMeter
from fjeld.manifest.store import VersionStore
from fjeld.options import KeyspaceOptions

__all__ = ["Throttle"]

# How often a writer that waits looks again, in case that nobody has told it.
LOOK_AGAIN_SECONDS = 0.05

# How old a decision may be that a writer goes by: as many writes as fit into it find it made.
FRESH_SECONDS = 0.001

# What a writer waits for its debt at once; the rest it, or the next one, waits later.
MAX_WAIT_SECONDS = 1.0

# What an entry takes in journal and memtable beside key and value.
ENTRY_BYTES = 32

Obstacle = Callable[[StallReason, LivePartition], BaseException | None]


class Throttle:
    """Decides how fast writers may go, and keeps them waiting.

    Thread safety: any thread may call any method. `_stalls` and `_changes` are guarded by `_lock`; whoever
    waits is among `_waiting`; `_pressing` serialises decisions, so that the newest one stands.
    """

    def __init__(
        self,
        store: VersionStore,
        commit: Commit,
        rotation: JournalRotation,
        options: KeyspaceOptions,
        partitions: Callable[[], Iterable[LivePartition]],
        *,
        flush_straggler: Callable[[], None],
    ) -> None:
        self._store = store
        self._commit = commit
        self._rotation = rotation
        self._options = options
        self._partitions = partitions
        self._flush_straggler = flush_straggler
        self._lock = threading.Lock()  # taken by itself: no KeyboardInterrupt comes between lock and block
        # Not a Condition, nor an Event: an interrupt while their `wait` takes the lock back leaves it to nobody knows
        # whom. Each of those who wait has a lock that is taken, and is given back once.
        self._waiting: set[threading.Lock] = set()
        self._changes = 0
        """How often something has changed: what changes between a look and a wait is not missed."""
        self._pressing = threading.Lock()
        self._pacer = Pacer()
        self._free = RateMeter()
        """Of writers that nothing slowed."""
        self._decided: Decision = Go()
        self._decided_at = 0.0
        self._stalls: dict[StallReason, tuple[int, float]] = dict.fromkeys(StallReason, (0, 0.0))
        self._released = False
        self.compacts = True
        """Whether what only compaction takes away slows anybody: not while it is paused."""

    def notify(self) -> None:
        """Something has changed: who waits looks again."""
        with self._lock:
            self._changes += 1
            while self._waiting:
                self._waiting.pop().release()

    def release(self) -> None:
        """Keep nobody waiting any more."""
        self._released = True
        self.notify()

    @property
    def stalls(self) -> dict[str, tuple[int, float]]:
        """By reason, how often writers have waited and for how many seconds in all."""
        with self._lock:
            return {reason.value: stall for reason, stall in self._stalls.items()}

    # ---- the decision ----

    def decision(self) -> tuple[Decision, LivePartition | None]:
        """The strictest decision now, and the partition that it is for."""
        journals_bytes = self._rotation.sealed_bytes()
        fastest = max(FASTEST_RATE, self._free.bytes_per_second)
        strictest: Go | Slow = Go()
        found: LivePartition | None = None
        for partition in self._partitions():
            load = self._load(partition, journals_bytes)
            if load is None:
                continue
            decision = decide(load, Limits.of(self._options, partition.options), fastest)
            if isinstance(decision, Stop):
                return decision, partition
            if isinstance(decision, Slow) and (
                isinstance(strictest, Go) or decision.bytes_per_second < strictest.bytes_per_second
            ):
                strictest, found = decision, partition
        return strictest, found

    def _load(self, partition: LivePartition, journals_bytes: int) -> Load | None:
        state = self._store.version.partitions.get(partition.id)
        if state is None:
            return None
        sealed = partition.sealed_memtables()
        return Load(
            sealed_memtables=len(sealed),
            active_part=partition.core.active_part(),
            level0_runs=len(state.levels[0]) if self.compacts else 0,
            journals_bytes=journals_bytes,
            garbage=partition.waiting_garbage(state) if self.compacts else 0.0,
        )

    def update(self) -> Decision:
        """Decide anew, and tell writers whether they have to come and ask."""
        with self._pressing:
            before = self._decided
            if isinstance(before, Go):
                self._free.look(self._written_bytes(), time.monotonic())
            decision, _ = self.decision()
            if not isinstance(decision, Go) and decision.reason is StallReason.JOURNALS:
                self._flush_straggler()
            if isinstance(before, Go) != isinstance(decision, Go):
                self._pacer.restart(self._written_bytes(), time.monotonic())
                self._free.restart(self._written_bytes(), time.monotonic())
            self._decided, self._decided_at = decision, time.monotonic()
            self._commit.attend(PRESSURE, not isinstance(decision, Go))
            return decision

    def _written_bytes(self) -> int:
        return self._commit.written_bytes + ENTRY_BYTES * self._commit.last_seqno

    # ---- waiting ----

    def relieve(self, obstacle: Obstacle, retry_now: Callable[[], None]) -> None:
        """Called by a writer while there is pressure: waits as long as the pressure asks for.

        obstacle(reason, partition): why the work that a stop waits for does not get done, if it does not. It is
        raised, as the writer would wait for ever; nothing was written. retry_now(): called before the wait.
        """
        decision = self._decided
        if time.monotonic() - self._decided_at > FRESH_SECONDS:
            decision = self.update()
        started = time.monotonic()
        if isinstance(decision, Slow) and not self._pace(decision):
            return
        if isinstance(decision, Stop):
            self._halt(obstacle, retry_now)
        if not isinstance(decision, Go):
            self._note(decision.reason, time.monotonic() - started)

    def _note(self, reason: StallReason, seconds: float) -> None:
        with self._lock:
            count, total_seconds = self._stalls[reason]
            self._stalls[reason] = (count + 1, total_seconds + seconds)

    def _pace(self, decision: Decision) -> bool:
        """Wait for what writers owe; False where that is not worth it yet."""
        started = now = time.monotonic()
        while isinstance(decision, Slow) and now - started < MAX_WAIT_SECONDS and not self._released:
            wait_seconds = self._pacer.wait_seconds(self._written_bytes(), decision.bytes_per_second, now)
            if wait_seconds == 0:
                break
            self._wait(self._changes, min(wait_seconds, LOOK_AGAIN_SECONDS))
            decision, now = self.update(), time.monotonic()
        return now > started

    def _halt(self, obstacle: Obstacle, retry_now: Callable[[], None]) -> None:
        seen = self._changes
        decision, partition = self.decision()
        known = self._obstacle(obstacle, decision, partition)
        retry_now()
        while isinstance(decision, Stop) and not self._released:
            met = self._obstacle(obstacle, decision, partition)
            # What failed before this writer came is tried again, for it, before it is told.
            if met is not None and (met is not known or isinstance(met, CorruptionError)):
                raise again(met)
            self.update()
            self._wait(seen, LOOK_AGAIN_SECONDS)
            seen = self._changes
            decision, partition = self.decision()
        self.update()

    def _wait(self, seen: int, seconds: float) -> None:
        """Wait so long, or until something changes that `seen` does not count."""
        changed = threading.Lock()
        changed.acquire()
        try:
            with self._lock:
                if self._changes != seen or self._released:
                    return
                self._waiting.add(changed)
            changed.acquire(timeout=seconds)
        finally:
            with self._lock:
                self._waiting.discard(changed)

    @staticmethod
    def _obstacle(
        obstacle: Obstacle, decision: Decision, partition: LivePartition | None
    ) -> BaseException | None:
        if not isinstance(decision, Stop) or partition is None:
            return None
        return obstacle(decision.reason, partition)
