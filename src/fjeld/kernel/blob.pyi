import os
from typing import Any, Self

from fjeld.kernel.descriptors import DescriptorPool

class BlobReader:
    path: str
    def __new__(
        cls, path: str | os.PathLike[str], descriptors: DescriptorPool, *, number: int, file_bytes: int
    ) -> Self: ...
    @property
    def number(self) -> int: ...
    @property
    def file_bytes(self) -> int: ...
    def check(self) -> dict[str, Any]: ...
