"""The trace of file operations as text: stable names instead of numbers and random ones, one line an operation."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import Event

# What depends on the machine, or on how much was written, is left out.
SHOWN = ("create", "mkdir", "write", "sync", "sync_all", "sync_dir", "seal", "link", "reflink", "copy", "truncate", "rename", "unlink")


def as_text(trace: list[Event], folder: Path) -> str:
    """Paths are relative to `folder`; the digits of a staging folder's name are left out."""
    lines = []
    for name, path, *rest in trace:
        if name in SHOWN:
            other = [part for part in rest if isinstance(part, str)]
            lines.append(" ".join([name, *(_shown(part, folder) for part in (path, *other))]))
    return "".join(f"{line}\n" for line in collapse(lines))


def collapse(lines: list[str]) -> list[str]:
    """The same line several times in a row is one."""
    return [line for line, before in zip(lines, [None, *lines], strict=False) if line != before]


def _shown(path: str, folder: Path) -> str:
    relative = str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path
    return re.sub(r"\.([^./]+)\.[0-9a-f]{12}\.fjeld-staging", r"\1.staging", relative)
