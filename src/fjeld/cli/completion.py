"""`fjeld completion`: the script that lets a shell complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command(
    epilog="""\b
Examples:
  eval "$(fjeld completion bash)"                                  in ~/.bashrc
  eval "$(fjeld completion zsh)"                                   in ~/.zshrc
  fjeld completion fish > ~/.config/fish/completions/fjeld.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    found = get_completion_class(shell)
    assert found is not None
    root = context.find_root().command
    click.echo(found(root, {}, "fjeld", "_FJELD_COMPLETE").source())
