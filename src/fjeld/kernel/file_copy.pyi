# For compiled code only: see file_copy.pxd.
