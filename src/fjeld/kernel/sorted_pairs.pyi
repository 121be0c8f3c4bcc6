from collections.abc import Iterable

from fjeld.kernel.blob_sink import BlobSink
from fjeld.kernel.core import Buffer
from fjeld.kernel.table_writer import TableWriter

class SortedPairs:
    def __init__(self, pairs: Iterable[tuple[Buffer, Buffer]]) -> None: ...
    def fill(self) -> bool: ...
    def write(self, writer: TableWriter, table_bytes: int, sink: BlobSink | None = None) -> bool: ...
