from collections.abc import Callable
from typing import TypeVar

from fjeld.kernel.turn import Turn
from fjeld.kernel.write_batch import WriteBatch

T = TypeVar("T")

def write_batch_in_turn(turn: Turn, batch: WriteBatch, durable: bool | None = None) -> None: ...
def write_batch_if_free(turn: Turn, batch: WriteBatch) -> bool: ...
def write_decided(turn: Turn, batch: WriteBatch, decide: Callable[[], T]) -> T: ...
