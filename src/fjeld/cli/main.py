"""`fjeld`: the group of all verbs, and the funnel that turns every error into a message and an exit code."""

from __future__ import annotations

from typing import Any

import click

from fjeld.cli.backup import backup
from fjeld.cli.bench.command import bench
from fjeld.cli.checkpoints.command import checkpoints
from fjeld.cli.compact import compact
from fjeld.cli.completion import completion
from fjeld.cli.demo.command import demo
from fjeld.cli.digest import digest
from fjeld.cli.discard import discard
from fjeld.cli.exits import Exit, exit_for
from fjeld.cli.export import export
from fjeld.cli.get import get
from fjeld.cli.import_ import import_export
from fjeld.cli.info import info
from fjeld.cli.ls import ls
from fjeld.cli.output import Output
from fjeld.cli.params import json_option
from fjeld.cli.put import put
from fjeld.cli.restore import restore
from fjeld.cli.scan import scan
from fjeld.cli.stats import stats
from fjeld.cli.verify import verify

__all__ = ["cli", "main"]


class Funnel(click.Group):
    """A group whose verbs may raise whatever the engine raises."""

    def invoke(self, ctx: click.Context) -> Any:
        output = ctx.ensure_object(Output)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            output.error(error, Exit.INTERRUPTED)
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except (click.ClickException, BrokenPipeError):
            raise  # click knows what to do with these
        except Exception as error:
            code = exit_for(error)
            if code is None:
                raise
            output.error(error, code)
            raise click.exceptions.Exit(code) from None


@click.group(
    cls=Funnel,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 no such key or a failed proof, 2 usage, 3 not a keyspace, 4 locked, "
    "5 corruption, 6 I/O, 7 cancelled, 8 newer format, 9 poisoned, 10 other.",
)
@json_option
@click.version_option(package_name="fjeld")
def cli() -> None:
    """Fjeld: an embedded, ordered key-value store that is backed up while it runs."""


for _verb in (
    info,
    ls,
    get,
    put,
    scan,
    backup,
    verify,
    restore,
    discard,
    checkpoints,
    export,
    import_export,
    compact,
    stats,
    digest,
    bench,
    demo,
    completion,
):
    cli.add_command(_verb)


def main() -> None:
    """The console script."""
    cli(prog_name="fjeld")
