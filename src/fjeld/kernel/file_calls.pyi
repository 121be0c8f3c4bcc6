# Calls for compiled code only: see file_calls.pxd.
