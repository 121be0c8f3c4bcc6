from typing import TypedDict

from fjeld.kernel.files import CancelFlag
from fjeld.kernel.table import TableReader

class TableSurvey(TypedDict):
    size_bytes: int
    xxh128: str
    problems: list[tuple[int, str]]
    whole: bool
    properties: bytes | None
    properties_offset: int
    entries: int
    keys: int
    tombstones: int
    weak_tombstones: int
    min_seqno: int
    max_seqno: int
    raw_bytes: int
    blocks: int
    blobs: tuple[tuple[int, int, int], ...]

def survey_table(
    reader: TableReader, cancel: CancelFlag | None = None, ahead_bytes: int = 0
) -> TableSurvey | None: ...
def check_table(reader: TableReader) -> dict[str, int]: ...
