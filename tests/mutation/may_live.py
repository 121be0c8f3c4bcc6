"""Mutants of which no test should die, and why: what a mistake there changes, nobody is promised.

By file, rule and the line of source that is changed. `./run evidence mutation` lists these apart from the others.
"""

from __future__ import annotations

_PROGRESS = "reports of progress are a byte, or an empty one, more or fewer"
_SET_LATER = "it is set before anybody reads it"

MAY_LIVE: dict[tuple[str, str, str], str] = {
    ("backup/crew.py", "number", "if grown > 0 and future.running():"): _PROGRESS,
    ("backup/crew.py", "and/or", "if grown > 0 and future.running():"): _PROGRESS,
    ("manifest/log.py", "number", "self.size_bytes = 0"): _SET_LATER,
}
