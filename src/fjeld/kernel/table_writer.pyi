import os
from typing import Any, final

@final
class TableWriter:
    path: str
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keyspace_id: str,
        number: int,
        block_bytes: int = 4096,
        filter_bits: int = 10,
        codec: int = 1,
        level: int = 3,
    ) -> None: ...
    @property
    def entries(self) -> int: ...
    @property
    def file_bytes(self) -> int: ...
    def add(self, key: bytes, seqno: int, kind: int, value: bytes) -> None: ...
    def finish(self) -> dict[str, Any]: ...
    def abandon(self) -> None: ...
