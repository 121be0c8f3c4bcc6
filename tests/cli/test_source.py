"""What is read, and which words are indexed where."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from fjeld.cli.demo.source import Limits, default_roots, find_files, index_keys, places

PLENTY = Limits(files=1_000, bytes=1 << 30)


def test_words_and_their_lines():
    text = b"def walk(tree):\n    tree = walk(tree)\n\nx1 = _y  # the tree\n"
    expected = {
        (b"walk", 1),
        (b"tree", 1),
        (b"tree", 2),
        (b"walk", 2),
        (b"x1", 4),
        (b"_y", 4),
        (b"the", 4),
        (b"tree", 4),
    }
    found = list(places(text))
    assert set(found) == expected
    assert len(found) == len(expected), "each word once a line"


def test_overlong_words_are_left_out():
    assert list(places(b"a" * 256 + b" b")) == [(b"b", 1)]


@given(st.binary(max_size=300))
def test_any_bytes_can_be_split(contents):
    for word, line in places(contents):
        assert word in contents.split(b"\n")[line - 1]


def test_index_keys():
    assert sorted(index_keys(b"/lib/a.py", b"b = a\na\n")) == [
        b"a\0/lib/a.py:1",
        b"a\0/lib/a.py:2",
        b"b\0/lib/a.py:1",
    ]
    assert index_keys(b"/lib/a.txt", b"b = a\n") == []
    assert index_keys(b"/lib/a.pyi", b"b\n") == [b"b\0/lib/a.pyi:1"]


def make_tree(root):
    (root / "pkg" / "__pycache__").mkdir(parents=True)
    (root / "pkg" / "__pycache__" / "a.pyc").write_bytes(b"x")
    for number in range(20):
        (root / "pkg" / f"m{number}.py").write_bytes(b"x" * 10)
    (root / "big.bin").write_bytes(b"x" * 5_000)
    (root / "link.py").symlink_to(root / "pkg" / "m1.py")


def test_files_are_found_once_in_a_repeatable_order(tmp_path):
    make_tree(tmp_path)
    limits = Limits(files=1_000, bytes=1 << 20, file_bytes=4_000)
    found = find_files([tmp_path], limits)
    assert sorted(source.path.name for source in found) == sorted(f"m{number}.py" for number in range(20))
    assert found == find_files([tmp_path], limits)
    assert found != sorted(found, key=lambda source: source.path)
    assert all(
        source.key == os.fsencode(source.path) and len(source.read()) == source.size_bytes for source in found
    )


def test_limits(tmp_path):
    make_tree(tmp_path)
    assert len(find_files([tmp_path], Limits(files=7, bytes=1 << 20))) == 7
    few = find_files([tmp_path], Limits(files=1_000, bytes=55))
    assert len(few) == 5
    assert find_files([tmp_path / "nowhere"], PLENTY) == []


def test_this_python_has_files():
    roots = default_roots()
    assert roots
    assert not any(a != b and a.is_relative_to(b) for a in roots for b in roots)
    assert len(find_files(roots, Limits(files=50, bytes=1 << 30))) == 50
