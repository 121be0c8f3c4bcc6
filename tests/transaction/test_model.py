"""Any sequence of transactions, savepoints and single operations of either kind, against dicts.

Memtables and tables are tiny; flushes, compactions and reopenings come in between, also within a transaction.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import fjeld
from tests.small import KIB, small_options
from tests.transaction.kinds import KINDS

LONG = os.environ.get("FJELD_LONG") == "1"
TINY = fjeld.PartitionOptions(
    compaction=fjeld.Leveled(level0_runs=1, level_ratio=2, level1_bytes=KIB, table_bytes=KIB), block_bytes=256
)
keys = st.sampled_from(
    [b"", b"\x00", b"a", b"a\x00", b"aa", b"ab", b"b", b"key", b"key/1", b"\xff", b"\xff\xff"]
)
values = st.binary(max_size=3) | st.builds(lambda n: bytes(n), st.integers(0, 2_000))
names = st.sampled_from(["p", "q"])
in_transaction = precondition(lambda self: self.tx is not None)
outside = precondition(lambda self: self.tx is None)

Model = dict[str, dict[bytes, bytes]]


def copy_of(model: Model) -> Model:
    return {name: dict(rows) for name, rows in model.items()}


class Machine(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)))
    def open(self, kind: str) -> None:
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = tempfile.mkdtemp(prefix="fjeld-test-", dir=memory)
        self.kind = kind
        self.committed: Model = {"p": {}, "q": {}}
        self.seen: Model = {}
        self.tx: fjeld.Transaction | None = None
        self.points: list[tuple[fjeld.Savepoint, Model]] = []
        self.reopen()

    def reopen(self) -> None:
        options = small_options(memtable_bytes=4 * KIB)
        self.ks = KINDS[self.kind](Path(self.folder, "ks"), options=options)
        self.parts = {name: self.ks.partition(name, options=TINY) for name in ("p", "q")}

    def teardown(self) -> None:
        if hasattr(self, "ks"):
            self.ks.close()
            shutil.rmtree(self.folder)

    # ---- outside of transactions ----

    @outside
    @rule(name=names, key=keys, value=values)
    def insert(self, name: str, key: bytes, value: bytes) -> None:
        self.parts[name].insert(key, value)
        self.committed[name][key] = value

    @outside
    @rule(name=names, key=keys, value=values)
    def update(self, name: str, key: bytes, value: bytes) -> None:
        before = self.committed[name].get(key)
        assert self.parts[name].fetch_update(key, lambda old: value if old is None else None) == before
        if before is None:
            self.committed[name][key] = value
        else:
            del self.committed[name][key]

    @outside
    @rule(name=names)
    def clear(self, name: str) -> None:
        self.parts[name].clear()
        self.committed[name].clear()

    @outside
    @rule()
    def close_and_reopen(self) -> None:
        self.ks.close()
        self.reopen()
        assert {name: dict(part) for name, part in self.parts.items()} == self.committed

    @rule()
    def flush(self) -> None:
        self.ks.flush()

    @rule()
    def compact(self) -> None:
        self.ks.compact()

    @outside
    @rule()
    def begin(self) -> None:
        self.tx = self.ks.write_tx()
        self.seen = copy_of(self.committed)
        self.points = []

    # ---- within ----

    def view(self, name: str) -> fjeld.TxPartition:
        assert self.tx is not None
        return self.tx.partition(name)

    @in_transaction
    @rule(name=names, key=keys, value=values)
    def tx_insert(self, name: str, key: bytes, value: bytes) -> None:
        self.view(name)[key] = value
        self.seen[name][key] = value

    @in_transaction
    @rule(name=names, rows=st.dictionaries(keys, values))
    def tx_insert_many(self, name: str, rows: dict[bytes, bytes]) -> None:
        self.view(name).insert_many(rows.items())
        self.seen[name].update(rows)

    @in_transaction
    @rule(name=names, key=keys)
    def tx_remove(self, name: str, key: bytes) -> None:
        assert self.view(name).take(key) == self.seen[name].pop(key, None)
        self.view(name).remove(key)

    @in_transaction
    @rule(name=names, key=keys)
    def tx_get(self, name: str, key: bytes) -> None:
        rows, view = self.seen[name], self.view(name)
        assert view.get(key) == rows.get(key)
        assert view.size_of(key) == (len(rows[key]) if key in rows else None)
        assert view.get_many([key, b"a", b""]) == [rows.get(key), rows.get(b"a"), rows.get(b"")]

    @in_transaction
    @rule(name=names, start=keys, stop=keys, reverse=st.booleans())
    def tx_range(self, name: str, start: bytes, stop: bytes, reverse: bool) -> None:
        rows = sorted(self.seen[name].items(), reverse=reverse)
        view = self.view(name)
        assert list(view.range(start, stop, reverse=reverse)) == [
            row for row in rows if start <= row[0] < stop
        ]
        assert list(view.prefix(start, reverse=reverse)) == [row for row in rows if row[0].startswith(start)]
        assert (view.first(), view.last(), len(view)) == (
            min(rows, default=None),
            max(rows, default=None),
            len(rows),
        )

    @in_transaction
    @rule(name=names, moves=st.lists(st.sampled_from(["next", "prev", "seek_first", "seek_last"]) | keys))
    def tx_cursor(self, name: str, moves: list[str | bytes]) -> None:
        rows = sorted(self.seen[name])
        at = -1
        with self.view(name).cursor() as cursor:
            for move in moves:
                if isinstance(move, bytes):
                    at = sum(key < move for key in rows)
                    cursor.seek(move)
                else:
                    at = {"next": min(at + 1, len(rows)), "prev": max(at - 1, -1), "seek_first": 0}.get(
                        move, len(rows) - 1
                    )
                    getattr(cursor, move)()
                assert (cursor.key if cursor.valid else None) == (rows[at] if 0 <= at < len(rows) else None)

    @in_transaction
    @rule()
    def savepoint(self) -> None:
        assert self.tx is not None
        self.points.append((self.tx.savepoint(), copy_of(self.seen)))

    @in_transaction
    @rule(data=st.data())
    def back_to_savepoint(self, data: st.DataObject) -> None:
        if self.points:
            number = data.draw(st.integers(0, len(self.points) - 1))
            point, model = self.points[number]
            point.rollback()
            self.seen = copy_of(model)
            del self.points[number + 1 :]

    @in_transaction
    @rule(commit=st.booleans())
    def end(self, commit: bool) -> None:
        assert self.tx is not None
        if commit:
            self.tx.commit()
            self.committed = self.seen
        else:
            self.tx.rollback()
        self.tx = None
        assert {name: dict(part) for name, part in self.parts.items()} == self.committed

    @in_transaction
    @rule()
    def crash(self) -> None:
        """The keyspace is closed under the transaction: nothing of it is there."""
        self.ks.close()
        self.tx = None
        self.reopen()
        assert {name: dict(part) for name, part in self.parts.items()} == self.committed


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=2_000 if LONG else 60, stateful_step_count=40)
