"""Names of files from their numbers, and back. Numbers are all that is stored: no path is read from a file.

A name is the engine's only where it is exactly what the number gives: `34.sst` is somebody else's file.
"""

from __future__ import annotations

__all__ = [
    "BLOBS_DIRECTORY",
    "CURRENT_NAME",
    "FILE_DIRECTORIES",
    "JOURNALS_DIRECTORY",
    "LOCK_NAME",
    "MARKER_NAME",
    "MARKER_STAGING_NAME",
    "MAX_FILE_NUMBER",
    "TABLES_DIRECTORY",
    "blob_name",
    "blob_path",
    "current_staging_name",
    "journal_name",
    "journal_path",
    "manifest_name",
    "number_of_blob",
    "number_of_current_staging",
    "number_of_journal",
    "number_of_manifest",
    "number_of_table",
    "table_name",
    "table_path",
]

TABLES_DIRECTORY = "tables"
BLOBS_DIRECTORY = "blobs"
JOURNALS_DIRECTORY = "journals"
FILE_DIRECTORIES = (TABLES_DIRECTORY, BLOBS_DIRECTORY, JOURNALS_DIRECTORY)
CURRENT_NAME = "CURRENT"
LOCK_NAME = "LOCK"
MARKER_NAME = "FJELD"
MARKER_STAGING_NAME = "FJELD.tmp"

# Twelve digits: a thousand new files a second for thirty years.
MAX_FILE_NUMBER = 10**12 - 1


def table_name(number: int) -> str:
    """The name of a table in its directory."""
    return f"{number:012d}.sst"


def blob_name(number: int) -> str:
    """The name of a blob file in its directory."""
    return f"{number:012d}.blb"


def journal_name(number: int) -> str:
    """The name of a journal in its directory."""
    return f"{number:012d}.jnl"


def manifest_name(number: int) -> str:
    """The name of a manifest."""
    return f"MANIFEST-{number:06d}"


def current_staging_name(number: int) -> str:
    """The name under which a CURRENT that names manifest `number` is written, before its rename."""
    return f"{CURRENT_NAME}.{number}.tmp"


def table_path(number: int) -> str:
    """The path of a table, relative to the keyspace's directory."""
    return f"{TABLES_DIRECTORY}/{table_name(number)}"


def blob_path(number: int) -> str:
    """The path of a blob file, relative to the keyspace's directory."""
    return f"{BLOBS_DIRECTORY}/{blob_name(number)}"


def journal_path(number: int) -> str:
    """The path of a journal, relative to the keyspace's directory."""
    return f"{JOURNALS_DIRECTORY}/{journal_name(number)}"


def number_of_table(name: str) -> int | None:
    """The number of the table of this name; None: not a table's name."""
    number = _digits(name.removesuffix(".sst"))
    return number if number is not None and table_name(number) == name else None


def number_of_blob(name: str) -> int | None:
    """The number of the blob file of this name; None: not a blob file's name."""
    number = _digits(name.removesuffix(".blb"))
    return number if number is not None and blob_name(number) == name else None


def number_of_journal(name: str) -> int | None:
    """The number of the journal of this name; None: not a journal's name."""
    number = _digits(name.removesuffix(".jnl"))
    return number if number is not None and journal_name(number) == name else None


def number_of_manifest(name: str) -> int | None:
    """The number of the manifest of this name; None: not a manifest's name."""
    number = _digits(name.removeprefix("MANIFEST-"))
    return number if number is not None and manifest_name(number) == name else None


def number_of_current_staging(name: str) -> int | None:
    """The number in the name of a CURRENT that was never renamed; None: not such a name."""
    number = _digits(name.removeprefix(f"{CURRENT_NAME}.").removesuffix(".tmp"))
    return number if number is not None and current_staging_name(number) == name else None


def _digits(text: str) -> int | None:
    """A number above 0 in ASCII digits; `isdecimal` alone would let other scripts' digits through."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        return None
    return int(text) or None
