from fjeld.kernel.blob_sink import BlobSink
from fjeld.kernel.checksum import Xxh128
from fjeld.kernel.table_writer import TableWriter

MAX_CHUNK_BYTES: int

class ChunkDecoder:
    def begin(self, sum: Xxh128) -> None: ...
    def load(self, payload: bytes, codec: int, raw_bytes: int, entries: int) -> None: ...
    def write(self, writer: TableWriter, table_bytes: int, sink: BlobSink | None = None) -> bool: ...
