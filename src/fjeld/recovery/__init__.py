"""Recovery's reading half: what a folder holds, found without writing a byte.

folder      the manifest that counts, the names there are
replaying   journals back into memtables
moment      one consistent state of a keyspace that another process may be writing to, its files held open
contents    a moment, ready to be read from

Opening (`fjeld.opening`) adds what makes the folder its own; reading only (`fjeld.readonly`), verification and
inspection add nothing.
"""
