"""A blob file that is part of the current version: its reader, and the reference that keeps its file."""

from __future__ import annotations

from fjeld.kernel.blob import BlobReader
from fjeld.kernel.descriptors import DescriptorPool
from fjeld.manifest.blob_meta import BlobMeta
from fjeld.manifest.live_file import LiveFile

__all__ = ["LiveBlob"]


class LiveBlob(BlobReader):
    """Holding it (a view does) keeps the file on disk. Reads nothing before it is first used."""

    __slots__ = ("live",)

    live: LiveFile

    def __new__(cls, meta: BlobMeta, file: LiveFile, descriptors: DescriptorPool) -> LiveBlob:
        blob = super().__new__(cls, file.path, descriptors, number=meta.number, file_bytes=meta.size_bytes)
        blob.live = file
        return blob
