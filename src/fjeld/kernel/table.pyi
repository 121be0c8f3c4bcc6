import os
from typing import Any, Self

from fjeld.kernel.cache import BlockCache
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.kernel.run_scan import RunScan

class TableReader:
    path: str
    properties: dict[str, Any]
    def __new__(
        cls,
        path: str | os.PathLike[str],
        cache: BlockCache,
        descriptors: DescriptorPool,
        *,
        expected_bytes: int | None = None,
        smallest: bytes | None = None,
        largest: bytes | None = None,
        seqno: int = 0,
        max_seqno: int = ...,
    ) -> Self: ...
    @property
    def entries(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def file_bytes(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def held(self) -> bool: ...
    def hold(self) -> None: ...
    def may_contain(self, key: bytes) -> bool: ...
    def get(self, key: bytes, max_seqno: int | None = None) -> tuple[int, int, bytes] | None: ...
    def scan(self, stream: bool = True, reverse: bool = False) -> RunScan: ...
    def check(self) -> None: ...
