"""The filter: never a wrong no, seldom a wrong yes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fjeld.kernel.checksum import xxh64
from fjeld.kernel.filter import build_filter, filter_contains, filter_contains_all
from tests.kernel.reference import may_contain

hashes = st.integers(0, 2**64 - 1)


@given(st.lists(hashes, max_size=60), st.lists(hashes, max_size=20), st.integers(1, 40))
def test_as_the_reference(inside: list[int], outside: list[int], bits_per_key: int) -> None:
    probes, bits = build_filter(inside, bits_per_key)
    assert len(bits) == max(1, -(-len(inside) * bits_per_key // 512)) * 64
    assert probes == min(12, max(1, (bits_per_key * 69 + 50) // 100))
    assert all(filter_contains(bits, probes, h) for h in inside)
    for h in outside:
        assert filter_contains(bits, probes, h) == may_contain(bits, probes, h)


@given(st.lists(hashes, max_size=100), st.lists(hashes, max_size=3), st.integers(1, 40), st.booleans())
def test_many_at_once(inside: list[int], outside: list[int], bits_per_key: int, portable: bool) -> None:
    """With and without vector instructions: as one by one."""
    probes, bits = build_filter(inside, bits_per_key)
    assert filter_contains_all(bits, probes, inside, portable)
    for place, h in enumerate(outside):
        mixed = [*inside[:place], h, *inside[place:]]
        assert filter_contains_all(bits, probes, mixed, portable) == filter_contains(bits, probes, h)


@pytest.mark.parametrize("portable", [False, True])
def test_every_probe_counts(portable: bool) -> None:
    """A filter with one bit less does not know the key."""
    for bits_per_key in range(1, 20):
        h = 0x0123_4567_89AB_CDEF * bits_per_key & (1 << 64) - 1
        probes, bits = build_filter([h], bits_per_key)
        assert filter_contains_all(bits, probes, [h] * 9, portable)
        for bit in range(512):
            if bits[bit >> 3] >> (bit & 7) & 1:
                less = bytearray(bits)
                less[bit >> 3] ^= 1 << (bit & 7)
                assert not filter_contains_all(bytes(less), probes, [h], portable)


def test_no_bit_is_set_without_a_reason() -> None:
    probes, bits = build_filter([], 10)
    assert not any(bits)
    probes, bits = build_filter([12345 << 32 | 678], 10)
    assert 1 <= sum(byte.bit_count() for byte in bits) <= probes


@pytest.mark.parametrize(("bits_per_key", "most"), [(6, 0.07), (10, 0.02), (16, 0.003)])
def test_false_positives(bits_per_key: int, most: float) -> None:
    keys = [xxh64(b"key %d" % i) for i in range(20_000)]
    probes, bits = build_filter(keys, bits_per_key)
    assert all(filter_contains(bits, probes, h) for h in keys)
    passed = sum(filter_contains(bits, probes, xxh64(b"absent %d" % i)) for i in range(50_000))
    assert passed / 50_000 < most


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="no filter"):
        build_filter([1], 0)
    for bits in (b"", b"x" * 63):
        with pytest.raises(ValueError, match="whole lines"):
            filter_contains(bits, 7, 1)
        with pytest.raises(ValueError, match="whole lines"):
            filter_contains_all(bits, 7, [1])
    for probes in (0, 13):
        with pytest.raises(ValueError, match="probes"):
            filter_contains_all(bytes(64), probes, [1])
