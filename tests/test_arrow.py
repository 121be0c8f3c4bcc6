"""Arrow and Parquet: entries out and in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fjeld
import fjeld.arrow
from tests.support import content_of, fill, opened

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def keyspace(path: Path):
    with opened(path) as keyspace:
        fill(keyspace.partition("a/b"), 1000)
        keyspace.partition("empty")
        yield keyspace


def test_to_arrow(keyspace: fjeld.Keyspace) -> None:
    partition = keyspace.partition("a/b")
    table = fjeld.arrow.to_arrow(partition).read_all()
    assert dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True)) == dict(
        partition.items()
    )
    assert table.schema.names == ["key", "value"]
    batches = list(fjeld.arrow.to_arrow(partition, batch_entries=300))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    assert fjeld.arrow.to_arrow(partition, prefix=b"000001").read_all().num_rows == 100
    assert fjeld.arrow.to_arrow(partition, start=b"00000010", stop=b"00000020").read_all().num_rows == 10
    assert fjeld.arrow.to_arrow(keyspace.partition("empty")).read_all().num_rows == 0
    with pytest.raises(ValueError, match="prefix"):
        fjeld.arrow.to_arrow(partition, prefix=b"a", start=b"b")
    with pytest.raises(ValueError, match="batch_entries"):
        fjeld.arrow.to_arrow(partition, batch_entries=0)


def test_large_values_make_small_batches(keyspace: fjeld.Keyspace, monkeypatch) -> None:
    monkeypatch.setattr(fjeld.arrow, "BATCH_BYTES", 1000)
    assert max(batch.num_rows for batch in fjeld.arrow.to_arrow(keyspace.partition("a/b"))) <= 21


def test_it_is_lazy_and_as_of_its_creation(keyspace: fjeld.Keyspace) -> None:
    with keyspace.snapshot() as snapshot:
        reader = fjeld.arrow.to_arrow(snapshot.partition("a/b"), batch_entries=10)
        first = reader.read_next_batch()
        keyspace.partition("a/b").clear()
        assert first.num_rows + sum(batch.num_rows for batch in reader) == 1000


@pytest.mark.parametrize("presorted", [True, False])
def test_parquet_there_and_back(keyspace: fjeld.Keyspace, tmp_path: Path, presorted: bool) -> None:
    partition = keyspace.partition("a/b")
    assert fjeld.arrow.to_parquet(partition, tmp_path / "x") == 1000
    assert pq.read_table(tmp_path / "x").num_rows == 1000
    copy = keyspace.partition("copy")
    assert fjeld.arrow.from_parquet(copy, tmp_path / "x", presorted=presorted) == 1000
    assert dict(copy.items()) == dict(partition.items())
    with pytest.raises(FileExistsError):
        fjeld.arrow.to_parquet(partition, tmp_path / "x")
    with pytest.raises(Exception, match=r"compression|codec|Unsupported"):
        fjeld.arrow.to_parquet(partition, tmp_path / "y", compression="rar")
    assert sorted(os.listdir(tmp_path)) == ["keyspace", "x"]


def test_a_whole_keyspace(keyspace: fjeld.Keyspace, tmp_path: Path) -> None:
    written = fjeld.arrow.export_parquet(keyspace, tmp_path / "out")
    assert written == {"a/b": tmp_path / "out" / "a%2Fb.parquet", "empty": tmp_path / "out" / "empty.parquet"}
    assert pq.read_table(written["a/b"]).num_rows == 1000
    with pytest.raises(KeyError):
        fjeld.arrow.export_parquet(keyspace, tmp_path / "two", partitions=["nope"])
    with pytest.raises(FileExistsError):
        fjeld.arrow.export_parquet(keyspace, tmp_path / "out")
    with pytest.raises(Exception, match=r"compression|codec|Unsupported"):
        fjeld.arrow.export_parquet(keyspace, tmp_path / "two", compression="rar")
    assert sorted(os.listdir(tmp_path)) == ["keyspace", "out"]


def test_from_whatever_holds_batches(keyspace: fjeld.Keyspace) -> None:
    table = pa.table({"k": ["b", "a", "a"], "v": [b"1", b"2", b"3"], "other": [1, 2, 3]})

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    for number, source in enumerate(
        (table, table.to_batches()[0], table.to_reader(), table.to_batches(), Stream())
    ):
        partition = keyspace.partition(f"p{number}")
        assert fjeld.arrow.from_arrow(partition, source, key="k", value="v") == 3
        assert dict(partition.items()) == {b"a": b"3", b"b": b"1"}


def test_what_is_refused(keyspace: fjeld.Keyspace) -> None:
    partition = keyspace.partition("new")
    for columns, kind, message in (
        ({"key": [b"a"]}, ValueError, "no column 'value'"),
        ({"key": [b"a", None], "value": [b"", b""]}, ValueError, "nulls"),
        ({"key": [1], "value": [b""]}, TypeError, "int64"),
    ):
        with pytest.raises(kind, match=message):
            fjeld.arrow.from_arrow(partition, pa.table(columns))
    with pytest.raises(ValueError, match="ascend"):
        fjeld.arrow.from_arrow(partition, pa.table({"key": ["b", "a"], "value": ["", ""]}), presorted=True)
    assert content_of(keyspace)["new"] == {}
    fixed = pa.table({"key": pa.array([b"ab"], pa.binary(2)), "value": ["x"]})
    assert fjeld.arrow.from_arrow(partition, fixed) == 1


def test_without_pyarrow() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import fjeld, fjeld.arrow\n"
        "for call in (fjeld.arrow.to_arrow, lambda _: fjeld.arrow.to_parquet(None, 'x')):\n"
        "    try: call(None)\n"
        "    except ImportError as error: assert 'pip install fjeld[arrow]' in str(error)\n"
        "    else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
