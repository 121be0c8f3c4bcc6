# The search for conflicts is called from the kernel only: see read_set.py.
