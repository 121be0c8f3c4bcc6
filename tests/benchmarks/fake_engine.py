"""An engine that needs no disk, and a command that misbehaves: what the harness is tested with."""

from __future__ import annotations

import os
import signal
from bisect import bisect_left

from benchmarks.engine import Engine


class Fake(Engine):
    """A dict. Its folder is made, so that the harness can be seen to remove it."""

    name = "fake"
    module = "json"

    def open(self, folder, *, durable=False, table_bytes=None):
        folder.mkdir(exist_ok=True)
        self.data = {}
        self.insert, self.get = self.data.__setitem__, self.data.get

    def insert_many(self, pairs):
        self.data.update(pairs)

    def scan(self, start):
        keys = sorted(self.data)
        return ((key, self.data[key]) for key in keys[bisect_left(keys, start) :])

    def close(self):
        pass


class Missing(Fake):
    module = "no_such_module_anywhere"


class Another(Fake):
    name = "another"


def measure(run):
    """A command: a figure, and what the case asks for besides."""
    run.engine.open(run.folder)
    yield {
        "done": 1.0,
        "rate": 100.0 + run.given["n"],
        "folder_is_empty": float(not any(run.folder.iterdir())),
    }
    if run.given.get("then") == "fail":
        raise ValueError("as asked")
    if run.given.get("then") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if run.given.get("then") == "hang":
        signal.pause()
    if run.given.get("then") == "work":
        while not run.over:
            pass
        yield {"done": 0.5}
    yield {"last": 1.0}
