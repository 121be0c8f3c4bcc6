"""Several keyspaces at one moment: one cut over all of them, then each its own checkpoint.

All commit locks are held together (`fjeld.cut`), so the checkpoints agree with each other: whoever writes to one
keyspace and then to another is never found in the second alone. Everything else is done as for one, step by
step for all, and published last: the targets appear all, or none. (A power cut in between the renames may leave
some of them: each is whole by itself.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

from fjeld.backup.info import CheckpointInfo
from fjeld.backup.making import Making, Source, holding
from fjeld.backup.progress import Meter, Progress
from fjeld.backup.request import Request, check_target
from fjeld.backup.staging import Staging
from fjeld.cut import Cut, Cuttable, cut_together
from fjeld.sync_points import sync_point

__all__ = ["OpenSource", "take_together"]


class OpenSource(Source[Cut], Cuttable, Protocol):
    """An open keyspace that can be cut together with others."""

    @property
    def path(self) -> str: ...
    def refuse(self) -> None: ...


S = TypeVar("S", bound=OpenSource)


def take_together(
    chosen: Mapping[str, S],
    request: Request,
    *,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> dict[Path, CheckpointInfo]:
    """See fjeld.backup_together. chosen: the keyspace of each target. Requires: a request of whole keyspaces."""
    assert not request.rewrites
    assert request.snapshot is None
    started = time.perf_counter()
    sources = list(chosen.values())
    targets = _check(list(chosen), sources)
    with ExitStack() as stack:
        stagings = [stack.enter_context(Staging(target)) for target in targets]
        sync_point("together:staged")
        if request.flush:
            for source in sources:
                source.flush_all()
        _require_writable(sources)
        cuts = cut_together(sources)
        for source, cut in zip(sources, cuts, strict=True):
            stack.enter_context(holding(source, cut))
        sync_point("together:cut")
        makings = [
            Making(source, staging.path, cut, request)
            for source, staging, cut in zip(sources, stagings, cuts, strict=True)
        ]
        _build(makings, progress, cancel)
        for source in sources:
            source.check_open()
        sync_point("together:written")
        for staging in stagings:
            staging.publish()
            sync_point("together:published")
        elapsed_seconds = time.perf_counter() - started
        return {
            Path(target): making.info(target, elapsed_seconds)
            for target, making in zip(targets, makings, strict=True)
        }


def _build(makings: Sequence[Making], progress: Progress | None, cancel: threading.Event | None) -> None:
    for making in makings:
        making.plan()
    totals = [making.total for making in makings]
    meter = Meter(
        sum(files for files, _ in totals), sum(size_bytes for _, size_bytes in totals), progress, cancel
    )
    for making in makings:
        making.move(meter)
    for making in makings:
        making.verify(meter)
    for making in makings:
        making.write()


def _require_writable(sources: Sequence[OpenSource]) -> None:
    for source in sources:
        source.check_open()
        source.refuse()


def _check(targets: Sequence[str], sources: Sequence[OpenSource]) -> list[str]:
    """The absolute targets: none of them twice, none in any of the keyspaces, no keyspace twice."""
    for source in sources:
        source.check_open()
    if len({id(source) for source in sources}) < len(sources):
        raise ValueError("a keyspace is given twice: one backup of it is enough")
    paths: list[str] = []
    places: set[str] = set()
    for target in targets:
        path = ""
        for source in sources:
            path = check_target(source.path, target)
        parent, name = os.path.split(path)
        place = os.path.join(os.path.realpath(parent), name)
        if place in places:
            raise ValueError(f"the target {path} is given twice")
        places.add(place)
        paths.append(path)
    return paths
