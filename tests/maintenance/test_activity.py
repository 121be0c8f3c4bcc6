"""Sums over background jobs."""

from __future__ import annotations

import threading
from dataclasses import replace

from fjeld.maintenance.activity import Activity, Work
from tests.statistics.states import state, table


def test_nothing_yet():
    activity = Activity()
    assert activity.flushes == activity.compactions == activity.ingestions == Work()
    assert [activity.compaction_bytes(level) for level in range(7)] == [(0, 0)] * 7


def test_jobs_are_summed_by_kind():
    activity = Activity()
    activity.flushed([table(1, 100)], 0.5)
    activity.flushed([table(2, 50), table(3, 25)], 0.25)
    activity.ingested([table(4, 1000)], 1.0)
    assert activity.flushes == Work(jobs=2, written_bytes=175, seconds=0.75)
    assert activity.ingestions == Work(jobs=1, written_bytes=1000, seconds=1.0)
    assert activity.compactions == Work()


def test_a_merge_reads_its_inputs_and_nothing_else():
    activity = Activity()
    before = state([table(1, 100), table(2, 200)], [table(3, 400), table(4, 800)])
    activity.compacted(before, [(0, 2), (1, 3)], 1, [table(5, 550)], 2.0)
    assert activity.compactions == Work(jobs=1, read_bytes=600, written_bytes=550, seconds=2.0)
    assert activity.compaction_bytes(0) == (200, 0)
    assert activity.compaction_bytes(1) == (400, 550)
    assert activity.compaction_bytes(2) == (0, 0)


def test_the_total_keeps_what_partitions_did_that_are_gone():
    total = Activity()
    first, second = Activity(total), Activity(total)
    first.flushed([table(1, 1)], 1.0)
    second.flushed([table(2, 2)], 1.0)
    second.ingested([table(3, 4)], 1.0)
    second.compacted(state([table(2, 2)]), [(0, 2)], 1, [table(4, 8)], 1.0)
    del second
    assert total.flushes == replace(first.flushes, jobs=2, written_bytes=3, seconds=2.0)
    assert total.ingestions.written_bytes == 4
    assert total.compaction_bytes(0) == (2, 0)
    assert total.compaction_bytes(1) == (0, 8)


def test_no_job_is_lost_between_threads():
    total = Activity()
    parts = [Activity(total) for _ in range(4)]

    def work(activity: Activity) -> None:
        for number in range(500):
            activity.flushed([table(number + 1, 1)], 0.0)

    threads = [threading.Thread(target=work, args=(activity,)) for activity in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total.flushes.jobs == total.flushes.written_bytes == 2000
    assert [activity.flushes.jobs for activity in parts] == [500] * 4
