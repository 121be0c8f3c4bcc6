"""Where a verb's answer goes: for people by rich, for machines one JSON document; errors to stderr alike."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["MIB", "Output", "human_bytes", "human_count", "human_seconds", "plain", "show"]


MIB = 1 << 20


class Output:
    """Owns the consoles of one invocation. `json` is set by --json, before or after the verb."""

    def __init__(self) -> None:
        self.json = False
        self._width: int | None = None if sys.stdout.isatty() else 110

    @property
    def console(self) -> Console:
        """Writes to stdout; without colours and at a fixed width where that is no terminal."""
        return Console(width=self._width, highlight=False, soft_wrap=False)

    @property
    def errors(self) -> Console:
        return Console(stderr=True, highlight=False, soft_wrap=True)

    def document(self, value: Any, *, err: bool = False) -> None:
        """One JSON document on stdout; with `err`, because that is taken, on stderr."""
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False), err=err)

    def line(self, value: Any) -> None:
        """One JSON document of many, a line each."""
        click.echo(json.dumps(plain(value), ensure_ascii=False))

    def error(self, error: BaseException, code: int) -> None:
        """What went wrong, on stderr."""
        if self.json:
            facts: dict[str, Any] = {"error": type(error).__name__, "exit": code, "message": str(error)}
            for name in ("path", "offset", "filename", "errno"):
                if getattr(error, name, None) is not None:
                    facts[name] = getattr(error, name)
            click.echo(json.dumps(plain(facts), ensure_ascii=False), err=True)
        else:
            click.echo(f"fjeld: {_message(error)}", err=True)

    def progress(self) -> Progress:
        """Progress bars on stderr; nothing at all where that is no terminal, or under --json."""
        console = Console(stderr=True)
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<30}"),
            BarColumn(bar_width=36),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=5,  # a redraw takes the GIL for milliseconds: few of them
            disable=self.json or not console.is_terminal,
        )


def _message(error: BaseException) -> str:
    """One line, without Python's decoration."""
    if type(error).__str__ is OSError.__str__ and isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) or type(error).__name__


def show(data: bytes, *, as_hex: bool = False) -> str:
    """Bytes on one line of text: backslashes doubled, what is not printable escaped, so it can be undone."""
    if as_hex:
        return data.hex()
    text = data.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain(value: Any) -> Any:
    """The value as JSON can hold it. Bytes that are no UTF-8 become {"hex": ...}."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return {"hex": raw.hex()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def human_bytes(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_count(count: float) -> str:
    """1234567 -> '1,234,567'."""
    return f"{count:,.0f}"


def human_seconds(seconds: float) -> str:
    """0.0000123 -> '12.3 us'; three digits, and the unit that suits them."""
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        scaled = seconds * factor
        if scaled < 999.5:
            return f"{scaled:.3g} {unit}"
    return f"{seconds:.2f} s"
