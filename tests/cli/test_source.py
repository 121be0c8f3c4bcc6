"""What is read, and which words are indexed where."""

from __future__ import annotations

import os
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from fjeld.cli.demo import source
from fjeld.cli.demo.source import batches, default_roots, find_files, index_entries, places


def test_words_and_their_lines():
    text = b"def walk(tree):\n    tree = walk(tree)\n\nx1 = _y  # the tree\n"
    assert places(text) == {b"walk": [1, 2], b"tree": [1, 2, 4], b"x1": [4], b"_y": [4], b"the": [4]}


def test_overlong_words_are_left_out():
    assert places(b"a" * 256 + b" b") == {b"b": [1]}


@given(st.binary(max_size=300))
def test_any_bytes_can_be_split(contents):
    for word, lines in places(contents).items():
        assert lines == sorted(set(lines)), "each line once"
        assert all(word in contents.split(b"\n")[line - 1] for line in lines)


def test_index_entries():
    assert sorted(index_entries(b"1:/lib/a.py", b"b = a\na\n")) == [
        (b"a\x001:/lib/a.py", b"1 2"),
        (b"b\x001:/lib/a.py", b"1"),
    ]
    assert index_entries(b"/lib/a.txt", b"b = a\n") == []
    assert index_entries(b"/lib/a.pyi", b"b\n") == [(b"b\0/lib/a.pyi", b"1")]


def make_tree(root):
    (root / "pkg" / "__pycache__").mkdir(parents=True)
    (root / "pkg" / "__pycache__" / "a.pyc").write_bytes(b"x")
    for number in range(20):
        (root / "pkg" / f"m{number}.py").write_bytes(b"x" * 10)
    (root / "big.bin").write_bytes(b"x" * 5_000)
    (root / "link.py").symlink_to(root / "pkg" / "m1.py")


def test_files_are_found_once_in_a_repeatable_order(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_FILE_MAX_BYTES", 4_000)
    make_tree(tmp_path)
    found = find_files([tmp_path], 1_000)
    assert sorted(path.name for path in found) == sorted(f"m{number}.py" for number in range(20))
    assert found == find_files([tmp_path], 1_000)
    assert found != sorted(found)


def test_so_many_at_most(tmp_path):
    make_tree(tmp_path)
    assert len(find_files([tmp_path], 7)) == 7
    assert find_files([tmp_path / "nowhere"], 7) == []


def test_batches_repeat_under_keys_of_their_own(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(path.name.encode())
    first = list(islice(batches(paths), 4))
    assert [contents for _, contents in first] == [b"a", b"b", b"a", b"b"]
    assert len({key for key, _ in first}) == 4
    assert first[2][0] == b"2:" + os.fsencode(paths[0])


def test_this_python_has_files():
    roots = default_roots()
    assert roots
    assert not any(a != b and a.is_relative_to(b) for a in roots for b in roots)
    assert len(find_files(roots, 50)) == 50
