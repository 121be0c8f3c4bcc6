"""The soak, made short: it ends well, and a difference is found and said."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from benchmarks import soak
from benchmarks.soak_model import FIFO, Difference, Model, Store, Workload, compare, plan

SHORT = ["--seconds", "2.5", "--disk-mb", "60", "--backup-seconds", "0.4", "--crash-seconds", "1"]
WORKLOAD = Workload(20_000_000)


def test_a_short_one(tmp_path, capsys):
    assert soak.main([*SHORT, "--dir", str(tmp_path), "--seed", "7", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["seed"] == 7
    assert (
        min(counts[what] for what in ("operations", "entries compared", "backups", "crashes", "closed")) >= 1
    )
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_said_and_its_folder_is_left(tmp_path, capsys, monkeypatch):
    """A store that loses some of its batches."""
    whole = Store.apply

    def losing(self, operation):
        if operation.kind != "batch":
            whole(self, operation)

    monkeypatch.setattr(Store, "apply", losing)
    assert soak.main([*SHORT, "--dir", str(tmp_path), "--seed", "7"]) == 1
    said = capsys.readouterr().err
    assert "seed 7" in said
    assert "Difference: " in said
    (left,) = tmp_path.iterdir()
    assert f"left in {left}" in said


def test_a_plan_follows_from_its_seed():
    first, again = (list(islice(plan("1", WORKLOAD, 5), 2_000)) for _ in range(2))
    assert first == again
    assert {operation.kind for operation in first} >= {"single", "batch", "many"}
    assert next(key for name, key, _ in _changes(first) if name == FIFO).endswith(b"5")
    assert list(islice(plan("2", WORKLOAD, 5), 2_000)) != first


def _changes(operations):
    return [change for operation in operations for change in operation.changes]


def test_store_and_model_do_the_same(path):
    store, model = Store(path, WORKLOAD), Model({name: {} for name in WORKLOAD.partitions()})
    with store.keyspace:
        for operation in islice(plan("3", WORKLOAD, 0), 3_000):
            store.apply(operation)
            model.apply(operation)
        for name, contents in model.contents.items():
            compare("here", name, store.partitions[name].range(), contents)
        assert model.appended == len(model.contents[FIFO])


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ([], {b"a": b"1"}, "found none any more, expected b'a'"),
        ([(b"a", b"1")], {}, "found b'a' with 1 bytes"),
        ([(b"a", b"1"), (b"b", b"2")], {b"a": b"1", b"b": b"3"}, "entry 1"),
        ([(b"b", b"2"), (b"a", b"1")], {b"a": b"1", b"b": b"2"}, "entry 0"),
    ],
)
def test_the_first_difference_is_named(found, expected, said):
    with pytest.raises(Difference, match=said):
        compare("here", "leveled", found, expected)


def test_only_a_tail_of_fifo_has_to_be_there():
    written = {b"%d" % number: b"" for number in range(9)}
    tail = sorted(written.items())[5:]
    assert compare("here", FIFO, tail, written) == 5
    with pytest.raises(Difference, match="all of its 9 entries are gone"):
        compare("here", FIFO, [], written)
    with pytest.raises(Difference):
        compare("here", FIFO, sorted(written.items())[:5], written)
    with pytest.raises(Difference):
        compare("here", "leveled", tail, written)


def test_fifo_may_not_forget_too_much():
    model = Model({FIFO: {b"%d" % number: bytes(99) for number in range(9)}})
    assert model.forget(b"3", 1_000) == 3
    with pytest.raises(Difference, match="kept 300 bytes only"):
        model.forget(b"6", 1_000)


def test_a_disk_that_grows_ends_it(tmp_path, capsys):
    assert soak.main([*SHORT, "--disk-mb", "0.1", "--dir", str(tmp_path)]) == 1
    assert "the disk grew to" in capsys.readouterr().err
