"""Mutants of which no test should die, and why: what a mistake there changes, nobody is promised.

`./run evidence mutation` lists these apart from the others.
"""

from __future__ import annotations

from tests.mutation.mutator import Mutation

_PROGRESS = "reports of progress are a byte, or an empty one, more or fewer"
_SIZED = "a file of a version that is moved or checked has a size"
_SKIPPED = "a number of a file may be skipped"

MAY_LIVE: list[tuple[str, str, str, str]] = [
    ("backup/", "number 0", "size_bytes or 0", _SIZED),
    ("backup/crew.py", "number 0", "if grown > 0 and future.running():", _PROGRESS),
    ("backup/crew.py", "and/or", "if grown > 0 and future.running():", _PROGRESS),
    ("backup/closed_keyspace.py", "number 1", "next_file=max([version.next_file, manifest + 1,", _SKIPPED),
    (
        "backup/together.py",
        "call stack.enter_context(holding(",
        "stack.enter_context(holding(source, cut))",
        "the cut goes with the call; only what is said of a keyspace that was closed meanwhile is another thing",
    ),
    (
        "backup/restore_staging.py",
        "number 1",
        "sealed_or_linked = about.st_nlink > 1 or",
        "what is linked and not sealed, out of a folder copied without its modes, is linked again",
    ),
    ("manifest/log.py", "number 0", "self.size_bytes = 0", "it is set again before anybody reads it"),
]
"""How the file begins, the rule and what it changes, what is in the line; the reason."""


def reason_for(file: str, mutation: Mutation) -> str | None:
    """Why it may live, if it may."""
    what = f"{mutation.rule} {mutation.before}"
    for beginning, changed, line, reason in MAY_LIVE:
        if file.startswith(beginning) and what.startswith(changed) and line in mutation.there:
            return reason
    return None
