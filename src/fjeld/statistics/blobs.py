"""Figures of a partition's blob files: a pure function over its state and what was counted."""

from __future__ import annotations

from fjeld.maintenance.activity import Activity
from fjeld.maintenance.strategies.blobs import stale
from fjeld.manifest.blob_meta import references
from fjeld.manifest.state import PartitionState
from fjeld.statistics.figures import BlobFigures, ratio

__all__ = ["blob_figures"]


def blob_figures(state: PartitionState, activity: Activity) -> BlobFigures:
    """What is in the files, and what of it is garbage."""
    live = references(state.tables()).values()
    entries = sum(blob.entries for blob in state.blobs)
    record_bytes = sum(blob.record_bytes for blob in state.blobs)
    garbage_bytes = record_bytes - sum(live_bytes for _, live_bytes in live)
    return BlobFigures(
        files=len(state.blobs),
        bytes=sum(blob.size_bytes for blob in state.blobs),
        entries=entries,
        garbage_entries=entries - sum(live_entries for live_entries, _ in live),
        garbage_bytes=garbage_bytes,
        garbage_ratio=ratio(garbage_bytes, record_bytes),
        collectable_files=len(stale(state)),
        moved_bytes=activity.moved_bytes,
    )
