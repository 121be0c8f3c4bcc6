"""Scenarios of copies: what is prepared for them, and what must hold when they fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fjeld
from fjeld.backup.staging import STAGING_SUFFIX
from tests.fault.ledger import Ledger, put_some, with_entry
from tests.support import content_at, content_of, leftovers

Step = Callable[[Any, Ledger], None]


def beside(keyspace: fjeld.Keyspace) -> Path:
    return Path(keyspace.path).parent


def nothing_left(target: Path, ledger: Ledger) -> None:
    if not ledger.lasting:
        assert not target.exists(), "a failure leaves no target"
        assert leftovers(target.parent) == [], "nor anything else"


def copy(target: str, make: Callable[[fjeld.Keyspace, Path, Path], object]) -> Step:
    """make(keyspace, its parent, target): `target` is whole, or there is an error and nothing."""

    def step(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
        parent = beside(keyspace)
        try:
            make(keyspace, parent, parent / target)
        except BaseException:
            nothing_left(parent / target, ledger)
            raise
        ledger.checkpoint = (parent / target, ledger.content)

    return step


def with_copies(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """Tables and a journal, in a checkpoint and an export."""
    put_some(keyspace, ledger)
    keyspace.backup_to(beside(keyspace) / "source")
    keyspace.export_to(beside(keyspace) / "exported")


def old_one(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """What is to be replaced: it has gone on since the checkpoint, and is closed."""
    with_copies(keyspace, ledger)
    partition = keyspace.partition("a")
    after = with_entry(ledger.content, "a", b"since", b"1")
    ledger.change(lambda: partition.insert(b"since", b"1"), after)
    keyspace.close()


def replace(**chosen: object) -> Step:
    """Whatever fails: the old one or the new one is there, whole, and the old one is somewhere."""

    def step(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
        parent, old = beside(keyspace), ledger.content
        a = {key: value for key, value in old["a"].items() if key != b"since"}

        def kept() -> None:
            found = [path for path in parent.iterdir() if path.name.startswith(("keyspace", ".keyspace"))]
            found = [path for path in found if not path.name.endswith(STAGING_SUFFIX)]
            assert old in [content_at(path) for path in found], "the old one is lost"

        ledger.afterwards.append(kept)
        ledger.change(
            lambda: fjeld.restore(parent / "source", keyspace.path, replace=True, **chosen), old | {"a": a}
        )

    return step


def verify(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """What cannot be read is said to be so, and nothing is called damaged."""
    ledger.afterwards.append(lambda: _require_ok(fjeld.verify(keyspace.path)))
    report = fjeld.verify(keyspace.path)
    for problem in report.problems:
        assert "cannot be read" in problem.what, problem
    if report.ok:
        assert report.entries == sum(map(len, ledger.content.values()))


def verify_export(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    """The same of an export."""
    export = beside(keyspace) / "exported"
    ledger.afterwards.append(lambda: _require_ok(fjeld.verify(export)))
    for problem in fjeld.verify(export).problems:
        assert "cannot be read" in problem.what, problem


def _require_ok(report: fjeld.VerifyReport) -> None:
    assert report.ok, report.problems


def read_only(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    with fjeld.open_readonly(keyspace.path, cache_bytes=0) as reader:
        assert content_of(reader) == ledger.content
        reader.refresh()
        assert content_of(reader) == ledger.content


def folder_of(keyspace: fjeld.Keyspace) -> fjeld.CheckpointFolder:
    return fjeld.CheckpointFolder(beside(keyspace) / "folder")


def taken_thrice(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
    put_some(keyspace, ledger)
    for _ in range(3):
        ledger.newest = folder_of(keyspace).take(keyspace).id


def in_folder(act: Callable[[fjeld.Keyspace, fjeld.CheckpointFolder], object]) -> Step:
    """Each checkpoint is there whole or not at all, and the newest stays."""

    def step(keyspace: fjeld.Keyspace, ledger: Ledger) -> None:
        folder, content = folder_of(keyspace), ledger.content

        def whole() -> None:
            folder.clean()
            assert folder.damaged() == [], "whole or gone"
            found = folder.list()
            assert len(os.listdir(folder.path)) == len(found), "nothing is left over"
            assert ledger.newest in [info.id for info in found]
            assert all(verdict.ok for verdict in folder.verify())
            assert all(content_at(info.path) == content for info in found)

        ledger.afterwards.append(whole)
        act(keyspace, folder)

    return step
