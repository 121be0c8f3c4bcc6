"""`fjeld demo`: the stages in order, and their progress bars."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import Progress

import fjeld
from fjeld.cli.demo.checkpoints import Checkpointer, window_of
from fjeld.cli.demo.crash import CrashReport, crash_and_recover
from fjeld.cli.demo.latency import Series, total_seconds
from fjeld.cli.demo.proof import Proof, prove
from fjeld.cli.demo.report import CheckpointFigures, Report
from fjeld.cli.demo.source import batches, default_roots, find_files
from fjeld.cli.demo.writer import Writer
from fjeld.cli.exits import Exit
from fjeld.cli.output import MIB, Output
from fjeld.cli.params import json_option

__all__ = ["demo"]

_REPORT_EVERY = 16  # batches between two updates of a bar: an update costs as much as a small batch


@contextmanager
def work_folder(path: Path | None) -> Iterator[Path]:
    """The given folder, which must not exist and is kept; else a temporary one."""
    if path is not None:
        path.mkdir(parents=True)
        yield path
        return
    folder = Path(tempfile.mkdtemp(prefix="fjeld-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_all(
    bars: Progress, writer: Writer, checkpointer: Checkpointer, paths: Sequence[Path], mib: int, windows: int
) -> float:
    """So many MiB, while checkpoints are taken in the odd windows. Returns the seconds it took."""
    task = bars.add_task("writing, with checkpoints", total=mib, note="")
    written, limit_bytes = writer.written, mib * MIB
    start = time.perf_counter()
    checkpointer.start()
    try:
        for number, (key, contents) in enumerate(batches(paths)):
            if written.bytes >= limit_bytes:
                break
            checkpointer.enter(window_of(written.bytes, limit_bytes, windows))
            writer.write(key, contents)
            if number % _REPORT_EVERY == 0:
                note = f"MiB, {len(checkpointer.infos)} checkpoints"
                bars.update(task, completed=min(written.bytes // MIB, mib), note=note)
    finally:
        checkpointer.finish()
    bars.update(task, completed=mib)
    return time.perf_counter() - start


def crash_stage(bars: Progress, folder: Path, paths: Sequence[Path], kill_after: int) -> CrashReport:
    """The child, the kill, the reopening."""
    writing = bars.add_task("a process to be killed writes", total=kill_after, note="")
    checking = bars.add_task("looking for what it wrote", total=kill_after, note="")

    def on_write(number: int) -> None:
        if number % _REPORT_EVERY == 0 or number == kill_after:
            bars.update(writing, completed=min(number, kill_after))

    def on_check(number: int) -> None:
        if number % _REPORT_EVERY == 0 or number >= kill_after:
            bars.update(checking, completed=number, total=max(number, kill_after))

    return crash_and_recover(
        folder / "crash", paths, kill_after=kill_after, on_write=on_write, on_check=on_check
    )


def proof_stage(bars: Progress, keyspace: fjeld.Keyspace, checkpointer: Checkpointer) -> list[Proof]:
    """A proof for each checkpoint that was kept."""
    task = bars.add_task("proving checkpoints", total=len(checkpointer.kept), note="")
    proofs = []
    for taken in checkpointer.kept:
        proofs.append(prove(keyspace, taken))
        bars.advance(task)
    return proofs


def run(
    output: Output, folder: Path, paths: Sequence[Path], mib: int, checkpoints: int, kill_after: int
) -> Report:
    """All stages."""
    (folder / "checkpoints").mkdir()
    with output.progress() as bars, fjeld.open(folder / "keyspace") as keyspace:
        writer = Writer(keyspace)
        checkpointer = Checkpointer(keyspace, folder / "checkpoints")
        seconds = write_all(bars, writer, checkpointer, paths, mib, windows=2 * checkpoints)
        crash = crash_stage(bars, folder, paths, kill_after)
        proofs = proof_stage(bars, keyspace, checkpointer)
        checkpointer.release()
    without_ns, during_ns = writer.latencies.split(checkpointer.in_flight, checkpointer.quiet)
    return Report(
        written=writer.written,
        write_seconds=seconds,
        checkpoints=CheckpointFigures.of(checkpointer.infos, len(checkpointer.kept)),
        without=Series(without_ns, total_seconds(checkpointer.quiet)),
        during=Series(during_ns, total_seconds(checkpointer.in_flight)),
        crash=crash,
        proofs=proofs,
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--mib", type=click.IntRange(min=1), default=320, show_default=True, help="Write so many MiB of entries."
)
@click.option(
    "--files",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Read so many files at most; over and over until --mib are written.",
)
@click.option(
    "--checkpoints",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Checkpoints to keep and prove.",
)
@click.option(
    "--kill-after",
    type=click.IntRange(min=1),
    default=3_000,
    show_default=True,
    help="Batches before the SIGKILL.",
)
@json_option
@click.pass_context
def demo(
    context: click.Context, path: Path | None, mib: int, files: int, checkpoints: int, kill_after: int
) -> None:
    """Write this Python's files, back them up meanwhile, kill a writer, and prove that all is there.

    Everything is made in PATH, which must not exist and is kept; without PATH in a temporary folder.
    Exit code 1 if a proof fails.
    """
    output = context.ensure_object(Output)
    paths = find_files(default_roots(), files)
    if not paths:
        raise click.UsageError("the Python installation has no file that can be read")
    with work_folder(path) as folder:
        report = run(output, folder, paths, mib, checkpoints, kill_after)
    if output.json:
        output.document(report.document())
    else:
        report.print(output)
    if not report.holds:
        context.exit(Exit.NO)
