from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.table import TableReader

class View:
    def __init__(
        self, memtables: tuple[MemtableOwner, ...], levels: tuple[tuple[TableReader, ...], ...]
    ) -> None: ...
    @property
    def memtables(self) -> tuple[MemtableOwner, ...]: ...
    @property
    def levels(self) -> tuple[tuple[TableReader, ...], ...]: ...
