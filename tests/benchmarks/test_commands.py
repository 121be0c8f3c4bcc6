"""Each command, made small: it measures fjeld, prints its table, and leaves nothing behind."""

from __future__ import annotations

import csv
import json

import pytest

from benchmarks import (
    beside_python,
    group_commit,
    growth,
    growth_plots,
    load,
    reopen,
    transactions,
    verify,
    ycsb,
)
from benchmarks.harness import Measurement

COMMANDS = {
    load: ["--n", "2500"],
    ycsb: ["--n", "2000", "--operations", "1000", "--threads", "2", "--workloads", "DE"],
    group_commit: ["--n", "40", "--threads", "1,2", "--seconds", "0.2"],
    beside_python: ["--n", "1000", "--calls", "2"],
    reopen: ["--n", "1500"],
    transactions: ["--n", "400", "--threads", "1,2"],
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__.rpartition(".")[2])
def test_a_small_run(command, tmp_path, capsys):
    command.main(
        [*COMMANDS[command], "--rounds", "1", "--engines", "fjeld", "--dir", str(tmp_path), "--json"]
    )
    measurements = json.loads(capsys.readouterr().out)["measurements"]
    assert [one["failure"] for one in measurements] == [None] * len(measurements)
    shown = {row.figure for row in command.ROWS}
    for one in measurements:
        assert shown <= one["figures"].keys()
        in_memory = {"write_amplification", "load_amplification"}  # nothing is written where /tmp is memory
        assert [name for name in shown - in_memory if not one["figures"][name] > 0] == []
        assert one["figures"].get("done", 1) == 1
    assert list(tmp_path.iterdir()) == []


def test_verify(tmp_path, capsys):
    for more in ([], ["--cold"]):
        verify.main(["--gib", "0.0001", "--turns", "1", "--folder", str(tmp_path), "--json", *more])
        figures = json.loads(capsys.readouterr().out)
        assert figures["bytes"] > 0
        assert all(speed > 0 for speed in figures["mb_per_second"].values())
    verify.main(["--gib", "0.0001", "--turns", "1", "--folder", str(tmp_path), "--codec", "none"])
    assert "of reading and hashing" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_growth(tmp_path, capsys):
    out = tmp_path / "out"
    growth.main(
        ["--n", "10000", "--files", "10", "--engines", "fjeld", "--dir", str(tmp_path), "--out", str(out)]
    )
    text = capsys.readouterr().out
    for row in growth.rows_of(10_000, 10):
        assert row.title in text
    assert "failed" not in text
    with (out / "growth.csv").open() as file:
        points = list(csv.DictReader(file))
    assert {point["what"] for point in points} > {"insert_ns", "get_ns", "scan_ns", "checkpoint_seconds"}
    assert all(float(point["value"]) > 0 for point in points)
    (files,) = (int(point["size"]) for point in points if point["what"] == "checkpoint_seconds")
    assert 5 <= files <= 20
    assert len(json.loads((out / "growth.json").read_text())["points"]) == len(points)


def test_growth_says_what_to_install_for_plots(tmp_path, monkeypatch):
    monkeypatch.setattr(growth_plots, "find_spec", lambda name: None)
    said = growth_plots.write_all(tmp_path, [Measurement("fjeld", "operations", 0, {"get_ns 10000": 5.0})])
    assert said[-1] == "for plots: pip install matplotlib"
    assert {path.name for path in tmp_path.iterdir()} == {"growth.csv", "growth.json"}


def test_growth_draws_what_there_is(tmp_path):
    pytest.importorskip("matplotlib")
    figures = {"get_ns 10000": 5.0, "get_ns 100000": 7.0}
    growth_plots.write_all(tmp_path, [Measurement("fjeld", "operations", 0, figures)])
    assert {path.name for path in tmp_path.iterdir()} == {
        "growth.csv",
        "growth.json",
        "growth_operations.png",
        "growth_operations.svg",
    }


def test_sizes():
    assert growth.sizes_of(10, 1_000) == [10, 100, 1_000]
    assert growth.sizes_of(10, 999) == [10, 100]
    assert growth.sizes_of(10, 3) == [10]


# ---------------------------------------------------------------- what YCSB does


@pytest.mark.parametrize(
    ("workload", "common", "share"), [("A", 0, 0.5), ("B", 0, 0.95), ("C", 0, 1), ("E", 2, 0.95)]
)
def test_the_mix_of_operations(workload, common, share):
    drawn = ycsb.draw(workload, 1_000, 5_000, 0, 1)
    assert sum(what == common for what, _, _ in drawn) / 5_000 == pytest.approx(share, abs=0.03)


def test_scans_are_of_1_to_100_entries():
    lengths = {length for what, _, length in ycsb.draw("E", 1_000, 20_000, 0, 1) if what == ycsb.SCAN}
    assert lengths == set(range(1, 101))


def test_the_newest_are_read_and_never_what_is_not_there_yet():
    records, known = 500, {ycsb.key_of(number) for number in range(500)}
    first, second = (ycsb.draw("D", records, 3_000, thread, 2) for thread in range(2))
    new = [{key for what, key, _ in drawn if what == ycsb.WRITE} for drawn in (first, second)]
    assert new[0].isdisjoint(new[1])
    assert (new[0] | new[1]).isdisjoint(known)
    recent = 0
    for what, key, _ in first:
        if what == ycsb.READ:
            assert key in known
            recent += key in new[0]
        else:
            known.add(key)
    assert recent > 1_000


def test_a_read_that_finds_nothing_is_a_failure(tmp_path, capsys):
    ycsb.main(
        [
            *("--n", "100", "--operations", "50", "--threads", "1", "--workloads", "C", "--rounds", "1"),
            *("--engines", "tests.benchmarks.fake_engine:Fake", "--dir", str(tmp_path)),
        ]
    )
    assert "reads did not find their record" in capsys.readouterr().out  # a dict does not outlive its process
