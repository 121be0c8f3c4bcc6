"""Key-value separation of a partition: what can be set of it. A value, kept in the manifest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fjeld.errors import InvalidOptionError
from fjeld.option_checks import KIB, MIB, TIB, known_members, require_integer, require_number, require_type

__all__ = ["CODECS", "KvSeparation", "kv_from_json", "kv_to_json"]

CODECS = ("none", "lz4", "zstd")


@dataclass(frozen=True, slots=True, kw_only=True)
class KvSeparation:
    """Large values lie in blob files, apart from their keys: compaction then moves pointers, not values.

    A value is written to its blob file when its memtable is flushed, and again only if that file is collected: more
    than `garbage_ratio` of it belongs to values that were overwritten or removed. Worth it from a few hundred bytes a
    value on; a read of a separated value costs one read more.
    """

    threshold_bytes: int = KIB
    """Values of at least this are separated. Below, a pointer (24 bytes) and the second read cost more than they
    save."""

    file_size_bytes: int = 64 * MIB
    """Size at which another blob file is begun."""

    garbage_ratio: float = 0.25
    """From this share of garbage on, a blob file is collected. In steady state about half of it is garbage
    on average; a byte of garbage costs (1 - ratio) / ratio bytes of copying."""

    age_cutoff: float = 1.0
    """Only the oldest files, this share of all, are collected. Below 1 young files are left alone, whose
    values may soon be overwritten anyway: less copying, more space."""

    compression: str | None = None
    """The codec of the values: "none", "lz4" or "zstd"; None: that of the partition's deepest level."""

    def __post_init__(self) -> None:
        require_integer("threshold_bytes", self.threshold_bytes, 1, TIB)
        require_integer("file_size_bytes", self.file_size_bytes, KIB, TIB)
        require_number("garbage_ratio", self.garbage_ratio, 0.01, 1)
        require_number("age_cutoff", self.age_cutoff, 0, 1)
        if self.compression is not None:
            require_type("compression", self.compression, str)
            if self.compression not in CODECS:
                raise InvalidOptionError(
                    f"compression must be of {', '.join(CODECS)}, or None, not {self.compression!r}"
                )


def kv_to_json(options: KvSeparation) -> dict[str, object]:
    """The options as JSON values."""
    return dataclasses.asdict(options)


def kv_from_json(value: object) -> KvSeparation | None:
    """What `kv_to_json` wrote; a name that is not known was written by a newer version."""
    if value is None:
        return None
    return KvSeparation(**known_members(value, "key-value separation", KvSeparation))
