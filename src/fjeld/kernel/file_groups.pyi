import os
from collections.abc import Sequence

_Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

def create_files(paths: Sequence[_Path], contents: Sequence[bytes]) -> None: ...
def sync_directories(paths: Sequence[_Path]) -> None: ...
