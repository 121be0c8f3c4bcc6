"""The same content has the same digest, however it was copied."""

from __future__ import annotations

from pathlib import Path

import fjeld
from tests.small import SMALL_PARTITION
from tests.support import digest_at, fill, opened


def test_every_kind_of_copy(path: Path, tmp_path: Path) -> None:
    with opened(path) as keyspace:
        fill(keyspace.partition("a", options=SMALL_PARTITION), 800)
        keyspace.partition("a").flush()
        fill(keyspace.partition("a"), 100, seed=3, start=300)
        for number in range(0, 800, 7):
            keyspace.partition("a").remove(b"%08d" % number)
        keyspace.partition("empty")
        digest = keyspace.digest()
        with keyspace.snapshot() as snapshot:
            assert keyspace.digest(snapshot=snapshot) == digest
            fill(keyspace.partition("a"), 50, seed=4)
            assert keyspace.export_to(tmp_path / "export", snapshot=snapshot).digest == digest
        fjeld.import_from(tmp_path / "export", tmp_path / "imported")
        now = keyspace.digest()
        keyspace.backup_to(tmp_path / "checkpoint")
    fjeld.restore(tmp_path / "checkpoint", tmp_path / "restored")
    fjeld.restore(tmp_path / "imported", tmp_path / "restored import", link="never")
    assert digest_at(tmp_path / "imported") == digest_at(tmp_path / "restored import") == digest
    assert digest_at(tmp_path / "checkpoint") == digest_at(tmp_path / "restored") == digest_at(path) == now
    with opened(tmp_path / "restored") as restored:
        info = restored.export_to(tmp_path / "again")
        assert info.digest == now
    assert fjeld.import_from(tmp_path / "again", tmp_path / "from restored").digest == now
