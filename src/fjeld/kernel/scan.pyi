from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)

class Scan(Generic[T]):
    def __iter__(self) -> Iterator[T]: ...
    def __next__(self) -> T: ...
