"""The caller's own metadata, kept in checkpoints and exports: whatever JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["check_metadata"]


def check_metadata(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The caller's metadata as it will be read back."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping that JSON can hold, not {type(metadata).__name__}")
    try:
        read_back: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be what JSON can hold: {error}") from error
    return read_back
