"""The measurement of stalls, made small: what it counts, and what it leaves behind."""

from __future__ import annotations

import json

import pytest

from benchmarks import checkpoint_stall


@pytest.mark.parametrize("rate", [0, 20_000])
def test_a_small_run(tmp_path, capsys, monkeypatch, rate):
    monkeypatch.setattr(checkpoint_stall, "WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(checkpoint_stall, "LEAST_CHECKPOINTS", 3)
    checkpoint_stall.main(
        ["--tables", "5", "--seconds", "0.1", "--rate", str(rate), "--dir", str(tmp_path), "--json"]
    )
    figures = json.loads(capsys.readouterr().out)
    assert figures["tables"] >= 5
    assert figures["checkpoints"] >= 3
    assert figures["copied_bytes"] == 0
    assert figures["quiet"]["inserts"]["count"] > 0
    assert figures["busy"]["inserts"]["count"] > 0
    assert (figures["quiet"]["late"] is None) == (rate == 0)
    assert list(tmp_path.iterdir()) == []


def test_the_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoint_stall, "WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(checkpoint_stall, "LEAST_CHECKPOINTS", 1)
    checkpoint_stall.main(["--tables", "5", "--seconds", "0.05", "--dir", str(tmp_path)])
    text = capsys.readouterr().out
    assert "0 bytes copied" in text
    assert "| insert, checkpoints back to back |" in text
