"""A partition as a tree of its levels, for a terminal of 80 columns or more, with colours or without."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fjeld.cli.output import human_bytes, human_count
from fjeld.statistics.figures import BlobFigures, LevelFigures, PartitionFigures

__all__ = ["level_tree"]

BAR_CELLS = 10

# A level may be somewhat above its target while its merge is under way; at twice that, merges are behind.
BEHIND = 2.0


class Glyphs:
    """What bars and branches are drawn with."""

    def __init__(self, ascii_only: bool) -> None:
        self.full, self.empty = ("#", ".") if ascii_only else ("█", "░")
        self.stem, self.branch, self.last = ("| ", "+-", "`-") if ascii_only else ("│ ", "├─", "└─")


def level_tree(partition: PartitionFigures, console: Console) -> RenderableType:
    """Name and summary, then a line for each level down to the deepest that holds anything."""
    glyphs = Glyphs(console.options.ascii_only)
    lines = [_headline(partition), *(_under(glyphs.stem, text) for text in _summary(partition))]
    return Group(*lines, _levels(partition, glyphs))


def _headline(partition: PartitionFigures) -> Text:
    return Text.assemble((partition.name, "bold"), "  ", (partition.strategy, "dim"))


def _under(stem: str, text: Text) -> Text:
    return Text.assemble((stem, "dim"), text)


def _summary(partition: PartitionFigures) -> list[Text]:
    disk = f"{human_bytes(partition.bytes)} in {_counted(partition.tables, 'table')}"
    memory = f"{human_bytes(partition.memtable_bytes)} in {_counted(partition.memtables, 'memtable')}"
    lines = [
        Text(f"on disk {disk}, in memory {memory}"),
        Text(f"amplification: {_amplification(partition)}"),
        _compaction(partition),
    ]
    if partition.blobs.files:
        lines.insert(1, _blobs(partition.blobs))
    if partition.failure is not None:
        lines.append(Text(f"compaction fails: {partition.failure}", style="red"))
    return lines


def _blobs(blobs: BlobFigures) -> Text:
    garbage = "no garbage"
    if blobs.garbage_ratio:
        garbage = f"{blobs.garbage_ratio:.0%} garbage"
    values = f"{_counted(blobs.entries, 'value')}, {human_bytes(blobs.bytes)}"
    return Text(f"blob files: {values} in {_counted(blobs.files, 'file')}, {garbage}")


def _amplification(partition: PartitionFigures) -> str:
    """Of writes and space only where it is known: a keyspace that was just opened has written nothing."""
    parts = [f"read {_counted(partition.read_amplification, 'run')}"]
    for name, factor in (
        ("space", partition.space_amplification),
        ("write", partition.write_amplification),
    ):
        if factor is not None:
            parts.append(f"{name} {factor:.2f}")
    return ", ".join(parts)


def _compaction(partition: PartitionFigures) -> Text:
    running = partition.running_compactions
    state = f"{_counted(running, 'compaction')} running" if running else "no compaction runs"
    if not partition.debt_bytes:
        return Text(f"{state}, nothing to compact")
    return Text.assemble(f"{state}, ", (f"{human_bytes(partition.debt_bytes)} to compact", "yellow"))


def _levels(partition: PartitionFigures, glyphs: Glyphs) -> Table:
    deepest = max((level.level for level in partition.levels if level.tables), default=0)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"{glyphs.stem}level", no_wrap=True)
    table.add_column(no_wrap=True)
    for name in ("full", "size", "tables", "entries", "removals", "debt"):
        table.add_column(name, justify="right", no_wrap=True)
    for level in partition.levels[: deepest + 1]:
        edge = glyphs.last if level.level == deepest else glyphs.branch
        table.add_row(
            Text.assemble((edge, "dim"), f" {level.level}"),
            _bar(level, glyphs),
            "-" if level.score is None else f"{level.score:.0%}",
            human_bytes(level.bytes),
            human_count(level.tables),
            _short(level.entries),
            _short(level.tombstones),
            human_bytes(level.debt_bytes) if level.debt_bytes else "-",
        )
    return table


def _bar(level: LevelFigures, glyphs: Glyphs) -> Text:
    if level.score is None:
        return Text("")
    cells = min(BAR_CELLS, round(level.score * BAR_CELLS))
    if level.score > 0:
        cells = max(cells, 1)
    style = "green" if level.score < 1 else "yellow" if level.score < BEHIND else "red"
    return Text.assemble((glyphs.full * cells, style), (glyphs.empty * (BAR_CELLS - cells), "dim"))


def _counted(count: int, noun: str) -> str:
    return f"{human_count(count)} {noun}{'' if count == 1 else 's'}"


def _short(count: int) -> str:
    """Seven characters at most: 999,999, then 1.2 M."""
    if count < 1_000_000:
        return human_count(count)
    for unit, size in (("M", 10**6), ("G", 10**9)):
        if count < 999.95 * size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 10**12:.1f} T"
