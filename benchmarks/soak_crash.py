"""The soak's crashes: a process carries out a plan and is killed in the middle of it.

It says on a pipe, after each operation, how many it has done. What is found afterwards must be what the model
says after so many operations, or after one more: the last may have been done and not been told of.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.soak_model import Difference, Store, Workload, plan

__all__ = ["burst"]

_DONE = struct.Struct("<Q")  # smaller than PIPE_BUF, so never torn


def burst(path: Path, seed: str, workload: Workload, appended: int, seconds: float) -> int:
    """Lets a process work for so long after its first operation, kills it, and returns what it has done."""
    command = [sys.executable, "-m", "benchmarks.soak_crash"]
    command += [str(path), seed, str(workload.disk_bytes), str(appended)]
    paths = [str(ROOT), *(os.path.abspath(entry) for entry in sys.path if entry)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done, until = 0, float("inf")
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            while len(message := child.stdout.read(_DONE.size)) == _DONE.size:
                (done,) = _DONE.unpack(message)
                now = time.perf_counter()
                until = min(until, now + seconds)
                if now > until:
                    child.kill()  # and read on: what is in the pipe was done
        finally:
            child.kill()
        errors = child.stderr.read().decode(errors="replace").strip()
    if child.returncode != -9:
        raise Difference(f"the process to be killed ended by itself ({child.returncode}): {errors}")
    return done


def work_until_killed(path: Path, seed: str, workload: Workload, appended: int) -> None:
    store = Store(path, workload)
    for number, operation in enumerate(plan(seed, workload, appended), 1):
        store.apply(operation)
        os.write(sys.stdout.fileno(), _DONE.pack(number))


if __name__ == "__main__":
    work_until_killed(Path(sys.argv[1]), sys.argv[2], Workload(int(sys.argv[3])), int(sys.argv[4]))
