"""What the commands of this folder share: a process for each measurement, rounds, medians, a table.

A command's module has `measure(run)`, which yields figures as it gets them, and describes its rows with
`Row`s. The harness calls it in a process of its own with an empty folder, once for each engine, case and
round; the order of the engines rotates from round to round. A process that comes to its limit stops by itself
(`run.deadline`) and says how far it got; one that does not is killed, and the figures it had so far stand.
With --save each measurement is kept as soon as it is there, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine
from benchmarks.peers import ENGINES, engine_named, is_installed

__all__ = ["Case", "Figures", "Measurement", "Run", "chosen_engines", "measure_all", "parser_of", "run_child"]

ROOT = Path(__file__).resolve().parent.parent
KILL_AFTER_SECONDS = 60.0
"""Beyond the limit: for what an engine does in one call, such as closing."""

Figures = dict[str, float]
DONE = "done"
"""A figure of every command: the part of the work that was done within the limit, 0 to 1."""


@dataclass
class Run:
    """What `measure` is given, in the child."""

    engine: Engine
    folder: Path
    """Where the engine's store belongs; there is nothing of this name yet, unless the command put it there."""
    given: dict[str, Any]
    """The case and the command's parameters."""
    limit_seconds: float
    started: float = field(default_factory=time.perf_counter)

    @property
    def over(self) -> bool:
        """The time is up."""
        return time.perf_counter() - self.started > self.limit_seconds


@dataclass(frozen=True)
class Case:
    """One measurement of each engine and round: its title in the table, and what tells it from others."""

    title: str
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    engine: str
    case: str
    round: int
    figures: Figures
    failure: str | None = None


def parser_of(
    doc: str | None, *, count: int, rounds: int = 3, limit_seconds: float
) -> argparse.ArgumentParser:
    """The options that all commands have."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--engines", help=f"comma-separated (default: all installed of {', '.join(ENGINES)})")
    parser.add_argument("--dir", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--n", type=int, default=count, help="how many records (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds, help="the median of so many")
    parser.add_argument(
        "--limit",
        type=float,
        default=limit_seconds,
        metavar="SECONDS",
        help="cut an engine off (default: %(default)s)",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="keep measurements, and go on from those kept"
    )
    parser.add_argument("--json", action="store_true", help="a JSON document instead of a table")
    return parser


def chosen_engines(names: str | None) -> list[str]:
    """Those of the names, which must be installed; or all that are. SystemExit with what is wrong."""
    if names is None:
        return [name for name, engine in ENGINES.items() if is_installed(engine)]
    wanted = [name.strip() for name in names.split(",")]
    try:
        missing = [name for name in wanted if not is_installed(engine_named(name))]
    except ValueError as error:
        raise SystemExit(str(error)) from None
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)} (pip install '.[peers]')")
    return wanted


def run_child(
    module: str, function: str, engine: str, folder: Path, given: dict[str, Any], limit_seconds: float
) -> tuple[Figures, str | None]:
    """Calls module.function(Run) in a process of its own: the figures it had, and why it failed or None.

    One that kills itself with SIGKILL on purpose has not failed.
    """
    result = folder.with_name(folder.name + ".figures")
    result.unlink(missing_ok=True)
    order = {"module": module, "function": function, "engine": engine, "folder": str(folder), "given": given}
    command = [
        sys.executable,
        "-m",
        "benchmarks.harness",
        json.dumps(order | {"limit": limit_seconds}),
        str(result),
    ]
    paths = [str(ROOT), *(os.path.abspath(path) for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    failure: str | None = None
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            _, errors = child.communicate(timeout=limit_seconds + KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            failure = f"killed {KILL_AFTER_SECONDS:.0f} s after the limit"
        finally:
            child.kill()
    if failure is None and child.returncode not in (0, -signal.SIGKILL):
        failure = (errors.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    figures: Figures = json.loads(result.read_text()) if result.exists() else {}
    result.unlink(missing_ok=True)
    return figures, failure


def child_main(order: dict[str, Any], result: Path) -> None:
    """The child: whatever `measure` yields is in the file before it goes on."""
    measure: Callable[[Run], Iterator[Figures]] = getattr(import_module(order["module"]), order["function"])
    engine = engine_named(order["engine"])()
    figures: Figures = {}
    for more in measure(Run(engine, Path(order["folder"]), order["given"], order["limit"])):
        figures |= more
        partial = result.with_suffix(".partial")
        partial.write_text(json.dumps(figures))
        partial.replace(result)


def measure_all(
    module: str,
    cases: Sequence[Case],
    chosen: argparse.Namespace,
    *,
    prepare: Callable[[str, Case, Path], str | None] | None = None,
) -> list[Measurement]:
    """Every engine, case and round. prepare(engine, case, folder) may put a store there; it returns why it
    could not.
    """
    engines = chosen_engines(chosen.engines)
    parameters = {
        name: value
        for name, value in vars(chosen).items()
        if name not in ("engines", "dir", "save", "json", "rounds", "limit") and not isinstance(value, Path)
    }
    kept = _Kept(chosen.save, module, parameters)
    for number in range(chosen.rounds):
        turn = number % len(engines)
        for engine in [*engines[turn:], *engines[:turn]]:
            for case in cases:
                if kept.has(engine, case.title, number):
                    continue
                print(f"round {number + 1}: {engine} {case.title}", file=sys.stderr)
                with tempfile.TemporaryDirectory(prefix="fjeld-measure-", dir=chosen.dir) as scratch:
                    folder = Path(scratch, "store")
                    failure = prepare(engine, case, folder) if prepare is not None else None
                    figures: Figures = {}
                    if failure is None:
                        given = parameters | case.given
                        figures, failure = run_child(module, "measure", engine, folder, given, chosen.limit)
                if failure is not None:
                    print(f"  {engine}: {failure}", file=sys.stderr)
                kept.add(Measurement(engine, case.title, number, figures, failure))
    return kept.measurements


class _Kept:
    """Measurements, also in a file of JSON lines where one is named. Its first line says of what they are."""

    def __init__(self, path: Path | None, module: str, parameters: dict[str, Any]) -> None:
        self._path = path
        self.measurements: list[Measurement] = []
        head = json.dumps({"module": module, **parameters}, sort_keys=True)
        if path is None:
            return
        if not path.exists():
            path.write_text(head + "\n")
        first, *lines = path.read_text().splitlines()
        if first != head:
            raise SystemExit(f"{path} holds measurements of something else: {first}")
        for line in lines:
            self._replace(Measurement(**json.loads(line)))

    def has(self, engine: str, case: str, number: int) -> bool:
        return any(
            (one.engine, one.case, one.round) == (engine, case, number) and one.failure is None
            for one in self.measurements
        )

    def _replace(self, new: Measurement) -> None:
        """Where one failed before, it is forgotten."""
        key = (new.engine, new.case, new.round)
        self.measurements = [one for one in self.measurements if (one.engine, one.case, one.round) != key]
        self.measurements.append(new)

    def add(self, measurement: Measurement) -> None:
        self._replace(measurement)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(measurement)) + "\n")


def disk_bytes(folder: Path) -> int:
    """What the files take on disk; holes and further links do not count. Files that vanish are passed over."""
    sizes: dict[int, int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def copy_store(source: Path, target: Path) -> None:
    """Holes stay holes: LMDB's file is mostly that."""
    subprocess.run(["cp", "-r", "--sparse=always", source, target], check=True)


if __name__ == "__main__":
    child_main(json.loads(sys.argv[1]), Path(sys.argv[2]))
