from collections.abc import Callable

from fjeld.kernel.core import TreeCore
from fjeld.kernel.journal_reader import JournalReader

def replay_journal(
    reader: JournalReader,
    cores: dict[int, TreeCore],
    flushed: dict[int, int],
    last_seqno: int,
    on_full: Callable[[TreeCore], object] | None,
) -> int: ...
