"""The verbs of `fjeld checkpoints`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.main import cli


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, ["checkpoints", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints."""
    with fjeld.open(tmp_path / "data") as keyspace:
        keyspace.partition("users").insert(b"alice", b"1")
    for number in range(3):
        run("take", tmp_path / "folder", tmp_path / "data", "--metadata", json.dumps({"number": number}))
    return tmp_path / "folder"


def listed(folder: Path, code: int = 0) -> list[dict]:
    return json.loads(run("list", folder, "--json", code=code).stdout)["checkpoints"]


def test_take_and_list(folder, tmp_path):
    assert "seqno 1" in run("list", folder).output
    found = listed(folder)
    assert [each["metadata"]["number"] for each in found] == [0, 1, 2]
    assert found[0]["partitions"] == ["users"]
    told = json.loads(run("take", folder, tmp_path / "data", "--json", "--link", "never", "--flush").stdout)
    assert told["path"] == listed(folder)[-1]["path"]
    run("list", tmp_path / "none", code=3)
    run("take", folder, tmp_path / "none", code=3)


def test_at(folder):
    found = listed(folder)
    assert run("at", folder).output.strip() == found[2]["path"]
    assert run("at", folder, "--time", found[1]["created_at"]).output.strip() == found[1]["path"]
    assert json.loads(run("at", folder, "--seqno", 1, "--json").stdout)["id"] == found[2]["id"]
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert run("at", folder, "--time", before, code=1).output == ""
    assert json.loads(run("at", folder, "--time", before, "--json", code=1).stdout) is None
    assert "zone" in run("at", folder, "--time", "2026-01-01", code=2).stderr
    assert "no time" in run("at", folder, "--time", "noon", code=2).stderr
    run("at", folder, "--time", before, "--seqno", 1, code=2)


def test_expire(folder):
    found = listed(folder)
    assert "would remove" in run("expire", folder, "--last", 1, "--dry-run").output
    assert len(listed(folder)) == 3
    told = json.loads(run("expire", folder, "--last", 2, "--daily", 1, "--json").stdout)
    assert [each["id"] for each in told["removed"]] == [found[0]["id"]]
    assert told["kept"][1]["reasons"][0] == "the newest"
    assert "removed" in run("expire", folder, "--last", 1).output
    run("expire", folder, "--within", "36h")
    assert len(listed(folder)) == 1
    assert "no rule" in run("expire", folder, code=2).stderr
    assert "36h" in run("expire", folder, "--within", "soon", code=2).stderr


def test_verify_and_space(folder):
    assert run("verify", folder).output.count("sound") == 3
    assert json.loads(run("verify", folder, "--json").stdout)[0]["ok"]
    assert "all together" in run("space", folder).output
    assert json.loads(run("space", folder, "--json").stdout)["own_bytes"] > 0
    document = Path(listed(folder)[1]["path"]) / "checkpoint.json"
    document.unlink()
    document.write_text("{}")
    assert "DAMAGED" in run("verify", folder, code=5).output
    assert "no sound checkpoint" in run("list", folder, code=5).stderr
    assert len(listed(folder, code=5)) == 2
    assert "no sound checkpoint" in run("expire", folder, "--last", 5).stderr


def test_clean(folder):
    (folder / ".x.0123456789ab.fjeld-removing").mkdir()
    assert run("clean", folder).output == ".x.0123456789ab.fjeld-removing\n"
    assert json.loads(run("clean", folder, "--json").stdout) == []
