from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fjeld.maintenance.open_snapshots import Oldest, OpenSnapshots
from tests.support import Task


def test_a_seqno_is_open_as_often_as_it_was_opened() -> None:
    snapshots = OpenSnapshots()
    assert snapshots.seqnos() == []
    assert [snapshots.open(lambda: 5), snapshots.open(lambda: 5), snapshots.open(lambda: 2)] == [5, 5, 2]
    assert snapshots.seqnos() == [2, 5]
    snapshots.close(5)
    assert snapshots.seqnos() == [2, 5]
    snapshots.close(5)
    snapshots.close(2)
    assert snapshots.seqnos() == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_against_a_multiset(steps: list[tuple[bool, int]]) -> None:
    snapshots, model = OpenSnapshots(), Counter[int]()
    for opens, seqno in steps:
        if opens:
            snapshots.open(lambda seqno=seqno: seqno)
            model[seqno] += 1
        elif model[seqno]:
            snapshots.close(seqno)
            model[seqno] -= 1
        assert snapshots.seqnos() == sorted(+model)


def test_a_finalizer_may_close_while_the_lock_is_held() -> None:
    """Else a garbage collection in the middle of `open` would wait for itself."""
    snapshots = OpenSnapshots()
    snapshots.open(lambda: 1)

    def seqno() -> int:
        snapshots.close(1)
        return 2

    assert Task(lambda: snapshots.open(seqno)).result() == 2
    assert snapshots.seqnos() == [2]


def test_the_oldest_and_its_age():
    now = 100.0
    snapshots = OpenSnapshots(lambda: now)
    assert snapshots.oldest() is None
    for seqno in (7, 9, 7):
        snapshots.open(lambda seqno=seqno: seqno)
        now += 1
    assert snapshots.oldest() == Oldest(7, 3.0), "of two of one seqno, the age of the first"
    snapshots.close(7)
    assert snapshots.oldest() == Oldest(7, 3.0)
    snapshots.close(7)
    now += 10
    assert snapshots.oldest() == Oldest(9, 12.0)
    snapshots.close(9)
    assert snapshots.oldest() is None
    now += 1
    snapshots.open(lambda: 9)
    assert snapshots.oldest() == Oldest(9, 0.0), "the one before counts no more"
