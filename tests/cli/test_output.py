"""How values are shown: to people, and to machines."""

from __future__ import annotations

import dataclasses
import enum
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.cli.output import Output, human_bytes, human_count, human_seconds, plain, show


class Color(enum.IntEnum):
    RED = 3


@dataclasses.dataclass
class Point:
    x: int
    where: Path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (b"text", "text"),
        (b"\xff\x00", {"hex": "ff00"}),
        (Color.RED, 3),
        (Point(1, Path("/a")), {"x": 1, "where": "/a"}),
        ({"a": (1, {2})}, {"a": [1, [2]]}),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ],
)
def test_plain(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"key", "key"),
        ("fjell å".encode(), "fjell å"),
        (b"a\tb\n", "a\\tb\\n"),
        (b"\xff\\", "\\xff\\\\"),
        (b"", ""),
    ],
)
def test_show(data, expected):
    assert show(data) == expected


@given(st.binary())
def test_shown_bytes_fit_a_line_and_differ(data):
    text = show(data)
    assert text.isprintable()
    assert bytes.fromhex(show(data, as_hex=True)) == data


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_different_bytes_are_shown_differently(a, b):
    assert (show(a) == show(b)) == (a == b)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_human_bytes(count, expected):
    assert human_bytes(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ns"),
        (1.5e-6, "1.5 us"),
        (0.000_999_9, "1 ms"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.00 s"),
        (75, "75.00 s"),
    ],
)
def test_human_seconds(seconds, expected):
    assert human_seconds(seconds) == expected


def test_human_count():
    assert human_count(1234567) == "1,234,567"


def test_errors_for_people_and_machines(capsys):
    output = Output()
    error = FileExistsError(17, "File exists", "backups/monday")
    output.error(error, 6)
    assert capsys.readouterr().err == "fjeld: backups/monday: File exists\n"
    output.json = True
    output.error(error, 6)
    facts = json.loads(capsys.readouterr().err)
    assert facts["error"] == "FileExistsError"
    assert facts["exit"] == 6
    assert facts["filename"] == "backups/monday"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError(), "ValueError"),
        (ValueError("no"), "no"),
    ],
)
def test_messages(error, expected, capsys):
    Output().error(error, 1)
    assert capsys.readouterr().err == f"fjeld: {expected}\n"
