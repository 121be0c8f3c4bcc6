# Writes outside of a transaction in a transactional keyspace: each takes the turn, and is persisted outside of it.
from fjeld.kernel.core cimport TreeCore
from fjeld.kernel.turn cimport Turn
from fjeld.kernel.write_batch cimport WriteBatch

cdef int write_in_turn(Turn turn, TreeCore core, int kind, bytes key, bytes value, bint wait) except -1
cpdef object write_batch_in_turn(Turn turn, WriteBatch batch, object durable=*)
