"""An open keyspace whose maintenance is done by hand: nothing runs in the background by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fjeld
from fjeld.engine import Engine
from fjeld.maintenance.live_partition import LivePartition
from tests.small import SMALL_PARTITION
from tests.support import opened, settle


@contextmanager
def by_hand(path: Path, *names: str, **changed: Any) -> Iterator[tuple[fjeld.Keyspace, Engine]]:
    """With these partitions. Its workers are stopped."""
    with opened(
        path,
        **({"memtable_bytes": 1 << 20, "journal_bytes": 1 << 20, "journals_max_bytes": 4 << 20} | changed),
    ) as made:
        for name in names:
            made.partition(name, options=SMALL_PARTITION)
        settle(made)
        engine = made._engine
        engine.maintainer.stop()
        engine.maintainer._closing = False
        engine.maintainer.throttle._released = False
        yield made, engine


def sealed(engine: Engine, name: str) -> LivePartition:
    """The partition, its memtable sealed."""
    live = engine.find(name)
    engine.maintainer.flusher.seal(live)
    return live
