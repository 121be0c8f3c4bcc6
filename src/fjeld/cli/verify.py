"""`fjeld verify`: is every byte what it was when it was written?"""

from __future__ import annotations

from pathlib import Path

import click

import fjeld
from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.exits import Exit
from fjeld.cli.output import Output, human_bytes, human_count, human_seconds, plain
from fjeld.cli.params import json_option, path_argument

__all__ = ["verify"]


def _count(number: int, what: str) -> str:
    return f"{human_count(number)} {what}{'' if number == 1 else 's'}"


def describe(report: fjeld.VerifyReport) -> list[str]:
    """For people, a line each."""
    problems = _count(len(report.problems), "problem")
    lines = [
        f"{report.path}: {report.kind}, {'no damage found' if report.ok else problems}",
        f"checked {_count(report.files_checked, 'file')}, {human_bytes(report.bytes_checked)}, "
        f"in {human_seconds(report.elapsed_seconds)}",
    ]
    if report.id is not None:
        name = "of" if report.kind == "export" else "id"
        lines.append(f"{name:<8}{report.id}" + ("" if report.seqno is None else f", seqno {report.seqno}"))
    if report.digest is not None and report.entries is not None:
        lines.append(f"digest  {report.digest} of {human_count(report.entries)} entries")
    lines += [f"problem  {problem}" for problem in report.problems]
    lines += [f"note     {note}" for note in report.notes]
    lines += [f"left over  {name}" for name in report.leftovers]
    return lines


@click.command(epilog="Exit codes: 0 no damage found, 3 not a keyspace, 5 damage found, 6 cannot be read.")
@path_argument
@click.option(
    "--scan/--no-scan", default=True, show_default=True, help="Also read all entries, and digest them."
)
@json_option
@click.pass_context
def verify(context: click.Context, path: Path, scan: bool) -> None:
    """Check every byte of PATH: a keyspace, also while another process has it open, a checkpoint, or an export.

    Nothing is written. All damage is listed, with file and offset.
    """
    output = context.ensure_object(Output)
    with output.progress() as bars, cancel_on_interrupt() as cancel:
        task = bars.add_task("files", total=None, note="")

        def report_progress(done_files: int, total_files: int, done_bytes: int, total_bytes: int) -> None:
            note = f"{human_bytes(done_bytes)} of {human_bytes(total_bytes)}"
            if scan and done_files == total_files:
                note += ", now reading all entries"
            bars.update(task, completed=done_files, total=total_files, note=note)

        report = fjeld.verify(path, scan=scan, progress=report_progress, cancel=cancel)
    if output.json:
        output.document({"ok": report.ok, **plain(report)})
    else:
        for line in describe(report):
            click.echo(line)
    if not report.ok:
        context.exit(Exit.CORRUPT)
