"""Both kinds of transactional keyspaces, for tests that hold of either; and a driver for steps in other threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import fjeld
from tests.support import TIMEOUT_SECONDS

AnyTxKeyspace = fjeld.TxKeyspace | fjeld.OptimisticTxKeyspace

KINDS: dict[str, Callable[..., AnyTxKeyspace]] = {
    "single": fjeld.open_tx,
    "optimistic": fjeld.open_optimistic_tx,
}


class Client:
    """A thread that does what it is told, one step after the other, and says how each ended.

    `do` waits for the step's end; `start` does not: `outcome` does later. A step that cannot go on yet (it waits
    for its turn) is seen by `is_waiting`.
    """

    def __init__(self) -> None:
        self._steps: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._outcomes: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                self._outcomes.put((step(), None))
            except BaseException as error:
                self._outcomes.put((None, error))
            del step

    def start(self, step: Callable[[], Any]) -> None:
        self._steps.put(step)

    def outcome(self) -> Any:
        result, error = self._outcomes.get(timeout=TIMEOUT_SECONDS)
        if error is not None:
            raise error
        return result

    def do(self, step: Callable[[], Any]) -> Any:
        self.start(step)
        return self.outcome()

    def has_ended(self) -> bool:
        """Has the step that was started come to its end?"""
        return not self._outcomes.empty()

    def stop(self) -> None:
        self._steps.put(None)
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive(), "a client hangs"
