"""What the values of options are checked with. A wrong type is a `TypeError`, a value that makes no sense an
`InvalidOptionError`; both name the option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fjeld.errors import InvalidOptionError, UnsupportedFormatError

__all__ = ["KIB", "MIB", "TIB", "known_members", "require_integer", "require_number", "require_type"]

KIB = 1 << 10
MIB = 1 << 20
TIB = 1 << 40


def require_type(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(each.__name__ for each in kinds)
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def require_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidOptionError(f"{name} must be {low} to {high}, not {value}")


def require_number(name: str, value: object, low: float, high: float) -> None:
    """An int or a float; what is not a number at all (`nan`) lies in no range."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be float, not {type(value).__name__}")
    if not low <= value <= high:
        raise InvalidOptionError(f"{name} must be {low} to {high}, not {value}")


def known_members(value: object, what: str, kind: type) -> dict[str, Any]:
    """A copy of a JSON object that has no members but the fields of `kind`, a dataclass."""
    require_type(what, value, Mapping)
    assert isinstance(value, Mapping)
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise UnsupportedFormatError(
            f"{what}: {', '.join(unknown)} not known: written by a newer Fjeld; upgrade to open it"
        )
    return dict(value)
