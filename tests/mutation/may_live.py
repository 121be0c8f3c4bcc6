"""Mutants of which no test should die, and why: what a mistake there changes, nobody is promised.

By file, rule and the line of source that is changed. `./run evidence mutation` lists these apart from the others.
"""

from __future__ import annotations

_PROGRESS = "reports of progress are a byte, or an empty one, more or fewer"
_SIZED = "a file of a version that is moved or checked has a size"
_SKIPPED = "a number of a file may be skipped"
_SET_LATER = "it is set before anybody reads it"

MAY_LIVE: dict[tuple[str, str, str], str] = {
    (
        "backup/closed_keyspace.py",
        "number",
        "next_file=max([version.next_file, manifest + 1, *(number + 1 for number in numbers)]),",
    ): _SKIPPED,
    ("backup/crew.py", "number", "if grown > 0 and future.running():"): _PROGRESS,
    ("backup/crew.py", "and/or", "if grown > 0 and future.running():"): _PROGRESS,
    ("backup/file_check.py", "number", "self.size_bytes = record.size_bytes or 0"): _SIZED,
    (
        "backup/linker.py",
        "number",
        "require_space(self._target, sum(record.size_bytes or 0 for record in records))",
    ): _SIZED,
    (
        "backup/restore.py",
        "number",
        "require_space(parent, sum(record.size_bytes or 0 for record in missing))",
    ): _SIZED,
    (
        "backup/restore_staging.py",
        "number",
        "sealed_or_linked = about.st_nlink > 1 or not about.st_mode & 0o222",
    ): "what is linked and not sealed, from a folder copied without modes, is linked again",
    ("manifest/log.py", "number", "self.size_bytes = 0"): _SET_LATER,
}
