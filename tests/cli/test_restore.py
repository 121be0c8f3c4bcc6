"""`fjeld restore`, `fjeld discard` and `fjeld completion`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.main import cli
from tests.support import content_at, tables_of


@pytest.fixture
def path(tmp_path):
    with fjeld.open(tmp_path / "data") as keyspace:
        keyspace.partition("users").insert(b"alice", b"1")
        keyspace.flush()
        keyspace.backup_to(tmp_path / "checkpoint", metadata={"a": 1})
        keyspace.partition("users").insert(b"bob", b"2")
    return tmp_path / "data"


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_into_a_new_place(path, tmp_path):
    assert "1 files checked" in run("restore", tmp_path / "checkpoint", tmp_path / "new").output
    told = json.loads(
        run("restore", tmp_path / "checkpoint", tmp_path / "json", "--link", "never", "--json").stdout
    )
    assert (told["metadata"], told["linked_bytes"], told["replaced"]) == ({"a": 1}, 0, None)
    assert content_at(tmp_path / "new") == content_at(tmp_path / "json") == {"users": {b"alice": b"1"}}


def test_over_an_old_one(path, tmp_path):
    assert "--replace" in run("restore", tmp_path / "checkpoint", path, code=6).stderr
    told = run("restore", tmp_path / "checkpoint", path, "--replace").output
    assert "fjeld discard" in told
    assert content_at(path) == {"users": {b"alice": b"1"}}
    assert "removed" in run("discard", path).output
    assert json.loads(run("discard", path, "--json").stdout) == []
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "data"]


def test_what_goes_wrong(path, tmp_path):
    run("restore", tmp_path / "none", tmp_path / "new", code=3)
    run("restore", path, path, "--replace", code=2)
    run("discard", tmp_path / "none", code=3)
    with fjeld.open(path):
        run("restore", tmp_path / "checkpoint", path, "--replace", code=4)
    table = tables_of(tmp_path / "checkpoint")[0]
    table.unlink()
    table.write_bytes(b"x")
    run("restore", tmp_path / "checkpoint", tmp_path / "new", code=5)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "data"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, tmp_path):
    script = run("completion", shell).output
    assert "_FJELD_COMPLETE" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_completion_of_an_unknown_shell():
    run("completion", "tcsh", code=2)
