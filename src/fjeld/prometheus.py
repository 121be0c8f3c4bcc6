"""A keyspace's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from fjeld.keyspace import Keyspace
from fjeld.readonly.keyspace import ReadOnlyKeyspace
from fjeld.statistics.exposition import exposition

__all__ = ["prometheus_text"]


def prometheus_text(keyspace: Keyspace | ReadOnlyKeyspace, *, labels: Mapping[str, str] | None = None) -> str:
    """The figures of an open keyspace in Prometheus' text exposition format, version 0.0.4: what a server's
    /metrics answers, as `text/plain; version=0.0.4`.

    labels: put on every sample, to tell keyspaces of one process apart; ValueError where a name cannot be a
    label's.
    """
    return exposition(keyspace.figures(), {} if labels is None else labels)
