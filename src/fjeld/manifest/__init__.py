"""The manifest: which files make the keyspace up, now and after a crash.

names, fields     the names of files; how a JSON object is taken apart
state, version    what is true: immutable values
draft, edit       how it becomes something else
log               the file that records it (FORMATS.md, Manifest)
current, marker   the two small files that say which log counts, and that this is a keyspace at all
recovery          what opening must replay and delete
live_file         files in use, and the one place that deletes them
"""
