"""`fjeld info`: what a folder is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from fjeld.cli.opening import open_keyspace
from fjeld.cli.output import Output, human_bytes, human_count
from fjeld.cli.params import json_option, path_argument

__all__ = ["info"]


def read_lineage(path: Path) -> dict[str, Any] | None:
    """Where a checkpoint comes from; None for a keyspace that began empty."""
    try:
        document = json.loads((path / "checkpoint.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    wanted = ("id", "parent", "created_at", "seqno", "metadata")
    return {name: document.get(name) for name in wanted}


@click.command()
@path_argument
@json_option
@click.pass_obj
def info(output: Output, path: Path) -> None:
    """What PATH is: identity, seqno, partitions, and for a checkpoint where it comes from."""
    with open_keyspace(path) as keyspace:
        facts: dict[str, Any] = {"path": str(path), "id": str(keyspace.id), "seqno": keyspace.seqno}
        facts["checkpoint"] = read_lineage(path)
        facts["partitions"] = {
            name: {
                "approximate_entries": (partition := keyspace.partition(name)).approximate_len(),
                "disk_bytes": partition.disk_space(),
            }
            for name in keyspace.partitions()
        }
    if output.json:
        output.document(facts)
        return
    console = output.console
    console.print(f"keyspace    {facts['id']}\nseqno       {facts['seqno']}", markup=False)
    if (lineage := facts["checkpoint"]) is not None:
        parent = lineage["parent"] or {}
        console.print(
            f"checkpoint  of {parent.get('id')} at seqno {lineage['seqno']}, {lineage['created_at']}",
            markup=False,
        )
    table = Table("partition", "entries (about)", "on disk", box=None, pad_edge=False)
    for name, numbers in facts["partitions"].items():
        entries, on_disk = human_count(numbers["approximate_entries"]), human_bytes(numbers["disk_bytes"])
        table.add_row(name, entries, on_disk)
    console.print(table)
