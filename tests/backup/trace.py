"""The trace of file operations as text: names that do not depend on chance, one line an operation."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import Event

# Reads, closings, and what depends on the file system are left out.
SHOWN = (
    "create", "mkdir", "write", "sync", "sync_all", "sync_dir", "seal", "link", "reflink", "copy", "truncate",
    "rename", "unlink",
)  # fmt: skip

NUMBERED = re.compile(r"(?:(?<=MANIFEST-)|(?<=CURRENT\.)|(?<=/))(\d+)(?=$|\.)")
STAGING = re.compile(r"\.([^./]+)\.[0-9a-f]{12}\.fjeld-staging")


class Scribe:
    """Writes traces down. Paths are relative to `folder`; file numbers become letters, in the order of their
    appearance.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._letters: dict[str, str] = {}

    def write(self, trace: list[Event]) -> str:
        """The same line several times in a row is one: how many writes a file takes is not fixed."""
        lines: list[str] = []
        for name, *rest in trace:
            if name in SHOWN:
                line = " ".join([name, *(self._shown(part) for part in rest if isinstance(part, str))])
                if lines[-1:] != [line]:
                    lines.append(line)
        return "".join(f"{line}\n" for line in lines)

    def _shown(self, path: str) -> str:
        relative = (
            str(Path(path).relative_to(self._folder)) if Path(path).is_relative_to(self._folder) else path
        )
        return NUMBERED.sub(self._letter, STAGING.sub(r"\1.staging", relative))

    def _letter(self, match: re.Match[str]) -> str:
        return self._letters.setdefault(str(int(match[1])), chr(ord("A") + len(self._letters)))
