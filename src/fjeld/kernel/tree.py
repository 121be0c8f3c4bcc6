"""One partition's kernel face: the reading methods of Reader, and the writing ones. `fjeld.Partition`
inherits from it.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_CheckExact, PyBytes_GET_SIZE
from cython.cimports.fjeld.kernel.coding import KIND_TOMBSTONE, KIND_VALUE, KIND_WEAK_TOMBSTONE
from cython.cimports.fjeld.kernel.core import check_key, check_value, coerce
from cython.cimports.fjeld.kernel.reader import Reader
from cython.cimports.fjeld.kernel.turn import Turn
from cython.cimports.fjeld.kernel.turn_writes import write_batch_in_turn, write_in_turn
from cython.cimports.fjeld.kernel.write_batch import WriteBatch, write_one


@cython.cclass
class Tree(Reader):
    """Reads and writes of one partition. Safe to use from many threads; writes take their turn at the commit
    lock.
    """

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def put(self, kind: cython.int, key: object, value: object, wait: cython.bint) -> cython.int:
        if not PyBytes_CheckExact(key):
            key = coerce(key, "key")
        if PyBytes_GET_SIZE(key) > 65535:
            check_key(key)
        if self.turn is not None:
            return write_in_turn(self.turn, self.core, kind, key, value, wait)
        return write_one(self.core, kind, key, value, wait)

    def take_turns(self, turn: Turn):
        """The partition is one of a transactional keyspace. Requires: nobody uses it yet."""
        self.turn = turn

    def insert(self, key, value):
        """Write key = value. When it returns, a killed process loses nothing; durability beyond that is by
        option.
        """
        if not PyBytes_CheckExact(value):
            value = coerce(value, "value")
        check_value(value)
        self.put(KIND_VALUE, key, value, True)

    def insert_now(self, key, value):
        """As `insert`, but it never waits: False, and nothing is written, where it would."""
        if not PyBytes_CheckExact(value):
            value = coerce(value, "value")
        check_value(value)
        return self.put(KIND_VALUE, key, value, False) == 0

    def remove(self, key):
        """Remove key, whether or not it exists."""
        self.put(KIND_TOMBSTONE, key, None, True)

    def remove_now(self, key):
        """As `remove`, but it never waits: False, and nothing is written, where it would."""
        return self.put(KIND_TOMBSTONE, key, None, False) == 0

    def remove_weak(self, key):
        """Remove a key that was inserted once since it was last removed, weakly too: cheaper to compact than
        `remove`.

        For a key that was overwritten, or removed with `remove` before, older values may show again: use
        `remove` there.
        """
        self.put(KIND_WEAK_TOMBSTONE, key, None, True)

    def __setitem__(self, key, value):
        self.insert(key, value)

    def __delitem__(self, key):
        if self.size_of(key) is None:
            raise KeyError(key)
        self.put(KIND_TOMBSTONE, key, None, True)

    def insert_many(self, pairs):
        """Write all (key, value) pairs as one atomic batch."""
        batch: WriteBatch = WriteBatch(self.core.commit)
        for key, value in pairs:
            if value is None:
                coerce(value, "value")
            batch.add(self.core, KIND_VALUE, key, value)
        if self.turn is None:
            batch.write_now()
        else:
            write_batch_in_turn(self.turn, batch)
