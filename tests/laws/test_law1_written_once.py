"""Law 1: a file is written once, sealed, and never changed or used again."""

from __future__ import annotations

from pathlib import Path

from tests.small import SMALL_PARTITION
from tests.support import (
    Event,
    abandon,
    content_of,
    crash_copy,
    fill,
    journals_of,
    opened,
    settle,
    traced,
    tree_of,
)

SEALED = 0o444


class Witness:
    """Remembers every sealed file it has seen, and demands that it stays as it was until it is deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, bytes] = {}

    def look(self) -> None:
        for name, (mode, data) in tree_of(self._path).items():
            if name in self._seen:
                assert (mode, data) == (SEALED, self._seen[name]), f"{name} has changed"
            elif mode == SEALED:
                self._seen[name] = data

    @property
    def seen(self) -> set[str]:
        return set(self._seen)


def test_sealed_files_never_change(path: Path) -> None:
    witness = Witness(path)
    for round_number in range(3):
        with opened(path) as keyspace:
            partition = keyspace.partition("a", options=SMALL_PARTITION)
            for part in range(4):
                fill(partition, 400, seed=part, start=round_number * 100)
                rotation = keyspace._engine.rotation
                rotation.cut(lambda: None)
                rotation.hurry()
                rotation.finish_sealed()  # else it would retire before it is finished
                witness.look()
                keyspace.flush()
                witness.look()
            keyspace.compact()
            settle(keyspace)
            witness.look()
        witness.look()
    assert any(name.endswith(".sst") for name in witness.seen)
    assert any(name.endswith(".jnl") for name in witness.seen)


def test_what_a_version_names_is_sealed(path: Path) -> None:
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        fill(keyspace.partition("a"), 2000)
        settle(keyspace)
        keyspace.partition("b").insert(b"k", b"v")
        keyspace.partition("b").flush()
        tree = tree_of(path)
        named = [file.path for file in keyspace._engine.store.version.files()]
        assert {name.split("/")[0] for name in named} == {"tables", "journals"}
        for name in named:
            assert tree[name][0] == SEALED, name


def offences(trace: list[Event]) -> list[str]:
    """Names that were made twice, and changes to files after their seal."""
    made: set[str] = set()
    sealed: set[str] = set()
    found = []
    for name, path, *_ in trace:
        if name == "create":
            found += [f"{path} was made twice"] if path in made else []
            made.add(path)
        elif name == "seal":
            sealed.add(path)
        elif name in ("write", "truncate", "allocate") and path in sealed:
            # The manifest's last record says that it is sealed.
            found += [] if "MANIFEST" in path else [f"{name} of {path} after its seal"]
    return found


def test_no_name_is_used_twice_and_nothing_is_written_after_its_seal(path: Path) -> None:
    with traced() as trace:
        for _ in range(3):
            with opened(path) as keyspace:
                fill(keyspace.partition("a", options=SMALL_PARTITION), 800)
                keyspace.partition("a").clear()
                fill(keyspace.partition("a"), 400)
                keyspace.compact()
    assert offences(trace) == []
    assert sum(event[0] == "seal" for event in trace) > 5


def test_offences_are_found() -> None:
    assert offences([("create", "a"), ("create", "a")])
    assert offences([("create", "a"), ("seal", "a"), ("write", "a", 0, b"x")])
    assert not offences([("create", "a"), ("write", "a", 0, b"x"), ("seal", "a")])


def test_recovery_repairs_nothing(path: Path, tmp_path: Path) -> None:
    """It starts new files; what it found is deleted or stays as it was, torn tails too."""
    with opened(path, memtable_bytes=1 << 20) as keyspace:
        fill(keyspace.partition("a"), 1500)
        expected = content_of(keyspace)
        crashed = crash_copy(path, tmp_path / "crashed")
    torn = journals_of(crashed)[0]
    for newest in journals_of(crashed):
        if any(newest.read_bytes()[32:40]):
            torn = newest
    data = bytearray(torn.read_bytes())
    end = len(data.rstrip(b"\0"))
    data[end : end + 20] = b"half a record of it."
    torn.chmod(0o644)
    torn.write_bytes(data)
    for _ in range(3):
        before = tree_of(crashed)
        keyspace = opened(crashed, memtable_bytes=1 << 20)
        assert content_of(keyspace) == expected
        abandon(keyspace)
        after = tree_of(crashed)
        for name in before.keys() & after.keys() - {"CURRENT", "LOCK"}:
            assert after[name] == before[name], name
