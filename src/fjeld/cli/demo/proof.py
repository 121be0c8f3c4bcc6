"""The proof: an opened checkpoint has the digest of a snapshot of the source at the same seqno."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fjeld
from fjeld.cli.demo.checkpoints import Taken

__all__ = ["Proof", "prove"]


@dataclass(frozen=True, slots=True)
class Proof:
    """The two digests, each over every entry of every partition."""

    path: Path
    seqno: int
    entries: int
    source_digest: str
    checkpoint_digest: str
    identity_is_its_own: bool
    """The opened checkpoint does not claim to be the source."""

    @property
    def holds(self) -> bool:
        return self.source_digest == self.checkpoint_digest and self.identity_is_its_own


def prove(source: fjeld.Keyspace, taken: Taken) -> Proof:
    """Open the checkpoint and compare. The source may be written to meanwhile."""
    source_digest = source.digest(snapshot=taken.snapshot)
    with fjeld.open(taken.info.path, create=False) as checkpoint:
        return Proof(
            path=Path(taken.info.path),
            seqno=taken.info.seqno,
            entries=sum(len(checkpoint.partition(name)) for name in checkpoint.partitions()),
            source_digest=source_digest,
            checkpoint_digest=checkpoint.digest(),
            identity_is_its_own=checkpoint.id != source.id,
        )
