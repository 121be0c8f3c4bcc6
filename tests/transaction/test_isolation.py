"""Isolation by anomaly, after Hermitage (Kleppmann, 2014) and Adya, Liskov, O'Neil, *Generalized Isolation Level
Definitions*, 2000.

Two keys, 1 -> 10 and 2 -> 20, and two or three transactions. Of the optimistic kind they interleave step by step in
one thread. Of a single writer a second write transaction cannot begin before the first has ended: there each anomaly is
tried with a thread that waits for its turn, and with read transactions that go on beside the writer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fjeld
from tests.transaction.kinds import Client

ONE, TWO, THREE = b"1", b"2", b"3"


def filled(keyspace: fjeld.TxKeyspace | fjeld.OptimisticTxKeyspace) -> fjeld.Partition:
    partition = keyspace.partition("test")
    partition.insert_many([(ONE, b"10"), (TWO, b"20")])
    return partition


class TestOptimistic:
    """Serializable: of transactions that read what another changes, one commits at most."""

    @pytest.fixture
    def table(self, optimistic: fjeld.OptimisticTxKeyspace) -> fjeld.Partition:
        return filled(optimistic)

    @pytest.fixture
    def begin(self, optimistic, table):
        def begin_one():
            transaction = optimistic.write_tx()
            return transaction, transaction.partition("test")

        return begin_one

    def test_g0_dirty_writes(self, begin, table):
        """Writes of two transactions to the same keys do not mix: the order is the same for all of them."""
        first, a = begin()
        second, b = begin()
        a[ONE] = b"11"
        b[ONE] = b"12"
        a[TWO] = b"21"
        first.commit()
        assert dict(table) == {ONE: b"11", TWO: b"21"}
        b[TWO] = b"22"
        second.commit()  # neither has read anything: blind writes do not conflict
        assert dict(table) == {ONE: b"12", TWO: b"22"}

    def test_g1a_aborted_reads(self, begin, table):
        first, a = begin()
        second, b = begin()
        a[ONE] = b"101"
        assert b[ONE] == b"10"
        first.rollback()
        assert b[ONE] == b"10"
        second.commit()
        assert table[ONE] == b"10"

    def test_g1b_intermediate_reads(self, begin, table):
        first, a = begin()
        second, b = begin()
        a[ONE] = b"101"
        assert b[ONE] == b"10"
        a[ONE] = b"11"
        first.commit()
        assert b[ONE] == b"10"
        second.commit()  # it has only read
        assert table[ONE] == b"11"

    def test_g1c_circular_information_flow(self, begin, table):
        first, a = begin()
        second, b = begin()
        a[ONE] = b"11"
        b[TWO] = b"22"
        assert a[TWO] == b"20"
        assert b[ONE] == b"10"
        first.commit()
        with pytest.raises(fjeld.ConflictError):
            second.commit()
        assert dict(table) == {ONE: b"11", TWO: b"20"}

    def test_otv_observed_transaction_vanishes(self, begin, table):
        first, a = begin()
        second, b = begin()
        third, c = begin()
        a[ONE] = b"11"
        a[TWO] = b"19"
        b[ONE] = b"12"
        first.commit()
        assert c[ONE] == b"10"
        b[TWO] = b"18"
        assert c[TWO] == b"20"
        second.commit()
        assert (c[TWO], c[ONE]) == (b"20", b"10")
        third.commit()
        assert dict(table) == {ONE: b"12", TWO: b"18"}

    def test_pmp_predicate_many_preceders(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert [key for key, value in a.items() if value == b"30"] == []
        b[THREE] = b"30"
        second.commit()
        assert [key for key, value in a.items() if int(value) % 3 == 0] == []
        a[b"seen"] = b"none"
        with pytest.raises(fjeld.ConflictError):
            first.commit()

    def test_pmp_with_writes(self, begin, table):
        """Both change what fits a predicate: the second has read what the first has changed."""
        first, a = begin()
        second, b = begin()
        for key, value in a.items():
            a[key] = b"%d" % (int(value) + 10)
        for key, value in b.items():
            if value == b"20":
                b.remove(key)
        first.commit()
        with pytest.raises(fjeld.ConflictError):
            second.commit()
        assert dict(table) == {ONE: b"20", TWO: b"30"}

    def test_p4_lost_update(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert a[ONE] == b[ONE] == b"10"
        a[ONE] = b"11"
        b[ONE] = b"11"
        first.commit()
        with pytest.raises(fjeld.ConflictError):
            second.commit()
        assert table[ONE] == b"11"

    def test_g_single_read_skew(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert a[ONE] == b"10"
        assert (b[ONE], b[TWO]) == (b"10", b"20")
        b[ONE] = b"12"
        b[TWO] = b"18"
        second.commit()
        assert a[TWO] == b"20"
        first.commit()

    def test_g_single_with_a_write(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert a[ONE] == b"10"
        b.insert_many([(ONE, b"12"), (TWO, b"18")])
        second.commit()
        a.remove(TWO)
        with pytest.raises(fjeld.ConflictError):
            first.commit()
        assert dict(table) == {ONE: b"12", TWO: b"18"}

    def test_g_single_by_predicate(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert len(list(a.range())) == 2
        b[ONE] = b"12"
        second.commit()
        assert [value for _, value in a.range()] == [b"10", b"20"]
        first.commit()

    def test_g2_item_write_skew(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert (a[ONE], a[TWO]) == (b[ONE], b[TWO]) == (b"10", b"20")
        a[ONE] = b"11"
        b[TWO] = b"21"
        first.commit()
        with pytest.raises(fjeld.ConflictError):
            second.commit()
        assert dict(table) == {ONE: b"11", TWO: b"20"}

    def test_g2_phantom_write_skew(self, begin, table):
        first, a = begin()
        second, b = begin()
        assert [key for key, value in a.items() if int(value) % 3 == 0] == []
        assert [key for key, value in b.items() if int(value) % 3 == 0] == []
        a[THREE] = b"30"
        b[b"4"] = b"42"
        first.commit()
        with pytest.raises(fjeld.ConflictError):
            second.commit()
        assert b"4" not in table

    def test_g2_with_a_reader_between(self, begin, table):
        """Fekete, O'Neil, O'Neil, 2004: a transaction that only reads sees a state that no order of the others has."""
        first, a = begin()
        assert (a[ONE], a[TWO]) == (b"10", b"20")
        second, b = begin()
        b[TWO] = b"%d" % (int(b[TWO]) + 5)
        second.commit()
        third, c = begin()
        assert (c[ONE], c[TWO]) == (b"10", b"25")
        third.commit()
        a[ONE] = b"0"
        with pytest.raises(fjeld.ConflictError):
            first.commit()
        assert dict(table) == {ONE: b"10", TWO: b"25"}


class TestSingleWriter:
    """The second writer sees what the first has left; readers see one moment and wait for nobody."""

    @pytest.fixture
    def table(self, single: fjeld.TxKeyspace) -> fjeld.Partition:
        return filled(single)

    @pytest.fixture
    def other(self) -> Iterator[Client]:
        client = Client()
        yield client
        client.stop()

    def test_g0_g1c_and_p4_the_second_writer_waits(self, single, table, other):
        """No write of the second can come between those of the first, nor can it read before its end."""
        with single.write_tx() as first:
            a = first.partition("test")
            assert a[ONE] == b"10"
            other.start(
                lambda: single.transact(
                    lambda tx: [
                        tx.partition("test").update_fetch(key, lambda old: b"%d" % (int(old) * 2))
                        for key in (ONE, TWO)
                    ]
                )
            )
            a[ONE] = b"11"
            a[TWO] = b"21"
            assert not other.has_ended()
            assert dict(table) == {ONE: b"10", TWO: b"20"}
        assert other.outcome() == [b"22", b"42"]
        assert dict(table) == {ONE: b"22", TWO: b"42"}

    def test_g1a_and_g1b_nobody_sees_what_is_not_committed(self, single, table):
        with pytest.raises(ZeroDivisionError), single.write_tx() as first:
            a = first.partition("test")
            for value in (b"101", b"11"):
                a[ONE] = value
                with single.read_tx() as reader:
                    assert reader.partition("test")[ONE] == b"10"
                assert table[ONE] == b"10"
            raise ZeroDivisionError
        assert table[ONE] == b"10"

    def test_otv_g_single_and_pmp_a_reader_sees_one_moment(self, single, table):
        with single.read_tx() as reader:
            seen = reader.partition("test")
            assert seen[ONE] == b"10"
            with single.write_tx() as first:
                first.partition("test").insert_many([(ONE, b"12"), (TWO, b"18"), (THREE, b"30")])
            assert (seen[ONE], seen[TWO], seen.get(THREE)) == (b"10", b"20", None)
            assert dict(seen) == {ONE: b"10", TWO: b"20"}
        assert dict(table) == {ONE: b"12", TWO: b"18", THREE: b"30"}

    def test_g2_the_second_writer_sees_the_phantom(self, single, table, other):
        def add_unless_there(tx: fjeld.Transaction, key: bytes) -> int:
            part = tx.partition("test")
            found = [value for value in part.values() if int(value) % 3 == 0]
            if not found:
                part[key] = b"30"
            return len(found)

        with single.write_tx() as first:
            assert add_unless_there(first, THREE) == 0
            other.start(lambda: single.transact(lambda tx: add_unless_there(tx, b"4")))
        assert other.outcome() == 1
        assert b"4" not in table
