"""The formats of docs/FORMATS.md once more, in plain Python: what the kernel is measured against."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

from fjeld.kernel.checksum import xxh64
from fjeld.kernel.compression import decompress_bytes

Entry = tuple[bytes, int, bytes]  # key, tag (seqno << 8 | kind), value


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Bytes:
    """A position in bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def at_end(self) -> bool:
        return self.at == len(self.data)


def order(entry: Entry) -> tuple[bytes, int]:
    return entry[0], -entry[1]


def common_prefix(a: bytes, b: bytes) -> bytes:
    if b.startswith(a) or a.startswith(b):
        return min(a, b, key=len)
    return a[: next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)]


def encode_data(entries: list[Entry]) -> bytes:
    prefix = common_prefix(entries[0][0], entries[-1][0])
    out = varint(len(entries)) + varint(len(prefix)) + prefix
    for key, tag, value in entries:
        suffix = key[len(prefix) :]
        out += varint(len(suffix)) + varint(len(value)) + varint(tag >> 8 << 3 | tag & 7) + suffix + value
    return out


def decode_data(payload: bytes) -> list[Entry]:
    source = Bytes(payload)
    count = source.varint()
    prefix = source.take(source.varint())
    entries = []
    for _ in range(count):
        suffix_bytes, value_bytes, packed = source.varint(), source.varint(), source.varint()
        key = prefix + source.take(suffix_bytes)
        entries.append((key, packed >> 3 << 8 | packed & 7, source.take(value_bytes)))
    assert source.at_end()
    return entries


def may_contain(bits: bytes, probes: int, key_hash: int) -> bool:
    lines = len(bits) // 64
    line = bits[((key_hash >> 32) * lines >> 32) * 64 :][:64]
    mix = key_hash & 0xFFFFFFFF
    for _ in range(probes):
        mix = mix * 0x9E3779B9 & 0xFFFFFFFF
        if not line[mix >> 26] >> (mix >> 23 & 7) & 1:
            return False
    return True


@dataclass
class File:
    """A table file, taken apart."""

    blocks: list[list[Entry]] = field(default_factory=list)
    codecs: list[int] = field(default_factory=list)
    last_keys: list[bytes] = field(default_factory=list)
    probes: int = 0
    filter_bits: bytes = b""
    properties: dict = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        return [entry for block in self.blocks for entry in block]


def open_block(data: bytes, offset: int, length: int, kind: int) -> tuple[int, bytes]:
    block = data[offset : offset + length]
    raw_bytes, codec, found_kind, zero, checksum = struct.unpack("<IBBHQ", block[-16:])
    assert (found_kind, zero) == (kind, 0)
    assert checksum == xxh64(block[:-8], offset)
    return codec, decompress_bytes(codec, block[:-16], raw_bytes)


def read_table(data: bytes) -> File:
    """Every byte of it is looked at, and nothing of the kernel but checksum and decompression is used."""
    file = File()
    footer = data[-64:]
    (
        filter_at,
        filter_n,
        index_at,
        index_n,
        properties_at,
        properties_n,
        blocks,
        form,
        zero,
        checksum,
        magic,
    ) = struct.unpack("<QIQIQIIIIQ8s", footer)
    assert (form, zero, magic) == (1, 0, b"FJELDSST")
    assert checksum == xxh64(footer[:48], len(data))
    assert filter_at + filter_n == index_at
    assert index_at + index_n == properties_at
    assert properties_at + properties_n + 64 == len(data)
    _, payload = open_block(data, filter_at, filter_n, 1)
    lines, file.probes = struct.unpack("<II", payload[:8])
    file.filter_bits = payload[8:]
    assert len(file.filter_bits) == 64 * lines
    index = Bytes(open_block(data, index_at, index_n, 2)[1])
    assert index.varint() == blocks
    offset = 0
    key = b""
    for _ in range(blocks):
        shared = index.varint()
        key = key[:shared] + index.take(index.varint())
        file.last_keys.append(key)
        length = index.varint()
        codec, payload = open_block(data, offset, length, 0)
        file.codecs.append(codec)
        file.blocks.append(decode_data(payload))
        offset += length
    assert index.at_end()
    assert offset == filter_at
    file.properties = json.loads(open_block(data, properties_at, properties_n, 3)[1])
    return file
