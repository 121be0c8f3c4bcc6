"""`verify` of an export: every byte of it is checked, and all damage that can be told apart is in one report."""

from __future__ import annotations

import errno
import io
import json
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.main import cli
from fjeld.export.frames import CHUNK, END, HEAD, HEADER, PARTITION_END, PREFACE, Frame
from fjeld.kernel import files
from tests.export.test_damage import WRONG, changed_document, frames_of, raw_frames, sealed
from tests.support import fill, opened, tree_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """An export with several chunks in a partition, and the digest of its source."""
    out = io.BytesIO()
    with opened(tmp_path_factory.mktemp("source") / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 2500, value_bytes=1000)
        fill(keyspace.partition("b"), 10, seed=1)
        keyspace.partition("c")
        keyspace.export_to(out, compression="none")
        return out.getvalue(), keyspace.digest()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same shape as that of the damage tests: header, chunk, end, chunk, end, end, end."""
    out = io.BytesIO()
    with opened(tmp_path_factory.mktemp("small") / "keyspace") as keyspace:
        fill(keyspace.partition("a"), 20)
        fill(keyspace.partition("b"), 10, seed=1)
        keyspace.partition("c")
        keyspace.export_to(out, compression="lz4")
    return out.getvalue()


def report_of(folder: Path, data: bytes, *, scan: bool = True) -> fjeld.VerifyReport:
    (folder / "export").write_bytes(data)
    return fjeld.verify(folder / "export", scan=scan)


def flipped(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 1 << place % 8
    return bytes(changed)


def test_a_sound_one(made: tuple[bytes, str], tmp_path: Path) -> None:
    data, digest = made
    kinds = [frame.kind for frame in frames_of(data)]
    assert kinds[0] == HEADER
    assert kinds.count(CHUNK) > 2
    before = report_of(tmp_path, data)
    tree = tree_of(tmp_path)
    report = fjeld.verify(tmp_path / "export")
    assert report.ok
    assert (report.kind, report.path, report.in_use) == ("export", tmp_path / "export", None)
    assert (report.entries, report.digest) == (2510, digest)
    assert (report.files_checked, report.bytes_checked) == (1, len(data))
    found = fjeld.inspect(tmp_path / "export")
    assert isinstance(found, fjeld.InspectedExport)
    assert (report.id, report.seqno) == (found.keyspace_id, found.seqno)
    assert (report.problems, report.notes, report.leftovers) == ((), (), ())
    assert tree_of(tmp_path) == tree, "nothing is written"
    assert before.digest == report.digest
    report.raise_if_bad()


def test_without_the_scan(made: tuple[bytes, str], tmp_path: Path) -> None:
    report = report_of(tmp_path, made[0], scan=False)
    assert (report.ok, report.entries, report.digest) == (True, None, None)
    assert report.bytes_checked == len(made[0])


def test_some_partitions_only(tmp_path: Path) -> None:
    with opened(tmp_path / "keyspace") as keyspace:
        for name in ("a", "b"):
            keyspace.partition(name).insert(b"k", b"v")
        info = keyspace.export_to(tmp_path / "some", partitions=["b"])
    report = fjeld.verify(tmp_path / "some")
    assert (report.ok, report.entries, report.digest) == (True, 1, info.digest)
    assert [note.what for note in report.notes] == [
        "it holds some of the partitions of its keyspace, not all"
    ]


@pytest.mark.parametrize("scan", [True, False])
def test_every_byte_flipped(small: bytes, quick_folder: Path, scan: bool) -> None:
    for place in range(len(small)):
        data = flipped(small, place)
        try:
            report = report_of(quick_folder, data, scan=scan)
        except fjeld.NotAKeyspaceError:
            assert place < 8, "the magic"
            continue
        except fjeld.UnsupportedFormatError:
            assert 8 <= place < PREFACE.size
            continue
        assert not report.ok, place
        assert (report.entries, report.digest) == (None, None)
        assert all(problem.path == "export" for problem in report.problems)


@pytest.mark.parametrize("scan", [True, False])
def test_cut_short_at_every_byte_and_extended(small: bytes, quick_folder: Path, scan: bool) -> None:
    for size in range(8, len(small)):
        (problem,) = report_of(quick_folder, small[:size], scan=scan).problems
        assert "cut short" in problem.what
        assert problem.offset == size
    for more in (b"\0", small):
        (problem,) = report_of(quick_folder, small + more, scan=scan).problems
        assert "follow the end" in problem.what


def test_all_damaged_payloads_are_listed(made: tuple[bytes, str], tmp_path: Path) -> None:
    data, _ = made
    frames = frames_of(data)
    damaged = [frames[2], frames[3], *[frame for frame in frames if frame.kind == PARTITION_END][1:]]
    report = report_of(tmp_path, flipped(data, *(frame.offset + HEAD.size + 5 for frame in damaged)))
    found = [(problem.offset, problem.what) for problem in report.problems]
    assert found == [(frame.offset, "the payload of a frame is damaged") for frame in damaged]
    assert (report.entries, report.digest) == (None, None)
    assert report.seqno is not None
    with pytest.raises(fjeld.CorruptionError, match="and 3 more problems") as caught:
        report.raise_if_bad()
    assert (caught.value.path, caught.value.offset) == (str(tmp_path / "export"), damaged[0].offset)


def test_a_damaged_header_hides_nothing_behind_it(made: tuple[bytes, str], tmp_path: Path) -> None:
    data, _ = made
    frames = frames_of(data)
    places = [frames[0].offset + HEAD.size + 5, frames[3].offset + HEAD.size + 5]
    report = report_of(tmp_path, flipped(data, *places))
    assert [problem.offset for problem in report.problems] == [frames[0].offset, frames[3].offset]
    assert (report.id, report.seqno) == (None, None)
    assert report.bytes_checked == len(data)


def test_frames_lost_repeated_and_moved(small: bytes, quick_folder: Path) -> None:
    preface, frames = small[: PREFACE.size], raw_frames(small)
    changed = []
    for place in range(len(frames)):
        changed.append([*frames[:place], *frames[place + 1 :]])
        changed.append([*frames[: place + 1], *frames[place:]])
        for second in range(place):
            swapped = list(frames)
            swapped[place], swapped[second] = swapped[second], swapped[place]
            changed.append(swapped)
    for some in changed:
        assert not report_of(quick_folder, preface + b"".join(some)).ok


# ---- right checksums around wrong content ----


@pytest.mark.parametrize("case", WRONG)
def test_wrong_documents(small: bytes, quick_folder: Path, case: str) -> None:
    place, change, message = WRONG[case]
    frames = frames_of(small)
    frames[place] = changed_document(frames[place], change)
    report = report_of(quick_folder, sealed(frames))
    assert any(message in problem.what for problem in report.problems), report.problems


def test_a_wrong_digest_is_found_without_the_scan_where_the_documents_tell(
    small: bytes, quick_folder: Path
) -> None:
    for case in ("entries of a partition", "digest of a partition", "entries", "chunks", "digest"):
        place, change, message = WRONG[case]
        frames = frames_of(small)
        frames[place] = changed_document(frames[place], change)
        report = report_of(quick_folder, sealed(frames), scan=False)
        assert any(message in problem.what for problem in report.problems), case


def test_members_of_a_newer_version(small: bytes, quick_folder: Path) -> None:
    for place in (0, 2, 6):
        frames = frames_of(small)
        frames[place] = changed_document(frames[place], lambda document: document.update(novelty=1))
        with pytest.raises(fjeld.UnsupportedFormatError, match=r"export.*novelty"):
            report_of(quick_folder, sealed(frames))


def test_chunks_with_wrong_entries(small: bytes, quick_folder: Path) -> None:
    frames = frames_of(small)
    chunk = frames[1]
    twice = [*frames[:2], chunk, *frames[2:]]
    assert any("do not ascend" in p.what for p in report_of(quick_folder, sealed(twice)).problems)
    fewer = Frame(1, 0, CHUNK, chunk.payload, chunk.codec, chunk.raw_bytes, chunk.entries - 1)
    found = report_of(quick_folder, sealed([frames[0], fewer, *frames[2:]])).problems
    assert "does not hold" in found[0].what
    assert found[0].offset == chunk.offset
    assert not report_of(quick_folder, sealed([frames[0], frames[3], *frames[2:]])).ok


# ---- the call ----


def test_progress_and_cancel(made: tuple[bytes, str], tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(made[0])
    seen: list[tuple[int, int, int, int]] = []
    fjeld.verify(tmp_path / "export", progress=lambda *args: seen.append(args))
    assert seen[-1] == (1, 1, seen[-1][3], len(made[0]))
    assert all(a[2] <= b[2] for a, b in pairwise(seen))
    cancel = threading.Event()
    with pytest.raises(fjeld.CancelledError, match="the verification was cancelled"):
        fjeld.verify(tmp_path / "export", progress=lambda *args: cancel.set(), cancel=cancel)


def test_an_error_of_the_progress_is_not_damage(small: bytes, tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(small)

    def broken(*_: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fjeld.verify(tmp_path / "export", progress=broken)


def test_a_disk_that_does_not_read(made: tuple[bytes, str], tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(made[0])
    for after in range(6):
        files.inject("read", after, errno.EIO)
        try:
            (problem,) = fjeld.verify(tmp_path / "export").problems
        finally:
            files.clear_faults()
        assert problem.what == "it cannot be read (Input/output error)"
        assert problem.offset is not None
    files.inject("open", 0, errno.EACCES)
    try:
        with pytest.raises(PermissionError):
            fjeld.verify(tmp_path / "export")
    finally:
        files.clear_faults()


def test_files_of_somebody_else(tmp_path: Path) -> None:
    for data in (b"", b"FJELD", b"something else"):
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(fjeld.NotAKeyspaceError, match="does not know"):
            fjeld.verify(tmp_path / "file")


def test_the_verb(made: tuple[bytes, str], tmp_path: Path) -> None:
    data, digest = made
    (tmp_path / "export").write_bytes(data)
    shown = CliRunner().invoke(cli, ["verify", str(tmp_path / "export")])
    assert shown.exit_code == 0
    assert "export, no damage found" in shown.output
    assert "checked 1 file," in shown.output
    assert digest in shown.output
    facts = json.loads(CliRunner().invoke(cli, ["verify", "--json", str(tmp_path / "export")]).output)
    assert (facts["ok"], facts["kind"], facts["digest"]) == (True, "export", digest)
    shown = CliRunner().invoke(cli, ["verify", "--no-scan", str(tmp_path / "export")])
    assert (shown.exit_code, digest in shown.output) == (0, False)
    (tmp_path / "damaged").write_bytes(flipped(data, frames_of(data)[1].offset + HEAD.size))
    shown = CliRunner().invoke(cli, ["verify", str(tmp_path / "damaged")])
    assert shown.exit_code == 5
    assert "problem  damaged: the payload of a frame is damaged at offset" in shown.output
    (tmp_path / "file").write_bytes(b"something else")
    assert CliRunner().invoke(cli, ["verify", str(tmp_path / "file")]).exit_code == 3
    assert frames_of(data)[-1].kind == END
