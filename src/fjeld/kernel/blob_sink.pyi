from collections.abc import Callable, Iterable
from typing import Any, final

@final
class BlobSink:
    def __init__(
        self,
        next_file: Callable[[], tuple[int, str]],
        *,
        threshold_bytes: int,
        file_bytes: int,
        codec: int = 1,
        level: int = 3,
        moved: Iterable[int] = (),
    ) -> None: ...
    @property
    def moved_bytes(self) -> int: ...
    def begin(self) -> None: ...
    def end(self) -> None: ...
    def finish(self) -> list[dict[str, Any]]: ...
    def abandon(self) -> list[str]: ...
