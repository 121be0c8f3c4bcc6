"""The benchmark: every engine gives right answers, and the table compares rightly."""

from __future__ import annotations

import importlib.util
import io
import json
import platform

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from fjeld.cli.bench.command import ENGINES, installed
from fjeld.cli.bench.engine import Engine
from fjeld.cli.bench.machine import cpu_model, machine
from fjeld.cli.bench.table import draw, is_time, medians, ratio_to_best
from fjeld.cli.bench.workload import WORKLOADS, Dataset, chunked, run_engine
from fjeld.cli.main import cli

FIGURES = {
    "fjeld": {"get": 300.0, "checkpoint ms": 2.0},
    "a": {"get": 100.0, "checkpoint ms": 8.0},
    "b": {"get": 150.0},
}


class DictEngine(Engine):
    """The model of an engine: a dict, sorted when asked."""

    name = "dict"
    module = "builtins"

    def open(self, path):
        path.mkdir()
        self.data: dict[bytes, bytes] = {}

    def insert(self, key, value, /):
        self.data[key] = value

    def get(self, key, /):
        return self.data.get(key)

    def remove(self, key, /):
        self.data.pop(key, None)

    def insert_many(self, pairs, /):
        self.data.update(pairs)

    def scan(self, start=None):
        return [item for item in sorted(self.data.items()) if start is None or item[0] >= start]

    def scan_reverse(self):
        return self.scan()[::-1]

    def close(self):
        self.data.clear()


class LossyEngine(DictEngine):
    def insert(self, key, value, /):
        if len(self.data) < 50:
            self.data[key] = value


class ShortEngine(DictEngine):
    def scan_reverse(self):
        return self.scan()[1:]


class StubbornEngine(DictEngine):
    def remove(self, key, /):
        pass


def test_every_workload_is_measured(tmp_path):
    steps: list[str] = []
    results = run_engine(DictEngine(), tmp_path / "dict", Dataset.make(500, 10), steps.append)
    without_copy = [workload for workload in WORKLOADS if not is_time(workload)]
    assert set(results) == set(without_copy)
    assert steps == list(results)
    assert all(figure > 0 for figure in results.values())


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [(LossyEngine, "lost a key"), (ShortEngine, "scanned 499 of 500"), (StubbornEngine, "still has")],
)
def test_a_wrong_engine_has_no_rate(kind, complaint, tmp_path):
    with pytest.raises(AssertionError, match=complaint):
        run_engine(kind(), tmp_path / "wrong", Dataset.make(500, 10), lambda workload: None)


@pytest.mark.parametrize("kind", ENGINES, ids=lambda kind: kind.name)
def test_each_engine_agrees_with_the_model(kind, tmp_path):
    if importlib.util.find_spec(kind.module) is None:
        pytest.skip(f"{kind.name} is not installed")
    data = Dataset.make(400, 20)
    engine, model = kind(), DictEngine()
    engine.open(tmp_path / "engine")
    model.open(tmp_path / "model")
    try:
        for one in (engine, model):
            for key, value in data.pairs[:300]:
                one.insert(key, value)
            one.insert_many(data.pairs[200:])
            one.compact()
            for key, _ in data.pairs[::3]:
                one.remove(key)
        keys = [key for key, _ in data.pairs + data.more[:50]]
        assert [engine.get(key) for key in keys] == [model.get(key) for key in keys]
        assert list(engine.get_many(keys)) == list(model.get_many(keys))
        assert [tuple(pair) for pair in engine.scan()] == model.scan()
        assert [tuple(pair) for pair in engine.scan(keys[7])] == model.scan(keys[7])
        assert [tuple(pair) for pair in engine.scan_reverse()] == model.scan_reverse()
        assert engine.checkpoint(tmp_path / "checkpoint") == (tmp_path / "checkpoint").exists()
    finally:
        engine.close()


def test_the_data_set_is_the_same_each_time():
    data = Dataset.make(100, 33)
    assert data == Dataset.make(100, 33)
    assert {len(key) for key, _ in data.pairs} == {16}
    assert {len(value) for _, value in data.pairs + data.more} == {33}
    assert len({key for key, _ in data.pairs + data.more}) == 200


def test_chunks():
    assert [list(chunk) for chunk in chunked([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]


def test_ratios():
    assert ratio_to_best(FIGURES, "get") == 2.0
    assert ratio_to_best(FIGURES, "checkpoint ms") == 4.0, "less time is better"
    assert ratio_to_best(FIGURES, "scan") is None
    assert ratio_to_best({"fjeld": {"get": 1.0}}, "get") is None


def test_medians_of_rounds():
    rounds = [{"a": {"get": figure, "scan": 1.0}} for figure in (1.0, 9.0, 2.0)]
    del rounds[1]["a"]["scan"]
    assert medians(rounds) == {"a": {"get": 2.0, "scan": 1.0}}


def test_the_table():
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(draw(FIGURES))
    lines = console.file.getvalue().splitlines()
    assert lines[0].split()[-4:] == ["to", "the", "best", "peer"]
    assert lines[1].split() == ["get", "300", "100", "150", "2.00x"]
    assert lines[2].split() == ["checkpoint", "ms", "2", "8", "-", "4.00x"]


def test_engines_by_name():
    assert [engine.name for engine in installed("sqlite,fjeld")] == ["sqlite", "fjeld"]
    assert {"fjeld", "sqlite"} <= {engine.name for engine in installed(None)}
    with pytest.raises(click.BadParameter, match="unknown engine 'nosql'"):
        installed("nosql")


def test_the_verb(tmp_path):
    arguments = ["bench", str(tmp_path), "--count", "1000", "--engines", "fjeld,sqlite", "--rounds", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document["figures"]) == {"fjeld", "sqlite"}
    assert set(document["figures"]["fjeld"]) == set(WORKLOADS)
    assert document["ratio"]["get"] > 0
    assert list(tmp_path.iterdir()) == []
    text = CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout
    assert "to the best peer" in text


def test_the_machine_is_named(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Abacus 9\nprocessor\t: 1\nmodel name\t: Abacus 9\n")
    assert cpu_model(cpuinfo) == "Abacus 9"
    assert cpu_model(tmp_path / "none") == platform.machine()
    assert cpu_model() in machine()
