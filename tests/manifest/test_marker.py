"""The marker says what a folder is."""

import errno

import pytest

from fjeld.errors import CorruptionError, NotAKeyspaceError, UnsupportedFormatError
from fjeld.kernel import files
from fjeld.manifest.marker import check_marker, write_marker


@pytest.fixture(autouse=True)
def _no_faults():
    yield
    files.clear_faults()


def test_write_and_check(tmp_path):
    write_marker(tmp_path)
    check_marker(tmp_path)
    assert (tmp_path / "FJELD").read_bytes() == b"fjeld keyspace\nformat 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["FJELD"]


def test_what_is_no_keyspace(tmp_path):
    with pytest.raises(NotAKeyspaceError, match="FJELD"):
        check_marker(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_marker(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(NotAKeyspaceError, match="create=True"):
        check_marker(tmp_path / "file")


@pytest.mark.parametrize("content", [b"fjeld keyspace\nformat 2\n", b"fjeld keyspace\nformat 123456789\n"])
def test_a_newer_format(tmp_path, content):
    (tmp_path / "FJELD").write_bytes(content)
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        check_marker(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"fjeld keyspace\n",
        b"fjeld keyspace\nformat 0\n",
        b"fjeld keyspace\nformat 1",
        b"\0" * 24,
        b"x" * 9000,
    ],
)
def test_a_damaged_marker(tmp_path, content):
    (tmp_path / "FJELD").write_bytes(content)
    with pytest.raises(CorruptionError, match="FJELD"):
        check_marker(tmp_path)


@pytest.mark.parametrize("operation", ["create", "write", "sync_all", "rename"])
def test_a_failure_leaves_no_keyspace_and_can_be_repeated(tmp_path, operation):
    files.inject(operation, 0, errno.ENOSPC)
    with pytest.raises(OSError):
        write_marker(tmp_path)
    with pytest.raises(NotAKeyspaceError):
        check_marker(tmp_path)
    files.clear_faults()
    write_marker(tmp_path)
    check_marker(tmp_path)


def test_it_is_on_disk_whole_and_by_name(tmp_path):
    files.start_trace()
    write_marker(tmp_path)
    operations = [event[0] for event in files.stop_trace()]
    synced = next(at for at, operation in enumerate(operations) if operation.startswith("sync"))
    assert synced < operations.index("rename") < operations.index("sync_dir")
