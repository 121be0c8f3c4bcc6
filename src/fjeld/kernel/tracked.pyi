from typing import TypeVar

from fjeld.kernel.cursor import Cursor
from fjeld.kernel.scan import Scan

T = TypeVar("T", covariant=True)

class TrackedScan(Scan[T]): ...
class TrackedCursor(Cursor): ...
