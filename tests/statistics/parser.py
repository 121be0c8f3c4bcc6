"""A strict reader of Prometheus' text format 0.0.4, by its description and not by our writer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """What one name has."""

    help: str
    kind: str
    samples: dict[Labels, float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Family]:
    """By name. AssertionError where a line is wrong or in the wrong place."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    helped: tuple[str, str] | None = None
    current = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, told = line.split(" ", 3)
            helped = (name, told)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert helped is not None
            assert helped[0] == current, "HELP, then TYPE, of the same name"
            assert current not in families, "the lines of a name are together"
            assert kind in ("counter", "gauge")
            families[current] = Family(helped[1], kind)
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == current, "a sample follows its own TYPE"
            labels = _labels(sample[2])
            assert labels not in families[current].samples, line
            families[current].samples[labels] = float(sample[3])
    return families


def _labels(text: str | None) -> Labels:
    found: dict[str, str] = {}
    rest = text or ""
    while rest:
        label = LABEL.match(rest)
        assert label is not None, rest
        assert label[1] not in found, "a label is there once"
        found[label[1]] = re.sub(r"\\.", lambda escaped: ESCAPED[escaped[0]], label[2])
        rest = rest[label.end() :]
    return frozenset(found.items())
