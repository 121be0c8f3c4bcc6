"""Several optimistic transactions driven by one thread, step by step, against an exact oracle.

The oracle knows what was committed in which order. A commit must conflict exactly where a key that was read, or that
lies in a range that was read, was written by a commit since the transaction began. What was read must be what there
was at its beginning, with its own writes; and the history must be serializable by the cycle search too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fjeld
from tests.small import KIB, small_options
from tests.support import fast_folder
from tests.transaction.history import Record, check, decoded, encoded

LONG = os.environ.get("FJELD_LONG") == "1"
KEYS = [b"a", b"aa", b"ab", b"b", b"ba", b"c", b"d", b"dd"]
TINY = fjeld.PartitionOptions(
    compaction=fjeld.Leveled(level0_runs=1, level_ratio=2, level1_bytes=KIB, table_bytes=KIB), block_bytes=256
)
Span = tuple[bytes, bytes | None]
"""From the first key up to, not including, the second; None: to the end."""


@dataclass
class Open:
    """A transaction, and what the oracle knows of it."""

    tx: fjeld.OptimisticTransaction
    view: fjeld.TxPartition
    began: int
    model: dict[bytes, bytes]
    record: Record
    own: set[bytes] = field(default_factory=set)
    points: set[bytes] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)


class Oracle:
    """The committed states, one after the other."""

    def __init__(self, ks: fjeld.OptimisticTxKeyspace, name: str) -> None:
        self.ks = ks
        self.name = name
        self.partition = ks.partition(name, options=TINY)
        self.states: list[dict[bytes, bytes]] = [{}]
        self.written: list[set[bytes]] = [set()]
        self.clients: dict[int, Open] = {}
        self.records: list[Record] = []
        self.numbers = count(1)
        self.removed = False

    def committed(self, changes: dict[bytes, bytes | None]) -> None:
        state = dict(self.states[-1])
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        self.states.append(state)
        self.written.append(set(changes))

    def conflicts(self, open_: Open) -> bool:
        since = set().union(*self.written[open_.began + 1 :])
        if not open_.own:
            return False
        return bool(since & open_.points) or any(
            low <= key and (high is None or key < high) for low, high in open_.spans for key in since
        )

    # ---- steps ----

    def begin(self, client: int) -> Open:
        tx = self.ks.write_tx()
        open_ = Open(
            tx,
            tx.partition(self.name),
            len(self.states) - 1,
            dict(self.states[-1]),
            Record(next(self.numbers)),
        )
        self.clients[client] = open_
        return open_

    def step(self, client: int, what: str, a: bytes, b: bytes) -> None:
        if client not in self.clients:
            self.begin(client)
        open_ = self.clients[client]
        low, high = sorted((a, b))
        getattr(self, "do_" + what)(client, open_, low, high)

    def note(self, open_: Open, key: bytes, value: bytes | None) -> None:
        if key not in open_.own and not self.removed:
            open_.record.reads.setdefault(key, decoded(value))

    def do_get(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        assert open_.view.get(b) == open_.model.get(b)
        if b not in open_.own:
            open_.points.add(b)
        self.note(open_, b, open_.model.get(b))

    def do_many(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        assert open_.view.get_many([a, b]) == [open_.model.get(a), open_.model.get(b)]
        open_.points |= {a, b} - open_.own
        for key in (a, b):
            self.note(open_, key, open_.model.get(key))

    def do_range(self, client: int, open_: Open, a: bytes, b: bytes, reverse: bool = False) -> None:
        if a == b:
            return
        there = sorted((k, v) for k, v in open_.model.items() if a <= k < b)
        assert list(open_.view.range(a, b, reverse=reverse)) == there[:: -1 if reverse else 1]
        open_.spans.append((a, b))
        for key in KEYS:
            if a <= key < b:
                self.note(open_, key, open_.model.get(key))

    def do_back(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.do_range(client, open_, a, b, True)

    def do_some(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        """The first two entries of a range: what lies behind them is not read."""
        there = sorted((k, v) for k, v in open_.model.items() if a <= k)[:2]
        assert list(islice(open_.view.range(a), 2)) == there
        open_.spans.append((a, there[-1][0] + b"\0" if len(there) == 2 else None))
        for key in KEYS:
            if a <= key and (len(there) < 2 or key <= there[-1][0]):
                self.note(open_, key, open_.model.get(key))

    def do_last(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        there = max(open_.model.items(), default=None)
        assert open_.view.last() == there
        open_.spans.append((b"" if there is None else there[0], None))
        for key in KEYS:
            if there is None or key >= there[0]:
                self.note(open_, key, open_.model.get(key))

    def do_cursor(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        """Seek, then one step each way."""
        there = sorted(open_.model)
        from_a = [key for key in there if key >= a]
        before_a = [key for key in there if key < a]
        with open_.view.cursor() as cursor:
            assert cursor.seek(a) == bool(from_a)
            if from_a:
                assert cursor.key == from_a[0]
            assert cursor.prev() == bool(before_a)
        low = before_a[-1] if before_a else b""
        high = from_a[0] + b"\0" if from_a else None
        open_.spans.append((low, high))
        for key in KEYS:
            if low <= key and (high is None or key < high):
                self.note(open_, key, open_.model.get(key))

    def do_length(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        assert len(open_.view) == len(open_.model)
        open_.spans.append((b"", None))
        for key in KEYS:
            self.note(open_, key, open_.model.get(key))

    def do_append(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.do_get(client, open_, a, b)
        seen = decoded(open_.model.get(b))
        if open_.record.number not in seen:
            open_.view[b] = open_.model[b] = encoded((*seen, open_.record.number))
            open_.own.add(b)
            open_.record.writes.add(b)

    def do_blind(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.removed = True  # the lists are broken: only the oracle goes on
        open_.view[a] = open_.model[a] = b"%d" % next(self.numbers)
        open_.own.add(a)

    def do_remove(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.removed = True
        open_.view.remove_weak(a) if a < b else open_.view.remove(a)
        open_.model.pop(a, None)
        open_.own.add(a)

    def do_commit(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        del self.clients[client]
        if self.conflicts(open_):
            with pytest.raises(fjeld.ConflictError):
                open_.tx.commit()
            return
        open_.tx.commit()
        if open_.own:
            self.committed({key: open_.model.get(key) for key in open_.own})
        self.records.append(open_.record)
        assert dict(self.partition) == self.states[-1]

    def do_rollback(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        del self.clients[client]
        open_.tx.rollback()

    def do_direct(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        record = Record(next(self.numbers))
        seen = decoded(self.states[-1].get(a))
        value = self.partition.update_fetch(a, lambda old: encoded((*seen, record.number)))
        record.reads[a] = seen
        record.writes.add(a)
        self.committed({a: value})
        self.records.append(record)

    def do_ingest(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.removed = True
        value = b"%d" % next(self.numbers)
        self.partition.ingest(sorted({a: value, b: value}.items()))
        self.committed({a: value, b: value})

    def do_clear(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.removed = True
        self.partition.clear()
        # Whoever has read anything of the partition conflicts.
        self.committed(dict.fromkeys([*KEYS, *self.states[-1]]))
        for other in self.clients.values():
            if other.points or other.spans:
                other.spans.append((b"", None))

    def do_flush(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.partition.flush()

    def do_compact(self, client: int, open_: Open, a: bytes, b: bytes) -> None:
        self.partition.compact()

    def finish(self) -> None:
        for client in list(self.clients):
            self.step(client, "commit", b"a", b"a")
        assert dict(self.partition) == self.states[-1]
        if not self.removed:
            check(self.records, {key: decoded(value) for key, value in self.states[-1].items()})
        self.ks.drop_partition(self.name)


APPENDING = ["get", "many", "range", "back", "some", "last", "cursor", "length", "append", "append", "direct"]
ENDING = ["commit", "commit", "commit", "rollback", "flush", "compact"]
BREAKING = ["blind", "remove", "ingest", "clear"]


def steps(what: list[str]) -> st.SearchStrategy[list[tuple[int, str, bytes, bytes]]]:
    one = st.tuples(st.integers(0, 2), st.sampled_from(what), st.sampled_from(KEYS), st.sampled_from(KEYS))
    return st.lists(one, max_size=60)


@pytest.fixture(scope="module")
def keyspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fjeld.OptimisticTxKeyspace]:
    with fast_folder(tmp_path_factory.mktemp("interleaved")) as folder:
        with fjeld.open_optimistic_tx(Path(folder, "ks"), options=small_options()) as ks:
            yield ks


names = count()
HISTORIES = settings(
    max_examples=5_000 if LONG else 120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def drive(keyspace: fjeld.OptimisticTxKeyspace, history: list[tuple[int, str, bytes, bytes]]) -> None:
    oracle = Oracle(keyspace, f"p{next(names)}")
    for client, what, a, b in history:
        oracle.step(client, what, a, b)
    oracle.finish()


@HISTORIES
@given(history=steps(APPENDING + ENDING))
def test_histories_of_appends(keyspace, history):
    drive(keyspace, history)


@HISTORIES
@given(history=steps(APPENDING + ENDING + BREAKING + ["blind", "remove"]))
def test_histories_of_all_operations(keyspace, history):
    drive(keyspace, history)
