"""The staging folder: a checkpoint is built beside its target and appears there whole, or not at all (law 4)."""

from __future__ import annotations

import os
import shutil
import uuid
from types import TracebackType

from fjeld.kernel import files
from fjeld.manifest import names

__all__ = ["STAGING_SUFFIX", "Staging"]

STAGING_SUFFIX = ".fjeld-staging"


class Staging:
    """A folder that becomes `target` by `publish`; without it, it is removed on exit, whatever happened."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._parent = os.path.dirname(target)
        name = f".{os.path.basename(target)}.{uuid.uuid4().hex[:12]}{STAGING_SUFFIX}"
        self.path = os.path.join(self._parent, name)
        self._published = False

    def __enter__(self) -> Staging:
        files.make_directory(self.path)
        try:
            for directory in (names.TABLES_DIRECTORY, names.JOURNALS_DIRECTORY):
                files.make_directory(os.path.join(self.path, directory))
        except BaseException:
            self._remove()
            raise
        return self

    def publish(self) -> None:
        """Everything in it is on disk: bring the folders there, from below, then give it its name."""
        for directory in (names.TABLES_DIRECTORY, names.JOURNALS_DIRECTORY):
            files.sync_directory(os.path.join(self.path, directory))
        files.sync_directory(self.path)
        files.rename_noreplace(self.path, self._target)
        self._published = True
        files.sync_directory(self._parent)

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._published:
            return
        if self._published:  # the name is there, but not known to be on disk: a failure leaves no target
            shutil.rmtree(self._target, ignore_errors=True)
        self._remove()
