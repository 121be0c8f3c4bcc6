"""`fjeld checkpoints expire`: remove what no rule keeps."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click

from fjeld import RetentionPolicy
from fjeld.cli.checkpoints.folder import describe, facts, folder_argument, opened, tell_damaged
from fjeld.cli.output import Output
from fjeld.cli.params import json_option

__all__ = ["expire"]

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
COUNT = click.IntRange(min=1)


def parse_within(_context: click.Context, _parameter: click.Parameter, text: str | None) -> timedelta | None:
    """36h, 7d, 4w."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", text, re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is no span such as 36h, 7d or 4w")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


@click.command(
    epilog="""\b
Example:
  fjeld checkpoints expire backups --within 48h --daily 14 --monthly 12 --dry-run"""
)
@folder_argument
@click.option("--last", type=COUNT, help="Keep the newest so many.")
@click.option("--hourly", type=COUNT, help="Keep the newest of each of so many hours,")
@click.option("--daily", type=COUNT, help="... days,")
@click.option("--weekly", type=COUNT, help="... weeks,")
@click.option("--monthly", type=COUNT, help="... months (UTC; those that have a checkpoint count).")
@click.option(
    "--within",
    callback=parse_within,
    metavar="SPAN",
    help="Keep all so much older than the newest: 36h, 7d, 4w.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@click.pass_obj
def expire(
    output: Output,
    folder: Path,
    last: int | None,
    hourly: int | None,
    daily: int | None,
    weekly: int | None,
    monthly: int | None,
    within: timedelta | None,
    dry_run: bool,
) -> None:
    """Remove the checkpoints in FOLDER that no rule keeps. Rules add up; the newest is always kept."""
    policy = RetentionPolicy(
        last=last, hourly=hourly, daily=daily, weekly=weekly, monthly=monthly, within=within
    )
    report = opened(folder).expire(policy, dry_run=dry_run)
    if output.json:
        output.document(
            {
                "dry_run": dry_run,
                "kept": [{**facts(each.checkpoint), "reasons": each.reasons} for each in report.kept],
                "removed": [facts(info) for info in report.removed],
                "damaged": [{"path": each.path, "error": str(each.error)} for each in report.damaged],
            }
        )
        return
    for each in report.kept:
        click.echo(f"keep    {describe(each.checkpoint)}  ({', '.join(each.reasons)})")
    for info in report.removed:
        click.echo(f"{'would remove' if dry_run else 'removed'}  {describe(info)}")
    tell_damaged(list(report.damaged))
