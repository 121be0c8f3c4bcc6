"""`fjeld checkpoints`: the group of the verbs on a folder of checkpoints."""

from __future__ import annotations

import click

from fjeld.cli.checkpoints.at import at
from fjeld.cli.checkpoints.clean import clean
from fjeld.cli.checkpoints.expire import expire
from fjeld.cli.checkpoints.list import list_checkpoints
from fjeld.cli.checkpoints.space import space
from fjeld.cli.checkpoints.take import take
from fjeld.cli.checkpoints.verify import verify

__all__ = ["checkpoints"]


@click.group(
    epilog="""\b
Examples:
  fjeld checkpoints take backups data
  fjeld checkpoints list backups
  fjeld checkpoints expire backups --hourly 24 --daily 7 --weekly 4 --dry-run
  fjeld restore "$(fjeld checkpoints at backups --time 2026-11-23T06:00:00+00:00)" data --replace"""
)
def checkpoints() -> None:
    """A folder of checkpoints: take, list, find, verify, expire."""


for _verb in (take, list_checkpoints, at, verify, expire, space, clean):
    checkpoints.add_command(_verb)
