"""Named points between the steps of flush, compaction, journal rotation, backup and close.

A test installs a function for a name and so stops a thread exactly there, to interleave it with another. In
production the table is empty, and a point costs one look at it.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["clear_sync_points", "set_sync_point", "sync_point"]

_functions: dict[str, Callable[[], None]] = {}


def sync_point(name: str) -> None:
    """Run what a test has installed here, in the thread that passes."""
    if _functions:
        function = _functions.get(name)
        if function is not None:
            function()


def set_sync_point(name: str, function: Callable[[], None] | None) -> None:
    """For tests: run `function` whenever a thread passes the point `name`; None: nothing any more."""
    if function is None:
        _functions.pop(name, None)
    else:
        _functions[name] = function


def clear_sync_points() -> None:
    """For tests: no point runs anything."""
    _functions.clear()
