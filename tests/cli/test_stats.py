"""`fjeld stats`: for people, for machines and for Prometheus."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

import fjeld
from fjeld.cli.level_tree import _short, level_tree
from fjeld.cli.main import cli
from fjeld.cli.stats import keyspace_lines, show_figures
from fjeld.options import Fifo, Leveled, PartitionOptions, SizeTiered
from fjeld.statistics.figures import StallFigures
from tests.maintenance.engines import by_hand
from tests.statistics.parser import parse
from tests.support import fill

DEEP = PartitionOptions(compaction=Leveled(level0_runs=2, level_ratio=2, level1_bytes=1024, table_bytes=1024))


@pytest.fixture
def path(tmp_path):
    with fjeld.open(tmp_path / "data") as keyspace:
        keyspace.partition("users").insert(b"alice", b"1")
        keyspace.partition("[bold]empty[/bold]")
    return tmp_path / "data"


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def drawn(show, *, width=80, encoding="utf-8"):
    """What show(console) writes to a terminal without colours."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(Console(file=file, width=width, no_color=True, highlight=False))
    file.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def test_for_machines(path):
    document = json.loads(run("stats", path, "--json"))
    assert document == json.loads(run("--json", "stats", path)) | {
        name: document[name] for name in ("journals", "journal_bytes", "manifest_bytes", "open_files")
    }
    assert document["path"] == str(path)
    assert document["partitions"]["users"]["levels"][0]["entries"] == 1


def test_for_prometheus(path):
    families = parse(run("stats", path, "--prometheus"))
    assert families["fjeld_seqno"].samples == {frozenset(): 1}


def test_for_people(path):
    text = run("stats", path)
    assert "seqno     1, on disk up to 1" in text
    assert "\nusers  leveled\n" in text
    assert "\n[bold]empty[/bold]  leveled\n" in text, "a name is not markup"
    assert "cache     0 B of 64.0 MiB" in text
    assert "stalls" not in text, "nobody has written"


def test_a_tree_of_levels(path, tmp_path):
    with by_hand(tmp_path / "deep") as (ks, engine):
        p = ks.partition("p", options=DEEP)
        engine.maintainer.pause_compaction()
        for start in (0, 300):
            fill(p, 300, start=start)
            p.flush()
        p.compact()
        for number in range(2):
            fill(p, 10, seed=number)
            p.flush()
        figures = p.stats()
        partition = ks.figures().partitions["p"]
    lines = drawn(lambda console: console.print(level_tree(partition, console)))
    assert lines[0] == "p  leveled"
    assert all(line.startswith("│ ") for line in lines[1:5])
    deepest = max(level["level"] for level in figures["levels"] if level["tables"])
    levels = lines[5:]
    assert [line[:4] for line in levels] == [f"├─ {n}" for n in range(deepest)] + [f"└─ {deepest}"]
    assert "█" * 10 in levels[0]
    assert "100%" in levels[0], "two runs start a merge"
    assert "░" * 10 in levels[1], "an empty level between others is shown"
    assert "to compact" in lines[3]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("compaction", [Leveled(), SizeTiered(), Fifo()])
def test_without_bars_of_unicode(tmp_path, compaction):
    with by_hand(tmp_path / "data") as (ks, _engine):
        p = ks.partition("p", options=PartitionOptions(compaction=compaction))
        fill(p, 10)
        p.flush()
        figures = ks.figures()
    lines = drawn(lambda console: show_figures(console, figures), encoding="ascii")
    assert any(line.startswith("`- 0") for line in lines)
    assert any("#" in line for line in lines) == isinstance(compaction, Leveled), "others have no target"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (1_000_000, "1.0 M"),
        (999_900_000, "999.9 M"),
        (999_999_999, "1.0 G"),
        (10**12, "1.0 T"),
    ],
)
def test_counts_keep_to_their_column(count, text):
    assert _short(count) == text


def test_what_is_wrong_is_said(tmp_path):
    with by_hand(tmp_path / "data", "p") as (ks, engine):
        engine.find("p").failure = fjeld.CorruptionError("a block is damaged", path="tables/7", offset=9)
        engine.maintainer.flusher.seal(engine.find("p"))
        figures = ks.figures()
    assert keyspace_lines(figures).keys().isdisjoint({"stalls", "failure"})
    stalls = figures.stalls | {"level0": StallFigures(count=1234, seconds=2.5)}
    figures = replace(figures, stalls=stalls, failure="the disk is full")
    lines = drawn(lambda console: show_figures(console, figures))
    assert "stalls    level0 1,234 (2.50 s)" in lines
    assert "failure   the disk is full" in lines
    text = "\n".join(lines)
    assert "compaction fails: " in text
    assert "a block is damaged" in text
