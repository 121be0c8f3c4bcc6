# Recovery: records of a journal back into memtables.
