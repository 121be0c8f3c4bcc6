"""Checksums: the published values of XXH3, streaming, whole files."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.kernel import checksum, files
from fjeld.kernel.checksum import Xxh128, file_xxh128, xxh64, xxh128_hex


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    files.clear_faults()


def test_published_values() -> None:
    """XXH3's sums of nothing: it is the right algorithm, in the canonical order of bytes."""
    assert xxh64(b"") == 0x2D06800538D394C2
    assert xxh128_hex(b"") == "99aa06d3014798d86001c324468d497f"


def test_the_seed_matters() -> None:
    assert len({xxh64(b"x", seed) for seed in (0, 1, 2**63, 2**64 - 1)}) == 4


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like(wrap: type) -> None:
    assert xxh64(wrap(b"abc")) == xxh64(b"abc")
    assert xxh128_hex(wrap(b"abc")) == xxh128_hex(b"abc")


@pytest.mark.parametrize("call", [xxh64, xxh128_hex, Xxh128().update])
def test_text_is_refused(call) -> None:
    with pytest.raises(TypeError):
        call("abc")


@given(st.lists(st.binary(max_size=700), max_size=6))
def test_streaming_is_the_same(pieces: list[bytes]) -> None:
    running = Xxh128()
    for piece in pieces:
        running.update(piece)
    assert running.hexdigest() == xxh128_hex(b"".join(pieces))
    assert running.hexdigest() == running.hexdigest()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 7])
def test_files(tmp_path: Path, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "f").write_bytes(data)
    assert file_xxh128(tmp_path / "f") == (size, xxh128_hex(data))


def test_file_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        file_xxh128(tmp_path / "none")
    assert missing.value.filename == str(tmp_path / "none")
    (tmp_path / "f").write_bytes(b"x")
    files.inject("read", 0, errno.EIO)
    with pytest.raises(OSError, match="f") as broken:
        checksum.file_xxh128(str(tmp_path / "f"))
    assert broken.value.errno == errno.EIO
