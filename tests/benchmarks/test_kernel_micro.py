"""Every case of the micro-benchmark still runs, and does what its name says as often as it says."""

from __future__ import annotations

import pytest

from benchmarks import kernel_micro
from benchmarks.kernel_micro import CASES, Bench, Case, best_ns, main


@pytest.mark.parametrize("case_of", CASES, ids=lambda case_of: case_of.__name__)
def test_a_pass(tmp_path, case_of):
    case = case_of(Bench(tmp_path, 300))
    case.work()
    case.work()
    assert case.operations > 0


def test_the_best_of_the_rounds_for_each_operation():
    clock = iter([0, 500, 0, 300, *[0, 400] * (kernel_micro.ROUNDS - 2)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_micro.time, "perf_counter_ns", lambda: next(clock))
        assert best_ns(Case(lambda: None, 100)) == 3


def test_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(kernel_micro, "ENTRIES", 300)
    main(["--only", "digest", "--dir", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[-1].split("|")[1:2]] == ["digest"]
    assert list(tmp_path.iterdir()) == []
