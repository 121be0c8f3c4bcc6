"""LZ4 and Zstandard behind one pair of functions."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.errors import CorruptionError
from fjeld.kernel.compression import compress_bytes, decompress_bytes

NONE, LZ4, ZSTD = 0, 1, 2
NOISE = bytes((i * i * 2654435761 >> 13) & 0xFF for i in range(4096))

texts = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda piece, times: piece * times, st.binary(max_size=40), st.integers(0, 400)),
)


@given(texts, st.sampled_from([NONE, LZ4, ZSTD]))
def test_round_trip(data: bytes, codec: int) -> None:
    used, stored = compress_bytes(data, codec)
    assert used in (NONE, codec)
    assert used == NONE or len(stored) < len(data) - len(data) // 16
    assert used != NONE or stored == data
    assert decompress_bytes(used, stored, len(data)) == data


@pytest.mark.parametrize("codec", [LZ4, ZSTD])
def test_what_does_not_shrink_is_stored(codec: int) -> None:
    assert compress_bytes(NOISE, codec) == (NONE, NOISE)
    assert compress_bytes(b"", codec) == (NONE, b"")
    used, stored = compress_bytes(bytes(4096), codec)
    assert used == codec
    assert len(stored) < 100


def test_levels_differ() -> None:
    text = b"".join(b"%d apples and %d pears, " % (i * 7919 % 1009, i) for i in range(2000))
    assert compress_bytes(text, ZSTD, 19) != compress_bytes(text, ZSTD, 1) == compress_bytes(text, ZSTD, 1)


@pytest.mark.parametrize(("codec", "level"), [(3, 1), (-1, 1), (ZSTD, 1000)])
def test_unknown_codecs_and_levels(codec: int, level: int) -> None:
    with pytest.raises(ValueError, match=r"codec|level"):
        compress_bytes(b"x", codec, level)


@given(st.binary(max_size=200), st.sampled_from([NONE, LZ4, ZSTD, 3, 255]), st.integers(0, 5000))
def test_arbitrary_input_is_refused_or_has_the_size(data: bytes, codec: int, size: int) -> None:
    try:
        assert len(decompress_bytes(codec, data, size)) == size
    except CorruptionError:
        pass


@pytest.mark.parametrize("codec", [LZ4, ZSTD])
def test_damaged_input_never_leaves_its_bounds(codec: int) -> None:
    data = b"".join(b"row %d of many; " % i for i in range(200))
    used, stored = compress_bytes(data, codec)
    assert used == codec
    for position in range(len(stored)):
        damaged = bytearray(stored)
        damaged[position] ^= 0xFF
        for text, size in ((bytes(damaged), len(data)), (stored[:position], len(data)), (stored, position)):
            try:
                assert len(decompress_bytes(codec, text, size)) == size
            except CorruptionError:
                continue
    with pytest.raises(CorruptionError):
        decompress_bytes(codec, stored, len(data) + 1)


def test_a_claim_that_cannot_be_allocates_nothing() -> None:
    with pytest.raises(CorruptionError):
        decompress_bytes(LZ4, b"x" * 10, 1 << 31)


def test_many_threads_share_the_contexts() -> None:
    texts = [bytes([i]) * 5000 + NOISE[: i * 10] for i in range(64)]
    stored = [compress_bytes(text, ZSTD) for text in texts]
    with ThreadPoolExecutor(12) as threads:
        for _ in range(5):
            jobs = [
                threads.submit(decompress_bytes, codec, packed, len(text))
                for (codec, packed), text in zip(stored, texts, strict=True)
            ]
            assert [job.result() for job in jobs] == texts
