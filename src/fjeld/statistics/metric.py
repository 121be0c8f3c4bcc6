"""One metric of Prometheus' text format, version 0.0.4.

Lines: `# HELP name what it means`, `# TYPE name counter` (or `gauge`), then for each sample
`name{label="value",...} number`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Labels", "Metric", "Sample"]

Labels = Mapping[str, str]

Sample = tuple[Labels, float | None]
"""None: not known. There is no line for it then."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One name with all its samples. A metric without samples is left out."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[Sample, ...]

    def lines(self, labels: Labels) -> Iterator[str]:
        """As text; `labels` come before those of each sample."""
        known = [(own, value) for own, value in self.samples if value is not None]
        if known:
            yield f"# HELP {self.name} {_escape(self.help)}"
            yield f"# TYPE {self.name} {self.kind}"
        for own, value in known:
            yield f"{self.name}{_label_text({**labels, **own})} {_number(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quote(text: str) -> str:
    """The value of a label: the quote is escaped too."""
    escaped = _escape(text).replace('"', '\\"')
    return f'"{escaped}"'


def _label_text(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f"{name}={_quote(value)}" for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
