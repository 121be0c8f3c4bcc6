"""Makes exports known to `fjeld.inspect` and `fjeld.verify`, which lie beneath this room."""

from __future__ import annotations

from fjeld.backup.file_kinds import FILE_KINDS, FileKind
from fjeld.export.frames import MAGIC
from fjeld.export.inspecting import inspect_export
from fjeld.export.verifying import verify_export

FILE_KINDS[MAGIC] = FileKind(inspect=inspect_export, verify=verify_export)
