"""What the demonstration found: as figures for machines, as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import fjeld
from fjeld.cli.demo.crash import CrashReport
from fjeld.cli.demo.histogram import draw, percentile_table
from fjeld.cli.demo.latency import Series, summarize
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
    without: Series
    during: Series
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
                "without_checkpoint": _figures(self.without),
                "with_checkpoint": _figures(self.during),
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

        def section(title: str, *lines: str) -> None:
            console.print(f"\n[bold]{title}[/]")
            for line in lines:
                console.print(f"  {line}")

        section("Written: this Python's files, and an index of their identifiers", *self._written_lines())
        section("Checkpoints, taken back to back in every second part of the run", *self._checkpoint_lines())
        section("What the writer felt (bars are logarithmic)")
        console.print(draw(self.without.durations_ns, self.during.durations_ns, ascii_only=ascii_only))
        console.print()
        console.print(percentile_table(self.without, self.during))
        section("A writer, killed with SIGKILL; its keyspace, opened again", *self._crash_lines())
        console.print(f"{mark(self.crash.holds)} nothing acknowledged is lost, no batch is torn")
        section("Each checkpoint that was kept, opened: its digest, and that of the source at the same seqno")
        for proof in self.proofs:
            console.print(f"{mark(proof.holds)} {_proof_line(proof)}")

    def _written_lines(self) -> list[str]:
        written = self.written
        rate = human_count(written.entries / max(self.write_seconds, 1e-9))
        return [
            f"batches      {human_count(written.batches)}, one a file, each atomic across two partitions",
            f"entries      {human_count(written.entries)} ({human_bytes(written.bytes)})",
            f"took         {human_seconds(self.write_seconds)}: {rate} entries a second, "
            "with reading and splitting the files",
        ]

    def _checkpoint_lines(self) -> list[str]:
        figures = self.checkpoints
        linked, reflinked = human_bytes(figures.linked_bytes), figures.reflinked_bytes
        others = f", {human_bytes(reflinked)} reflinked" if reflinked else ""
        return [
            f"taken        {human_count(figures.taken)}; {human_count(figures.kept)} kept, proved below",
            f"links made   {human_count(figures.links)}, to {linked} of files{others}",
            f"copied       {human_bytes(figures.copied_bytes)}",
            f"each took    {human_seconds(figures.elapsed_seconds_median)} (median), "
            f"{human_seconds(figures.elapsed_seconds_max)} (max), to be safe on disk",
            f"commit lock  held for {human_seconds(figures.stall_seconds_median)} (median), "
            f"{human_seconds(figures.stall_seconds_max)} (max)",
        ]

    def _crash_lines(self) -> list[str]:
        crash = self.crash
        return [
            f"acknowledged {human_count(crash.acknowledged_batches)} batches, "
            f"{human_count(crash.acknowledged_entries)} entries",
            f"found        {human_count(crash.found_batches)} batches, "
            f"{human_count(crash.found_entries)} entries; {human_count(crash.lost_entries)} lost; "
            f"opened in {human_seconds(crash.reopen_seconds)}",
        ]


def _proof_line(proof: Proof) -> str:
    relation = "=" if proof.source_digest == proof.checkpoint_digest else "is not"
    digests = f"{proof.checkpoint_digest[:16]} {relation} source's {proof.source_digest[:16]}"
    return f"{proof.path.name}  seqno {proof.seqno:>9,}  entries {proof.entries:>9,}  {digests}"


def _figures(series: Series) -> dict[str, Any]:
    """A series for machines."""
    summary = summarize(series.durations_ns)
    return {"commits_per_second": series.rate, **(plain(summary) if summary else {"count": 0})}
