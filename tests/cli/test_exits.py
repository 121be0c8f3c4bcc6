"""Each kind of error has its exit code, and the funnel uses it."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from fjeld import errors
from fjeld.cli.exits import Exit, exit_for
from fjeld.cli.main import Funnel
from fjeld.cli.params import json_option, to_bytes

KINDS = [
    (errors.NotAKeyspaceError("x"), 3),
    (errors.LockedError("x"), 4),
    (errors.CorruptionError("x", path="f", offset=1), 5),
    (OSError(28, "full"), 6),
    (FileExistsError(17, "exists"), 6),
    (errors.CancelledError("x"), 7),
    (errors.UnsupportedFormatError("x"), 8),
    (errors.PoisonedError("x"), 9),
    (errors.ClosedError("x"), 10),
    (errors.ConflictError("x"), 10),
    (errors.MisuseError("x"), 10),
    (errors.InvalidOptionError("x"), 2),
    (ValueError("x"), 2),
]


@pytest.mark.parametrize(("error", "code"), KINDS, ids=lambda value: type(value).__name__)
def test_exit_codes(error, code):
    assert exit_for(error) == code


def test_a_bug_has_no_exit_code():
    assert exit_for(RuntimeError("bug")) is None


def test_every_error_of_fjeld_has_a_code():
    assert all(issubclass(getattr(errors, name), errors.FjeldError) for name in errors.__all__)
    kinds = {type(error).__name__ for error, _ in KINDS}
    assert set(errors.__all__) - kinds == {"FjeldError"}


def invoke(error, *arguments):
    @click.group(cls=Funnel)
    @json_option
    def group():
        pass

    @group.command()
    @json_option
    def fail():
        raise error

    return CliRunner().invoke(group, [*arguments])


@pytest.mark.parametrize(("error", "code"), KINDS, ids=lambda value: type(value).__name__)
def test_the_funnel(error, code):
    result = invoke(error, "fail")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("fjeld: ")


@pytest.mark.parametrize("arguments", [("--json", "fail"), ("fail", "--json")])
def test_json_before_and_after_the_verb(arguments):
    result = invoke(errors.CorruptionError("bad", path="f.sst", offset=9), *arguments)
    assert result.exit_code == 5
    assert '"offset": 9' in result.stderr
    assert '"path": "f.sst"' in result.stderr


def test_an_interrupt():
    assert invoke(KeyboardInterrupt(), "fail").exit_code == Exit.INTERRUPTED


def test_a_bug_keeps_its_traceback():
    assert isinstance(invoke(RuntimeError("bug"), "fail").exception, RuntimeError)


def test_keys_as_typed():
    assert to_bytes("å", as_hex=False) == "å".encode()
    assert to_bytes("\udcff", as_hex=False) == b"\xff"
    assert to_bytes("00 fF", as_hex=True) == b"\x00\xff"
    with pytest.raises(click.BadParameter, match="hexadecimal"):
        to_bytes("xyz", as_hex=True)
