"""`fjeld export` and `fjeld import`: files, standard output and input, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.main import cli
from tests.support import content_at


@pytest.fixture
def path(tmp_path):
    with fjeld.open(tmp_path / "data") as keyspace:
        for name in ("users", "posts"):
            keyspace.partition(name).insert_many((b"%04d" % number, name.encode()) for number in range(500))
    return tmp_path / "data"


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(
        cli, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return result


def test_to_a_file_and_back(path, tmp_path):
    told = run("export", path, tmp_path / "x").output
    assert "1,000 entries of 2 partitions" in told
    told = run("import", tmp_path / "x", tmp_path / "new").output
    assert run("digest", path).output.strip() in told
    assert content_at(tmp_path / "new") == content_at(path)


def test_for_machines(path, tmp_path):
    told = json.loads(run("export", path, tmp_path / "x", "--json", "--metadata", '{"a": 1}').stdout)
    assert (told["entries"], told["partitions"], told["metadata"]) == (1000, ["posts", "users"], {"a": 1})
    new = json.loads(run("--json", "import", tmp_path / "x", tmp_path / "new").stdout)
    assert (new["digest"], new["metadata"]) == (told["digest"], {"a": 1})


def test_through_standard_output_and_input(path, tmp_path):
    result = run("export", path, "-", "--compression", "lz4")
    assert result.stdout_bytes.startswith(b"FJELDEXP")
    assert "standard output" in result.stderr
    assert json.loads(run("export", path, "-", "--json").stderr)["path"] is None
    run("import", "-", tmp_path / "new", stdin=result.stdout_bytes)
    assert content_at(tmp_path / "new") == content_at(path)


def test_a_real_pipe(path, tmp_path):
    command = [sys.executable, "-c", "from fjeld.cli.main import main; main()"]
    export = subprocess.Popen(
        [*command, "export", str(path), "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    done = subprocess.run(
        [*command, "import", "-", str(tmp_path / "new")], stdin=export.stdout, check=True, capture_output=True
    )
    export.stdout.close()
    export.stderr.close()
    assert export.wait() == 0
    assert b"1,000 entries" in done.stdout
    assert content_at(tmp_path / "new") == content_at(path)


def test_some_partitions(path, tmp_path):
    run("export", path, tmp_path / "x", "-p", "users")
    run("import", tmp_path / "x", tmp_path / "new")
    assert list(content_at(tmp_path / "new")) == ["users"]
    assert "there is no partition 'nope'" in run("export", path, tmp_path / "y", "-p", "nope", code=2).stderr


def test_what_goes_wrong(path, tmp_path):
    run("export", path, tmp_path / "x")
    run("export", path, tmp_path / "x", code=6)
    run("export", tmp_path / "none", tmp_path / "y", code=3)
    run("import", tmp_path / "none", tmp_path / "new", code=6)
    run("import", tmp_path / "x", path, code=6)
    data = (tmp_path / "x").read_bytes()
    assert "cut short" in run("import", "-", tmp_path / "new", stdin=data[:-1], code=5).stderr
    run("import", "-", tmp_path / "new", stdin=b"garbage", code=5)
    assert sorted(os.listdir(tmp_path)) == ["data", "x"]


def test_examples_in_the_help():
    for verb in ("export", "import", "restore", "discard", "completion", "checkpoints"):
        assert "Example" in run(verb, "--help").output
