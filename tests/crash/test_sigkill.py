"""Real processes killed under load: nothing acknowledged is lost, batches are whole, every checkpoint that is
there is good.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fjeld
from tests.crash import history
from tests.small import small_options
from tests.support import leftovers

ROOT = Path(__file__).resolve().parent.parent.parent
SEED = int(os.environ.get("FJELD_TEST_SEED", "20261122"))


def live_and_die(path: Path, checkpoints: Path, seed: int, operations: int) -> int:
    """Run a victim for so many operations, kill it; how many it has acknowledged."""
    arguments = [sys.executable, "-m", "tests.crash.victim", str(path), str(checkpoints), str(seed)]
    source = str(Path(fjeld.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, str(ROOT)])}
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = first = None
        for line in process.stdout:
            word, *rest = line.split()
            if word == b"done":
                acknowledged = int(rest[0])
                first = acknowledged if first is None else first
                if acknowledged >= first + operations:
                    process.kill()
                    break
        for line in process.stdout:  # what it had said before it died
            if line.endswith(b"\n") and line.startswith(b"done"):
                acknowledged = int(line.split()[1])
    assert acknowledged is not None, "the process ended by itself"
    return acknowledged


@pytest.mark.parametrize("seed", range(SEED, SEED + 6))
def test_killed_under_load(path: Path, tmp_path: Path, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    held = 0
    for life in range(3):
        acknowledged = live_and_die(path, checkpoints, seed + life, chance.randrange(1, 1500))
        with fjeld.open(path, options=small_options()) as keyspace:
            held = history.check(keyspace)
            assert held >= acknowledged, "an acknowledged write was lost"
    for name in os.listdir(checkpoints):
        if name in leftovers(checkpoints):
            shutil.rmtree(checkpoints / name)
            continue
        with fjeld.open(checkpoints / name) as checkpoint:
            assert history.check(checkpoint) <= held


def test_killed_while_it_is_being_created(path: Path, tmp_path: Path) -> None:
    """At every file operation of the creation, what is there so far is no keyspace or a whole one: it opens."""
    program = (
        "import errno, os, signal, sys, fjeld\n"
        "from fjeld.kernel import files\n"
        "files.inject(None, int(sys.argv[2]), errno.EIO)\n"
        "try: fjeld.open(sys.argv[1])\n"
        "except OSError: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    source = str(Path(fjeld.__file__).parent.parent)
    for count in range(0, 60, 3):
        target = tmp_path / f"created-{count}"
        done = subprocess.run(
            [sys.executable, "-c", program, str(target), str(count)],
            env={**os.environ, "PYTHONPATH": source},
            check=False,
        )
        with fjeld.open(target) as keyspace:
            keyspace.partition("a").insert(b"k", b"v")
        with fjeld.open(target) as keyspace:
            assert dict(keyspace.partition("a").items()) == {b"k": b"v"}
        if done.returncode == -10:
            break
    else:
        pytest.fail("the creation takes more operations than were tried")
