"""What point look-ups met in the tables of one partition, level by level, since the keyspace was opened.

The levels are counted, not the tables: a table goes when it is compacted, and what it has seen must not go
with it.
"""

import cython
from cython.cimports.fjeld.kernel.coding import fj_atomic_load64


@cython.final
@cython.cclass
class ReadCounters:
    """Owned by the core of a partition; its views count into it, and keep it alive. Any thread."""

    def levels_read(self) -> list:
        """For each level: found, filter_negatives, filter_false_positives, unfiltered, block_loads."""
        level: cython.pointer[LevelReads]
        i: cython.Py_ssize_t
        copied: list = []
        for i in range(COUNTED_LEVELS):
            level = cython.address(self.levels[i])
            copied.append(
                (
                    fj_atomic_load64(cython.address(level.found)),
                    fj_atomic_load64(cython.address(level.filter_negatives)),
                    fj_atomic_load64(cython.address(level.filter_false_positives)),
                    fj_atomic_load64(cython.address(level.unfiltered)),
                    fj_atomic_load64(cython.address(level.block_loads)),
                )
            )
        return copied
