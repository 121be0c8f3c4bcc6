from fjeld.kernel.blob import BlobReader
from fjeld.kernel.memtable import MemtableOwner
from fjeld.kernel.table import TableReader

class View:
    def __init__(
        self,
        memtables: tuple[MemtableOwner, ...],
        levels: tuple[tuple[TableReader, ...], ...],
        blobs: tuple[BlobReader, ...] = (),
    ) -> None: ...
    @property
    def blobs(self) -> tuple[BlobReader, ...]: ...
    @property
    def memtables(self) -> tuple[MemtableOwner, ...]: ...
    @property
    def levels(self) -> tuple[tuple[TableReader, ...], ...]: ...
    @property
    def files(self) -> tuple[object, object]: ...
