"""`fjeld info`: what a path is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import fjeld
from fjeld.cli.output import Output, human_bytes, human_count, plain
from fjeld.cli.params import json_option, path_argument

__all__ = ["info"]


def facts_of(found: fjeld.Inspection) -> dict[str, Any]:
    """For machines."""
    lineage = None
    if found.created_at is not None and found.parent is not None:
        lineage = {
            "id": found.id,
            "parent": {"id": found.parent[0], "seqno": found.parent[1]},
            "created_at": found.created_at,
            "metadata": found.metadata,
        }
    partitions = {
        partition.name: {
            "id": partition.id,
            "tables": partition.tables,
            "entries": partition.entries,
            "tombstones": partition.tombstones,
            "disk_bytes": partition.size_bytes,
            "options": partition.options.to_json(),
        }
        for partition in found.partitions
    }
    return {
        "path": found.path,
        "kind": found.kind,
        "format": found.format,
        "id": found.id,
        "parent": None if found.parent is None else {"id": found.parent[0], "seqno": found.parent[1]},
        "seqno": found.seqno,
        "in_use": found.in_use,
        "closed_cleanly": found.closed_cleanly,
        "checkpoint": lineage,
        "partitions": partitions,
        "size_bytes": found.size_bytes,
        "files": found.files,
        "journals": found.journals,
        "manifest": {"name": found.manifest, "size_bytes": found.manifest_bytes},
    }


def lines_of(found: fjeld.Inspection) -> dict[str, str]:
    """For people: name and text of each line."""
    use = {True: "open for writing", False: "not open", None: "cannot tell whether it is open"}[found.in_use]
    if found.in_use is False and not found.closed_cleanly:
        use += ", was not closed in good order: opening replays its journals"
    lines = {
        found.kind: found.id,
        "path": str(found.path),
        "state": use,
        "seqno": f"{human_count(found.seqno)} on disk; journals may hold more",
        "size": f"{human_bytes(found.size_bytes)} in {human_count(len(found.files))} files",
    }
    if not found.journals:
        lines["seqno"] = human_count(found.seqno)
    else:
        size_bytes = sum(journal.size_bytes or 0 for journal in found.journals)
        lines["journals"] = f"{human_count(len(found.journals))} to replay, {human_bytes(size_bytes)} at most"
    if found.parent is not None:
        lines["copy of"] = f"{found.parent[0]} at seqno {human_count(found.parent[1])}"
    if found.created_at is not None:
        lines["taken"] = found.created_at.isoformat(sep=" ", timespec="seconds")
    if found.metadata:
        lines["metadata"] = ", ".join(f"{name}: {value}" for name, value in found.metadata.items())
    return lines


def lines_of_export(found: fjeld.InspectedExport) -> dict[str, str]:
    """The same of an export."""
    lines = {
        "export of": f"{found.keyspace_id} at seqno {human_count(found.seqno)}",
        "path": found.path,
        "taken": found.created_at.isoformat(sep=" ", timespec="seconds"),
        "size": human_bytes(found.size_bytes),
        "partitions": ", ".join(found.partitions) + ("" if found.complete else " (there were others)"),
    }
    if found.metadata:
        lines["metadata"] = ", ".join(f"{name}: {value}" for name, value in found.metadata.items())
    return lines


def show_lines(console: Console, lines: dict[str, str]) -> None:
    """A line each, the names in a column."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, text)
    console.print(table, markup=False)


def show_inspection(console: Console, found: fjeld.Inspection) -> None:
    """For people."""
    show_lines(console, lines_of(found))
    if not found.partitions:
        return
    partitions = Table("partition", "entries in tables", "tables", "on disk", box=None, pad_edge=False)
    for partition in found.partitions:
        numbers = (human_count(partition.entries), human_count(partition.tables))
        partitions.add_row(partition.name, *numbers, human_bytes(partition.size_bytes))
    console.print()
    console.print(partitions)


@click.command()
@path_argument
@json_option
@click.pass_obj
def info(output: Output, path: Path) -> None:
    """What PATH is, a keyspace, a checkpoint or an export: identity, lineage, seqno, partitions, files. It is not
    opened: another process may have it open.
    """
    found = fjeld.inspect(path)
    if isinstance(found, fjeld.InspectedExport):
        if output.json:
            output.document({"kind": "export", **plain(found)})
        else:
            show_lines(output.console, lines_of_export(found))
    elif output.json:
        output.document(facts_of(found))
    else:
        show_inspection(output.console, found)
