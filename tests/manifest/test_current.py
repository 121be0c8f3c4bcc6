"""CURRENT is replaced by rename, and believed only if it is a name."""

import errno

import pytest

from fjeld.errors import CorruptionError
from fjeld.kernel import files
from fjeld.manifest.current import publish_current, read_current


@pytest.fixture(autouse=True)
def _no_faults():
    yield
    files.clear_faults()
    files.stop_trace()


def test_publish_and_read(tmp_path):
    publish_current(tmp_path, 7)
    assert read_current(tmp_path) == 7
    publish_current(tmp_path, 8)
    assert read_current(tmp_path) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]
    assert (tmp_path / "CURRENT").read_bytes() == b"MANIFEST-000008\n"


def test_the_line_is_on_disk_before_its_name_and_the_name_when_it_returns(tmp_path):
    files.start_trace()
    publish_current(tmp_path, 7)
    trace = [event[0] for event in files.stop_trace()]
    order = [trace.index(operation) for operation in ("create", "write", "sync_all", "rename", "sync_dir")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"MANIFEST-000007",
        b"MANIFEST-7\n",
        b"MANIFEST-000007\n\n",
        b"MANIFEST-000007\r\n",
        b"MANIFEST-00000\xff\n",
        b"manifest-000007\n",
        b"../MANIFEST-000007\n",
        b"\0" * 16,
    ],
)
def test_anything_else_is_corruption(tmp_path, content):
    (tmp_path / "CURRENT").write_bytes(content)
    with pytest.raises(CorruptionError, match="CURRENT") as caught:
        read_current(tmp_path)
    assert caught.value.path == str(tmp_path / "CURRENT")


def test_a_missing_one_is_corruption(tmp_path):
    with pytest.raises(CorruptionError, match="missing"):
        read_current(tmp_path)


@pytest.mark.parametrize("operation", ["create", "write", "sync_all", "rename", "sync_dir"])
def test_after_a_failure_there_is_the_old_one_or_the_new_one(tmp_path, operation):
    publish_current(tmp_path, 7)
    files.inject(operation, 0, errno.EIO)
    with pytest.raises(OSError):
        publish_current(tmp_path, 8)
    assert read_current(tmp_path) == (8 if operation == "sync_dir" else 7)
    files.clear_faults()
    publish_current(tmp_path, 9)
    assert read_current(tmp_path) == 9
