"""Takes a JSON object of the manifest apart: every member must be there, be of its type and in its range.

What is missing or wrong is a `CorruptionError` (the caller adds file and offset). A member that is left over
cannot be damage, the checksum has spoken for it: a newer Fjeld wrote it, and to ignore it could be to misread
the rest.
"""

from __future__ import annotations

import re
import unicodedata
import uuid

from fjeld.errors import CorruptionError, UnsupportedFormatError

__all__ = [
    "MAX_BYTES",
    "MAX_KEY_BYTES",
    "MAX_PARTITION_ID",
    "MAX_SEQNO",
    "Fields",
    "as_list",
    "check_partition_name",
    "newer_format",
]

# A tag in memory is seqno << 8 | kind in 64 bits (FORMATS.md, Tags).
MAX_SEQNO = (1 << 56) - 1
MAX_BYTES = (1 << 63) - 1
MAX_KEY_BYTES = 65_535
MAX_PARTITION_ID = (1 << 32) - 1
MAX_NAME_CHARACTERS = 255

CHECKSUM = re.compile(r"[0-9a-f]{32}", re.ASCII)
HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


class Fields:
    """The members of one JSON object, taken one by one; `done` says that no other may be left."""

    __slots__ = ("_members", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise CorruptionError(f"{what} is not an object")
        self._members = dict(value)
        self._what = what

    def has(self, name: str) -> bool:
        """Is there such a member? For those that may be left out."""
        return name in self._members

    def take(self, name: str) -> object:
        """A member, whatever it is."""
        if name not in self._members:
            raise CorruptionError(f"{self._what} has no {name}")
        return self._members.pop(name)

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer from `low` to `high`."""
        return self._integer(name, self.take(name), low, high)

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """An integer from `low` to `high`, or null."""
        value = self.take(name)
        return None if value is None else self._integer(name, value, low, high)

    def text(self, name: str) -> str:
        """A string."""
        value = self.take(name)
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def checksum(self, name: str) -> str:
        """An xxh128: 32 hex digits."""
        value = self.text(name)
        if not CHECKSUM.fullmatch(value):
            raise self._wrong(name)
        return value

    def optional_checksum(self, name: str) -> str | None:
        """An xxh128, or null."""
        if name in self._members and self._members[name] is None:
            del self._members[name]
            return None
        return self.checksum(name)

    def key(self, name: str) -> bytes:
        """A key, written as hex."""
        value = self.text(name)
        if len(value) > 2 * MAX_KEY_BYTES or not HEX.fullmatch(value):
            raise self._wrong(name)
        return bytes.fromhex(value)

    def identity(self, name: str) -> str:
        """A UUID in its canonical form."""
        value = self.text(name)
        try:
            canonical = str(uuid.UUID(value))
        except ValueError:
            raise self._wrong(name) from None
        if canonical != value:
            raise self._wrong(name)
        return value

    def partition_name(self, name: str) -> str:
        """The name of a partition."""
        try:
            return check_partition_name(self.text(name))
        except ValueError:
            raise self._wrong(name) from None

    def list(self, name: str) -> list[object]:
        """A list, of whatever."""
        return as_list(self.take(name), f"{self._what}: {name}")

    def done(self) -> None:
        """No member may be left."""
        if self._members:
            raise newer_format(f"{self._what} has {', '.join(sorted(self._members))}")

    def _integer(self, name: str, value: object, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name)
        return value

    def _wrong(self, name: str) -> CorruptionError:
        return CorruptionError(f"{self._what} has a {name} that cannot be")


def as_list(value: object, what: str, length: int | None = None) -> list[object]:
    """The value, which must be a list (of `length` items)."""
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise CorruptionError(f"{what} is not a list" + ("" if length is None else f" of {length}"))
    return value


def newer_format(what: str) -> UnsupportedFormatError:
    """The error for a sound record that this version does not understand."""
    return UnsupportedFormatError(f"{what}: written by a newer Fjeld; upgrade to open it")


def check_partition_name(name: object) -> str:
    """The name, which must be 1 to 255 characters, none a control character or half of a surrogate pair."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a partition must be str, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(
            f"the name of a partition must have 1 to {MAX_NAME_CHARACTERS} characters, not {len(name)}"
        )
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise ValueError(f"the name of a partition must be free of control characters: {name!r}")
    return name
