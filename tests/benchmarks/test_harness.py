"""A process for each measurement: what comes back, what is left behind, how it goes on."""

from __future__ import annotations

import argparse
import json

import pytest

from benchmarks import harness
from benchmarks.harness import (
    Case,
    Measurement,
    chosen_engines,
    disk_bytes,
    measure_all,
    parser_of,
    run_child,
)
from benchmarks.table import Row, medians, report, shown

MODULE = "tests.benchmarks.fake_engine"
FAKE = f"{MODULE}:Fake"


@pytest.fixture
def chosen(tmp_path):
    parser = parser_of("What it is.\n\nMore.", count=5, limit_seconds=30)
    return parser.parse_args(["--engines", FAKE, "--dir", str(tmp_path), "--rounds", "2"])


def test_figures_come_back(tmp_path):
    figures, failure = run_child(MODULE, "measure", FAKE, tmp_path / "store", {"n": 3}, 30)
    assert failure is None
    assert figures == {"done": 1.0, "rate": 103.0, "folder_is_empty": 1.0, "last": 1.0}


def test_what_a_failing_process_had_so_far_stands(tmp_path):
    figures, failure = run_child(MODULE, "measure", FAKE, tmp_path / "store", {"n": 3, "then": "fail"}, 30)
    assert failure == "ValueError: as asked"
    assert figures["rate"] == 103
    assert "last" not in figures


def test_killing_itself_is_no_failure(tmp_path):
    figures, failure = run_child(MODULE, "measure", FAKE, tmp_path / "store", {"n": 3, "then": "die"}, 30)
    assert failure is None
    assert figures["rate"] == 103
    assert "last" not in figures


def test_one_that_hangs_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "KILL_AFTER_SECONDS", 1.0)
    figures, failure = run_child(MODULE, "measure", FAKE, tmp_path / "store", {"n": 3, "then": "hang"}, 0)
    assert "killed" in failure
    assert figures.get("last") is None


def test_the_limit_is_told(tmp_path):
    figures, failure = run_child(MODULE, "measure", FAKE, tmp_path / "store", {"n": 3, "then": "work"}, 0.01)
    assert failure is None
    assert figures["done"] == 0.5


def test_each_engine_case_and_round(chosen, tmp_path):
    chosen.engines = f"{FAKE}, {MODULE}:Another"
    measurements = measure_all(MODULE, [Case("a"), Case("b", {"n": 7})], chosen)
    assert [
        (one.round, one.engine.partition(":")[2], one.case, one.figures["rate"]) for one in measurements
    ] == [
        (0, "Fake", "a", 105),
        (0, "Fake", "b", 107),
        (0, "Another", "a", 105),
        (0, "Another", "b", 107),
        (1, "Another", "a", 105),  # the other way round
        (1, "Another", "b", 107),
        (1, "Fake", "a", 105),
        (1, "Fake", "b", 107),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_store_may_be_prepared(chosen):
    def prepare(engine, case, folder):
        folder.mkdir()
        (folder / "there").touch()
        return "no store of it" if case.title == "b" else None

    first, second = measure_all(
        MODULE, [Case("a"), Case("b")], argparse.Namespace(**vars(chosen) | {"rounds": 1}), prepare=prepare
    )
    assert first.figures["folder_is_empty"] == 0
    assert (second.figures, second.failure) == ({}, "no store of it")


def test_saved_measurements_are_not_made_again(chosen, tmp_path, capsys):
    chosen.save = tmp_path / "saved"
    chosen.rounds = 1
    measure_all(MODULE, [Case("a")], chosen)
    chosen.rounds = 2
    capsys.readouterr()
    measurements = measure_all(MODULE, [Case("a")], chosen)
    assert [one.round for one in measurements] == [0, 1]
    assert "round 1" not in capsys.readouterr().err
    assert measurements == measure_all(MODULE, [Case("a")], chosen)


def test_a_failed_measurement_is_made_again(chosen, tmp_path):
    chosen.save, chosen.rounds = tmp_path / "saved", 1
    (failed,) = measure_all(MODULE, [Case("a", {"then": "fail"})], chosen)
    assert failed.failure is not None
    (again,) = measure_all(MODULE, [Case("a")], chosen)
    assert again.failure is None


def test_saved_measurements_of_something_else_are_refused(chosen, tmp_path):
    chosen.save = tmp_path / "saved"
    measure_all(MODULE, [Case("a")], chosen)
    chosen.n = 6
    with pytest.raises(SystemExit, match="something else"):
        measure_all(MODULE, [Case("a")], chosen)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("nothing", "unknown engine 'nothing'"),
        (f"{MODULE}:Missing", "not installed"),
        ("json:JSONDecoder", "no subclass"),
    ],
)
def test_engines_that_there_are_not(names, message):
    with pytest.raises(SystemExit, match=message):
        chosen_engines(names)


def test_those_that_are_installed():
    assert {"fjeld", "sqlite"} <= set(chosen_engines(None))


def test_disk_bytes_counts_a_file_once(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10_000))
    once = disk_bytes(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert disk_bytes(tmp_path) == once >= 10_000


# ---------------------------------------------------------------- the table

ROWS = [Row("rate", "operations a second", "rate"), Row("p99_ns", "p99", "ns")]


def made(engine, rate, p99_ns, *, number=0, done=1.0, failure=None):
    return Measurement(engine, "A", number, {"rate": rate, "p99_ns": p99_ns, "done": done}, failure)


def test_the_median_of_the_rounds():
    rounds = [made("fjeld", rate, 5, number=number) for number, rate in enumerate([1, 9, 3])]
    assert medians(rounds)["A", "fjeld"]["rate"] == 3


def test_a_row_compares_with_the_best_peer():
    text = report(
        [made("fjeld", 3_000, 500), made("x", 1_000, 250), made("y", 1_500, 900)], ROWS, as_json=False
    )
    assert "| | fjeld | x | y | to the best peer |" in text
    assert "| A: operations a second | 3 k | 1 k | 1.5 k | **2x** |" in text
    assert "| A: p99 | 500 ns | 250 ns | 900 ns | **0.5x** |" in text


def test_one_that_was_cut_off_is_marked_and_counts_by_its_rate_only():
    text = report([made("fjeld", 3_000, 500), made("x", 1_000, 250, done=0.25)], ROWS, as_json=False)
    assert "| A: operations a second | 3 k | 1 k* | **3x** |" in text
    assert "| A: p99 | 500 ns | 250 ns* |  |" in text
    assert "x, A: cut off after 25% of the work" in text


def test_a_failure_is_said():
    text = report([made("fjeld", 1, 1), Measurement("x", "A", 0, {}, "out of luck")], ROWS, as_json=False)
    assert "| A: p99 | 1 ns | – |  |" in text
    assert "x, A failed: out of luck" in text


def test_as_json():
    document = json.loads(report([made("fjeld", 1, 2)], ROWS, as_json=True, heading="what"))
    assert document["heading"] == "what"
    assert document["machine"]
    assert document["measurements"][0]["figures"] == {"rate": 1, "p99_ns": 2, "done": 1}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "rate", "–"),
        (12, "rate", "12"),
        (1_520_000, "rate", "1.52 M"),
        (2_500_000_000, "rate", "2,500 M"),
        (999.6, "ns", "1 us"),
        (0.0123, "seconds", "12.3 ms"),
        (4_000, "seconds", "4,000 s"),
        (2_000_000, "bytes", "2 MB"),
        (2.5e9, "bytes", "2.5 GB"),
        (1.234, "times", "1.23x"),
        (1_234, "times", "1,234x"),
    ],
)
def test_figures_as_they_are_shown(value, unit, text):
    assert shown(value, unit) == text
