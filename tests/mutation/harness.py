"""A copy of the package with one thing changed, and tests run against it.

The pure Python modules are copied, the compiled kernel is linked to. Tests run in a forked child that has pytest
imported already and the package not: a mutant costs what its tests cost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src" / "fjeld"
LIMIT_SECONDS = 240


class Copy:
    """The package under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            SOURCE, folder / "fjeld", copy_function=_copy, ignore=shutil.ignore_patterns("__pycache__", "*.c")
        )

    @contextmanager
    def changed(self, file: str, text: str) -> Iterator[None]:
        path = self.folder / "fjeld" / file
        before = path.read_text()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(before)

    def fails(self, tests: Sequence[str], work: Path) -> str | None:
        """How the tests fail; None: they pass."""
        if "fjeld" in sys.modules:  # a compiled module is imported once in a process
            command = [sys.executable, "-m", "tests.mutation.harness", str(self.folder), str(work), *tests]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
        else:
            child = os.fork()
            if child == 0:
                _become_tests(self.folder, tests, work)
            code = _wait(child)
        if code in (3, 4, 5):
            raise RuntimeError(f"no test was run: {(work / 'output').read_text()[-1000:]}")
        return None if code == 0 else {1: "a test failed", 2: "no import"}.get(code, f"ended with {code}")


def _copy(source: str, target: str) -> None:
    if source.endswith(".so"):
        os.symlink(source, target)
    else:
        shutil.copyfile(source, target)


def _become_tests(package: Path, tests: Sequence[str], work: Path) -> None:
    """Never returns."""
    try:
        output = os.open(work / "output", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(ROOT)
        sys.path.insert(0, str(package))
        sys.dont_write_bytecode = True
        os.environ["PYTHONPATH"] = str(package)
        import faulthandler

        import pytest

        faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
        import fjeld

        assert Path(fjeld.__file__ or "").is_relative_to(package), fjeld.__file__
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests])
    except BaseException:
        code = 3
    os._exit(int(code))


def _wait(child: int) -> int:
    deadline = time.monotonic() + 2 * LIMIT_SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


if __name__ == "__main__":
    _become_tests(Path(sys.argv[1]), sys.argv[3:], Path(sys.argv[2]))
