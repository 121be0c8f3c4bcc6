"""How far ahead the disk is asked: only where the system does not read ahead far enough by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fjeld.backup.read_ahead import ASKED_BYTES, ahead_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("128\n", ASKED_BYTES), ("1023\n", ASKED_BYTES), ("1024\n", 0), ("8192\n", 0), ("much\n", ASKED_BYTES)],
)
def test_the_window_of_the_device(tmp_path: Path, text: str, expected: int) -> None:
    device = os.stat(tmp_path).st_dev
    entry = tmp_path / "devices" / f"{os.major(device)}:{os.minor(device)}"
    entry.mkdir(parents=True)
    (entry / "read_ahead_kb").write_text(text)
    assert ahead_bytes(str(tmp_path), tmp_path / "devices") == expected


def test_where_it_cannot_be_told(tmp_path: Path) -> None:
    assert ahead_bytes(str(tmp_path), tmp_path / "none") == ASKED_BYTES
    assert ahead_bytes(str(tmp_path / "missing")) == ASKED_BYTES
