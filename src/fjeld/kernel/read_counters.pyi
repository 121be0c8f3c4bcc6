from typing import final

@final
class ReadCounters:
    def levels_read(self) -> list[tuple[int, int, int, int, int]]: ...
