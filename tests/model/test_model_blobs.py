"""The machine of test_model over partitions with key-value separation: tiny blob files,
garbage is collected soon."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

import fjeld
from fjeld.manifest.blob_meta import references
from tests.model.test_model import LONG, KeyspaceMachine, keys, names
from tests.small import KIB

SEPARATIONS = {
    "a": fjeld.KvSeparation(threshold_bytes=1, file_size_bytes=KIB, garbage_ratio=0.01),
    "b": fjeld.KvSeparation(threshold_bytes=30, file_size_bytes=4 * KIB, garbage_ratio=0.3, age_cutoff=0.7),
    "c": fjeld.KvSeparation(threshold_bytes=150, compression="zstd"),
}


class SeparatedMachine(KeyspaceMachine):
    def __init__(self) -> None:
        super().__init__()
        self.options_by_name = {
            name: dataclasses.replace(options or fjeld.PartitionOptions(), kv_separation=SEPARATIONS[name])
            for name, options in self.options_by_name.items()
        }

    @rule(name=names)
    def collect(self, name: str) -> None:
        """A full compaction leaves no garbage but what snapshots still see, which is none."""
        if name in self.contents:
            self.objects[name].compact()
            figures = self.objects[name].stats()["blobs"]
            if not isinstance(self.objects[name].options.compaction, fjeld.Fifo):
                assert figures["garbage_bytes"] == figures["garbage_entries"] == 0

    @rule(name=names)
    def every_blob_file_is_sound(self, name: str) -> None:
        if name in self.contents:
            self.ks._engine.maintainer.wait_idle()
            store = self.ks._engine.store
            state = store.version.partition(name)
            assert state is not None
            live = references(state.tables())
            with store.install_lock:
                readers = store.blobs(store.version.partitions[state.id])
            for reader in readers:
                assert reader.check()["entries"] >= live[reader.number][0] > 0

    @rule(name=names, start=st.integers(0, 250), count=st.integers(1, 60), size=st.sampled_from([0, 40, 400]))
    def ingest(self, name: str, start: int, count: int, size: int) -> None:
        if name in self.contents:
            pairs = [(b"bulk/%04d" % i, b"%04d" % i + bytes(size)) for i in range(start, start + count)]
            assert self.objects[name].ingest(pairs) == count
            for key, value in pairs:
                self.contents[name].insert(key, value)
            self.seqno += 1

    @rule(name=names, key=keys, count=st.integers(2, 6))
    def overwrite(self, name: str, key: bytes, count: int) -> None:
        """Garbage, at once."""
        if name in self.contents:
            for number in range(count):
                self.insert(name, key, b"%d" % number * 200)
                self.objects[name].flush()


class SeparatedSizeTieredMachine(SeparatedMachine):
    strategy = "size_tiered"


class SeparatedFifoMachine(SeparatedMachine):
    strategy = "fifo"


TestSeparated = SeparatedMachine.TestCase
TestSeparatedSizeTiered = SeparatedSizeTieredMachine.TestCase
TestSeparatedFifo = SeparatedFifoMachine.TestCase
for case in (TestSeparated, TestSeparatedSizeTiered, TestSeparatedFifo):
    case.settings = settings(
        max_examples=2000 if LONG else 12,
        stateful_step_count=80 if LONG else 40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
