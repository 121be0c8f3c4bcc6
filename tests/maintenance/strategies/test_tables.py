"""Each strategy as a table: a partition, the jobs that run on it, what is chosen, and the partition after it.

The cases are in testdata/*.txt, as tests.maintenance.strategies.text reads them:

    # a name
    choose                          or: major, drop_range m-p, now 200, snapshots 7000
    L0: 2:a-c 1:b-d
    running merge 0/1 to 1 a-c
    => what is chosen
    L1: 3:a-d                       what is there when that is done

FJELD_REWRITE=1 pytest tests/maintenance/strategies writes what follows `=>` anew: read the difference before
committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fjeld.maintenance.strategies import Choice, Nothing, choose, drop_range, major
from fjeld.manifest.state import PartitionState
from tests.maintenance.strategies.text import SECOND, after, job, partition, show, show_state

TESTDATA = Path(__file__).parent.parent / "testdata"
FILES = sorted(TESTDATA.glob("*.txt"))


def chapters(file: Path) -> list[tuple[str, list[str]]]:
    """Names, and the lines up to the answer."""
    found: list[tuple[str, list[str]]] = []
    answer = False
    for line in file.read_text().splitlines():
        if line.startswith("# "):
            found.append((line[2:], []))
            answer = False
        elif line.startswith("=>"):
            answer = True
        elif line and not answer:
            found[-1][1].append(line)
    return found


def chosen(strategy: str, lines: list[str]) -> tuple[PartitionState, Choice]:
    state = partition([line for line in lines if line.startswith("L")], strategy)
    running = [job(line.partition(" ")[2]) for line in lines if line.startswith("running ")]
    words = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith(("L", "running"))}
    if "major" in words:
        return state, major(state)
    if "drop_range" in words:
        start, _, stop = words["drop_range"][0].partition("-")
        snapshots = [int(word) for word in words.get("snapshots", [])]
        return state, drop_range(state, running, start.encode() or None, stop.encode() or None, snapshots)
    return state, choose(state, running, int(words.get("now", ["0"])[0]) * SECOND)


def answer(strategy: str, lines: list[str]) -> str:
    state, choice = chosen(strategy, lines)
    states = [] if isinstance(choice, Nothing) else show_state(after(state, choice)) or ["empty"]
    return "\n".join([f"=> {show(choice)}", *states])


def strategy_of(file: Path) -> str:
    return file.stem if file.stem != "drop_range" else "leveled"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tables(file: Path) -> None:
    text = "\n\n".join(
        "\n".join([f"# {name}", *lines, answer(strategy_of(file), lines)]) for name, lines in chapters(file)
    )
    if os.environ.get("FJELD_REWRITE"):
        file.write_text(text + "\n")
    assert text + "\n" == file.read_text()


def test_there_is_a_table_for_each() -> None:
    assert {file.stem for file in FILES} == {"leveled", "size_tiered", "fifo", "drop_range"}
