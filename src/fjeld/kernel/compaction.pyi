from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from fjeld.kernel.blob_sink import BlobSink
from fjeld.kernel.table_writer import TableWriter
from fjeld.kernel.view import View

Filter: TypeAlias = Callable[[list[tuple[bytes, bytes]]], Iterable[object]]

class Compaction:
    def __init__(
        self,
        inputs: View,
        snapshots: Sequence[int],
        drop_tombstones: bool,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        splits: tuple[bytes, ...] = (),
        filter: Filter | None = None,
        max_seqno: int = ...,
        sink: BlobSink | None = None,
    ) -> None: ...
    @property
    def entries_read(self) -> int: ...
    @property
    def entries_dropped(self) -> int: ...
    @property
    def entries_refused(self) -> int: ...
    def run(self, writer: TableWriter, target_bytes: int) -> bool: ...
    def cancel(self) -> None: ...
