"""`inspect` of an export: what its header says, and nothing of what is behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.main import cli


@pytest.fixture
def export(path: Path, tmp_path: Path) -> tuple[Path, str, int]:
    with fjeld.open(path) as keyspace:
        for name in ("a", "b"):
            keyspace.partition(name).insert(b"k", b"v")
        keyspace.export_to(tmp_path / "all")
        keyspace.export_to(tmp_path / "some", partitions=["b"])
        return tmp_path, keyspace.id, keyspace.seqno


def test_the_header(export: tuple[Path, str, int]) -> None:
    folder, identity, seqno = export
    found = fjeld.inspect(folder / "all")
    assert isinstance(found, fjeld.InspectedExport)
    assert (found.keyspace_id, found.seqno, found.partitions, found.complete) == (
        identity,
        seqno,
        ("a", "b"),
        True,
    )
    assert found.size_bytes == (folder / "all").stat().st_size
    some = fjeld.inspect(folder / "some")
    assert isinstance(some, fjeld.InspectedExport)
    assert (some.partitions, some.complete) == (("b",), False)


def test_damage_and_other_files(export: tuple[Path, str, int]) -> None:
    folder, _, _ = export
    data = bytearray((folder / "all").read_bytes())
    data[80] ^= 1
    (folder / "damaged").write_bytes(data)
    with pytest.raises(fjeld.CorruptionError):
        fjeld.inspect(folder / "damaged")
    (folder / "other").write_bytes(b"something else")
    with pytest.raises(fjeld.NotAKeyspaceError, match="export"):
        fjeld.inspect(folder / "other")


def test_the_verb(export: tuple[Path, str, int]) -> None:
    folder, identity, _ = export
    shown = CliRunner().invoke(cli, ["info", str(folder / "some")])
    assert shown.exit_code == 0
    assert identity in shown.output
    assert "there were others" in shown.output
    facts = json.loads(CliRunner().invoke(cli, ["info", "--json", str(folder / "all")]).output)
    assert (facts["kind"], facts["partitions"]) == ("export", ["a", "b"])
