"""The whole demonstration on little input, and that a proof that fails is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.demo import command
from fjeld.cli.demo.checkpoints import Taken
from fjeld.cli.demo.proof import Proof, prove
from fjeld.cli.main import cli

ARGUMENTS = ["demo", "--files", "60", "--mib", "2", "--kill-after", "20", "--checkpoints", "2"]


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [*ARGUMENTS, *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_the_figures(tmp_path):
    document = json.loads(run(tmp_path / "demo", "--json").stdout)
    assert document["holds"] is True
    batches = document["written"]["batches"]
    assert document["written"]["bytes"] >= 2 << 20
    assert document["checkpoints"]["kept"] == len(document["proofs"]) == 2
    assert document["checkpoints"]["copied_bytes"] == 0
    assert document["checkpoints"]["links"] > 0
    counts = [series["count"] for series in document["latency"].values() if series is not None]
    assert 0 < sum(counts) <= batches
    assert document["crash"]["lost_entries"] == 0
    assert document["proofs"][0]["seqno"] < document["proofs"][1]["seqno"]
    assert 0 < document["proofs"][0]["entries"] < document["proofs"][1]["entries"]
    with fjeld.open(tmp_path / "demo" / "keyspace", create=False) as keyspace:
        assert len(keyspace.partition("files")) == batches


def test_the_text():
    text = run().stdout
    for expected in (
        "What the writer felt",
        "p99.9",
        "SIGKILL",
        "nothing acknowledged is lost",
        "commit lock",
    ):
        assert expected in text
    assert text.count("✓") == 3
    assert "\x1b" not in text, "no colours where there is no terminal"


def test_the_folder_must_not_exist(tmp_path):
    run(tmp_path, code=6)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with command.work_folder(None) as folder:
        assert folder.parent == tmp_path
        (folder / "x").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "default_roots", lambda: [tmp_path])
    assert "no file that can be read" in run(code=2).stderr


@pytest.fixture
def taken(tmp_path):
    with fjeld.open(tmp_path / "source") as keyspace:
        keyspace.partition("p").insert(b"k", b"v")
        info = keyspace.backup_to(tmp_path / "copy", with_snapshot=True)
        yield keyspace, Taken(info, info.snapshot)
        info.snapshot.close()


def test_a_proof_holds_while_the_source_goes_on(taken):
    keyspace, one = taken
    keyspace.partition("p").insert(b"later", b"v")
    proof = prove(keyspace, one)
    assert proof.holds
    assert proof.entries == 1
    assert keyspace.digest() != proof.checkpoint_digest


def test_a_checkpoint_that_differs_is_found(taken):
    keyspace, one = taken
    with fjeld.open(one.info.path) as copy:
        copy.partition("p").insert(b"k", b"w")
    assert not prove(keyspace, one).holds


def test_a_copy_that_claims_to_be_the_source_is_no_proof():
    proof = Proof(Path("c"), 1, 1, "a", "a", identity_is_its_own=True)
    assert proof.holds
    assert not replace(proof, identity_is_its_own=False).holds


def test_a_failed_proof_is_said(monkeypatch):
    monkeypatch.setattr(
        command, "prove", lambda keyspace, one: replace(prove(keyspace, one), source_digest="0" * 32)
    )
    result = run(code=1)
    assert "✗ 0001" in result.stdout
    assert "is not" in result.stdout
