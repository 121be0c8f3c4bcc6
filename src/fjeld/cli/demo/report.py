"""What the demonstration found: as figures for machines, as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import fjeld
from fjeld.cli.demo.crash import CrashReport
from fjeld.cli.demo.histogram import draw, percentile_table
from fjeld.cli.demo.latency import summarize
from fjeld.cli.demo.proof import Proof
from fjeld.cli.demo.writer import Written
from fjeld.cli.output import Output, human_bytes, human_count, human_seconds, plain

__all__ = ["CheckpointFigures", "Report"]


@dataclass(frozen=True, slots=True)
class CheckpointFigures:
    """All checkpoints of the run together."""

    taken: int
    kept: int
    links: int
    linked_bytes: int
    reflinked_bytes: int
    copied_bytes: int
    stall_seconds_median: float
    stall_seconds_max: float
    elapsed_seconds_median: float
    elapsed_seconds_max: float

    @classmethod
    def of(cls, infos: Sequence[fjeld.CheckpointInfo], kept: int) -> CheckpointFigures:
        stalls = [info.stall_seconds for info in infos] or [0.0]
        elapsed = [info.elapsed_seconds for info in infos] or [0.0]
        return cls(
            taken=len(infos),
            kept=kept,
            links=sum(len(info.files) for info in infos),
            linked_bytes=sum(info.linked_bytes for info in infos),
            reflinked_bytes=sum(info.reflinked_bytes for info in infos),
            copied_bytes=sum(info.copied_bytes for info in infos),
            stall_seconds_median=median(stalls),
            stall_seconds_max=max(stalls),
            elapsed_seconds_median=median(elapsed),
            elapsed_seconds_max=max(elapsed),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything, at the end."""

    written: Written
    write_seconds: float
    checkpoints: CheckpointFigures
    without_ns: list[int]
    during_ns: list[int]
    crash: CrashReport
    proofs: list[Proof]

    @property
    def holds(self) -> bool:
        return self.crash.holds and all(proof.holds for proof in self.proofs) and bool(self.proofs)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "holds": self.holds,
            "written": plain(self.written),
            "write_seconds": self.write_seconds,
            "checkpoints": plain(self.checkpoints),
            "latency": {
                "without_checkpoint": plain(summarize(self.without_ns)),
                "with_checkpoint": plain(summarize(self.during_ns)),
            },
            "crash": {**plain(self.crash), "holds": self.crash.holds},
            "proofs": [{**plain(proof), "holds": proof.holds} for proof in self.proofs],
        }

    def print(self, output: Output) -> None:
        """For people."""
        console = output.console
        ascii_only = console.options.ascii_only
        tick, cross = ("ok", "FAILED") if ascii_only else ("✓", "✗")

        def mark(holds: bool) -> str:
            return f"[bold green]{tick}[/]" if holds else f"[bold red]{cross}[/]"

        for line in self._written_lines():
            console.print(line)
        console.print("\n[bold]What the writer felt[/] (time of a commit; lengths of bars are logarithmic)")
        console.print(draw(self.without_ns, self.during_ns, ascii_only=ascii_only))
        console.print()
        console.print(percentile_table(self.without_ns, self.during_ns))
        console.print("\n[bold]A writer killed with SIGKILL[/]")
        for line in self._crash_lines():
            console.print(line)
        console.print(f"{mark(self.crash.holds)} nothing acknowledged is lost, no batch is torn")
        console.print("\n[bold]Each checkpoint that was kept, opened[/]")
        for proof in self.proofs:
            relation = "=" if proof.source_digest == proof.checkpoint_digest else "is not"
            digests = f"{proof.checkpoint_digest[:16]} {relation} source's {proof.source_digest[:16]}"
            console.print(
                f"{mark(proof.holds)} {proof.path.name}  seqno {proof.seqno:>10,}  "
                f"entries {proof.entries:>10,}  digest {digests}"
            )

    def _written_lines(self) -> list[str]:
        written, checkpoints = self.written, self.checkpoints
        rate = written.entries / max(self.write_seconds, 1e-9)
        taken, kept = human_count(checkpoints.taken), human_count(checkpoints.kept)
        copied = human_bytes(checkpoints.copied_bytes)
        return [
            "[bold]Written[/], one atomic batch a file, in two partitions",
            f"batches      {human_count(written.batches)}",
            f"entries      {human_count(written.entries)} ({human_bytes(written.bytes)})",
            f"took         {human_seconds(self.write_seconds)}: {human_count(rate)} entries a second, "
            "with reading and splitting the files",
            "",
            "[bold]Checkpoints taken meanwhile[/]",
            f"taken        {taken}, one after the other in every second part of the run; {kept} kept",
            f"files        {human_count(checkpoints.links)}: {human_bytes(checkpoints.linked_bytes)} linked, "
            f"{human_bytes(checkpoints.reflinked_bytes)} reflinked, {copied} copied",
            f"took         {human_seconds(checkpoints.elapsed_seconds_median)} (median), "
            f"{human_seconds(checkpoints.elapsed_seconds_max)} (max)",
            f"commit lock  held {human_seconds(checkpoints.stall_seconds_median)} (median), "
            f"{human_seconds(checkpoints.stall_seconds_max)} (max)",
        ]

    def _crash_lines(self) -> list[str]:
        crash = self.crash
        reopened = human_seconds(crash.reopen_seconds)
        return [
            f"acknowledged {human_count(crash.acknowledged_batches)} batches, "
            f"{human_count(crash.acknowledged_entries)} entries",
            f"found        {human_count(crash.found_batches)} batches, "
            f"{human_count(crash.found_entries)} entries ({crash.lost_entries} lost); reopened in {reopened}",
        ]
