"""The verbs on a real keyspace: what they write, print and exit with."""

from __future__ import annotations

import errno
import json
import os
import signal

import pytest
from click.testing import CliRunner

import fjeld
from fjeld.cli.backup import cancel_on_interrupt
from fjeld.cli.main import cli
from tests.support import settle, tables_of, tree_of

ENTRIES = {b"alice": b"1", b"albert": b"2", b"bob": b"\xff\x00", b"k\xff": b"raw"}


@pytest.fixture
def path(tmp_path):
    with fjeld.open(tmp_path / "data") as keyspace:
        users = keyspace.partition("users")
        for key, value in ENTRIES.items():
            users.insert(key, value)
        keyspace.partition("empty")
    return tmp_path / "data"


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(
        cli, [str(argument) for argument in arguments], input=stdin, catch_exceptions=False
    )
    assert result.exit_code == code, result.output
    return result


def test_get(path):
    assert run("get", path, "users", "alice").stdout_bytes == b"1"
    assert run("get", path, "users", "bob").stdout_bytes == b"\xff\x00", "byte for byte"
    assert run("get", path, "users", "6bff", "--hex").stdout == b"raw".hex() + "\n"
    assert json.loads(run("get", path, "users", "alice", "--json").stdout) == "1"
    assert json.loads(run("get", path, "users", "bob", "--json").stdout) == {"hex": "ff00"}


def test_get_of_what_is_not_there(path):
    assert run("get", path, "users", "eve", code=1).output == ""
    assert run("--json", "get", path, "users", "eve", code=1).stdout == "null\n"
    assert "there is no partition 'nope'" in run("get", path, "nope", "eve", code=2).stderr
    with fjeld.open(path) as keyspace:
        assert "nope" not in keyspace.partitions(), "reading makes no partition"


def test_put(path):
    run("put", path, "users", "carol", "3")
    run("put", path, "fresh", "00ff", "0102", "--hex")
    run("put", path, "users", "long", "-", stdin=b"from\x00stdin")
    with fjeld.open(path) as keyspace:
        users = keyspace.partition("users")
        assert users.get(b"carol") == b"3"
        assert users.get(b"long") == b"from\x00stdin"
        assert keyspace.partition("fresh").get(b"\x00\xff") == b"\x01\x02"


def test_put_makes_a_keyspace_only_if_told_to(tmp_path):
    run("put", tmp_path / "new", "p", "k", "v", code=3)
    assert not (tmp_path / "new").exists()
    run("put", tmp_path / "new", "p", "k", "v", "--create")
    assert run("get", tmp_path / "new", "p", "k").stdout == "v"


def keys(*arguments):
    return run("scan", *arguments, "--keys").stdout.splitlines()


def test_scan(path):
    assert run("scan", path, "users").stdout == "albert\t2\nalice\t1\nbob\t\\xff\\x00\nk\\xff\traw\n"
    assert keys(path, "users", "--prefix", "al") == ["albert", "alice"]
    assert keys(path, "users", "--prefix", "al", "--reverse") == ["alice", "albert"]
    assert keys(path, "users", "--start", "alice", "--stop", "k") == ["alice", "bob"]
    assert keys(path, "users", "--limit", "1") == ["albert"]
    assert keys(path, "users", "--limit", "0") == []
    assert keys(path, "users", "--reverse", "--limit", "1", "--hex") == ["6bff"]
    assert keys(path, "users", "--start", "6b", "--hex") == ["6bff"]
    assert keys(path, "empty") == []
    assert (
        "--prefix goes without" in run("scan", path, "users", "--prefix", "a", "--start", "b", code=2).stderr
    )


def test_scan_for_machines(path):
    lines = run("scan", path, "users", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"key": "albert", "value": "2"},
        {"key": "alice", "value": "1"},
        {"key": "bob", "value": {"hex": "ff00"}},
        {"key": {"hex": "6bff"}, "value": "raw"},
    ]
    only = run("scan", path, "users", "--json", "--hex", "--keys", "--prefix", "6b").stdout
    assert json.loads(only) == {"key": "6bff"}


def test_ls(path):
    assert run("ls", path).stdout.split() == ["empty", "users"]
    assert run("ls", "-l", path).stdout.split() == ["0", "empty", "4", "users"]
    assert json.loads(run("ls", path, "--json").stdout) == ["empty", "users"]
    assert json.loads(run("ls", path, "--json", "--long").stdout) == {"empty": 0, "users": 4}


def test_info(path):
    document = json.loads(run("info", path, "--json").stdout)
    with fjeld.open(path) as keyspace:
        assert document["id"] == str(keyspace.id)
    assert document["checkpoint"] is None
    assert set(document["partitions"]) == {"empty", "users"}
    assert document["id"] in run("info", path).stdout


def test_backup(path, tmp_path):
    target = tmp_path / "monday"
    document = json.loads(run("backup", path, target, "--json", "--metadata", '{"why": "upgrade"}').stdout)
    assert document["metadata"] == {"why": "upgrade"}
    assert document["copied_bytes"] == 0
    assert run("get", target, "users", "alice").stdout == "1"
    lineage = json.loads(run("info", target, "--json").stdout)["checkpoint"]
    assert lineage["parent"]["id"] == json.loads(run("info", path, "--json").stdout)["id"]
    assert lineage["parent"]["id"] in run("info", target).stdout


def test_backup_says_what_it_did(path, tmp_path):
    first, second = run("backup", path, tmp_path / "a", "--flush").stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'a'}: seqno ")
    assert "linked" in first
    assert "writers waited" in second
    copied = json.loads(run("backup", path, tmp_path / "b", "--link", "never", "--json").stdout)
    assert copied["linked_bytes"] == 0
    assert copied["copied_bytes"] + copied["reflinked_bytes"] > 0


def test_backup_of_a_part(path, tmp_path):
    def content(folder):
        with fjeld.open(folder) as keyspace:
            return {name: list(keyspace.partition(name)) for name in keyspace.partitions()}

    some = ("--partition", "users", "--from", "alice", "--to", "k", "--verify", "--json")
    document = json.loads(run("backup", path, tmp_path / "a", *some).stdout)
    assert (document["partitions"], document["chosen"]) == (["users"], ["users"])
    assert document["key_range"] == ["alice", "k"]
    assert content(tmp_path / "a") == {"users": [b"alice", b"bob"]}
    first, _ = run(
        "backup", path, tmp_path / "b", "--to", b"alice".hex(), "--hex", "--compact", "--copy"
    ).stdout.splitlines()
    assert "written" in first
    assert content(tmp_path / "b") == {"users": [b"albert"], "empty": []}
    assert "'nope'" in run("backup", path, tmp_path / "c", "--partition", "nope", code=2).stderr
    run("backup", path, tmp_path / "c", "--from", "b", "--to", "a", code=2)
    run("backup", path, tmp_path / "c", "--from", "x", "--hex", code=2)
    assert not (tmp_path / "c").exists()


def test_backup_offline(path, tmp_path):
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    run("backup", path, tmp_path / "a", "--offline", "--verify")
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert run("digest", tmp_path / "a").stdout == run("digest", path).stdout
    run("backup", path, tmp_path / "b", "--offline", "--flush", code=2)
    run("backup", tmp_path / "nothing", tmp_path / "b", "--offline", code=3)


def test_backup_of_what_another_has_open(path, tmp_path):
    with fjeld.open(path):
        for how in ([], ["--offline"]):
            told = run("backup", path, tmp_path / "a", *how, code=4).stderr
            assert "take the backup there" in told
    assert not (tmp_path / "a").exists()


def test_backup_of_a_folder_that_cannot_be_written_to(path, tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "no", str(path))

    digest = run("digest", path).stdout
    with monkeypatch.context() as patch:
        patch.setattr("fjeld.cli.opening.fjeld.open", refuse)
        patch.setattr(os, "access", lambda _path, mode, **_: mode != os.W_OK)
        run("backup", path, tmp_path / "a")
        run("backup", path, tmp_path / "b", "--flush", code=6)
    assert run("digest", tmp_path / "a").stdout == digest


@pytest.mark.parametrize("metadata", ["{", "[1]", '"text"'])
def test_backup_metadata_is_an_object(path, tmp_path, metadata):
    run("backup", path, tmp_path / "a", "--metadata", metadata, code=2)
    assert not (tmp_path / "a").exists()


def test_backup_refuses_a_target_that_exists(path, tmp_path):
    (tmp_path / "there").mkdir()
    assert "there" in run("backup", path, tmp_path / "there", code=6).stderr
    assert list((tmp_path / "there").iterdir()) == []


def test_an_interrupted_backup_is_cancelled(path, tmp_path, monkeypatch):
    def interrupted(original):
        def backup_to(self, target, **options):
            signal.raise_signal(signal.SIGINT)
            return original(self, target, **options)

        return backup_to

    monkeypatch.setattr(fjeld.Keyspace, "backup_to", interrupted(fjeld.Keyspace.backup_to))
    run("backup", path, tmp_path / "a", code=7)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data"]


def test_the_handler_of_interrupts_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with cancel_on_interrupt() as cancel:
        assert not cancel.is_set()
        signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
    assert signal.getsignal(signal.SIGINT) is before


def test_compact(path):
    before = run("digest", path).stdout
    run("compact", path)
    run("compact", path, "users")
    run("compact", path, "nope", code=2)
    assert run("digest", path).stdout == before


def test_digest(path, tmp_path):
    before = run("digest", path).stdout
    run("backup", path, tmp_path / "copy")
    assert run("digest", tmp_path / "copy").stdout == before
    run("put", path, "users", "dave", "4")
    document = json.loads(run("digest", path, "--json").stdout)
    assert document["digest"] != before.strip()
    assert document["seqno"] > 0


@pytest.mark.parametrize("verb", ["info", "ls", "stats", "digest", "compact"])
def test_what_is_no_keyspace(verb, tmp_path):
    (tmp_path / "folder").mkdir()
    run(verb, tmp_path / "nothing", code=3)
    run(verb, tmp_path / "folder", code=3)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_keyspace_that_is_open_elsewhere(path):
    with fjeld.open(path):
        facts = json.loads(run("compact", path, "--json", code=4).stderr)
    assert facts["error"] == "LockedError"


def test_reading_verbs_work_on_a_keyspace_that_is_open_elsewhere(path):
    with fjeld.open(path) as keyspace:
        keyspace.partition("users")[b"carol"] = b"3"
        settle(keyspace)  # the manifest before is deleted by then
        before = sorted(os.listdir(path))
        assert run("get", path, "users", "carol").stdout == "3"
        assert "carol\t3" in run("scan", path, "users").stdout
        assert run("ls", "-l", path).stdout.split() == ["0", "empty", "5", "users"]
        assert run("digest", path).stdout.strip() == keyspace.digest()
        assert json.loads(run("stats", path, "--json").stdout)["seqno"] == keyspace.seqno
        assert "fjeld_" in run("stats", path, "--prometheus").stdout
        assert json.loads(run("info", path, "--json").stdout)["in_use"] is True
        assert "open for writing" in run("info", path).stdout
        assert json.loads(run("verify", path, "--json").stdout)["digest"] == keyspace.digest()
        assert sorted(os.listdir(path)) == before


def test_reading_verbs_leave_a_checkpoint_as_it_is(path, tmp_path):
    run("backup", path, tmp_path / "copy")
    before = tree_of(tmp_path / "copy")
    for verb in ("info", "ls", "digest", "stats", "verify"):
        run(verb, tmp_path / "copy")
    assert tree_of(tmp_path / "copy") == before


def test_verify(path):
    report = json.loads(run("verify", path, "--json").stdout)
    assert report["ok"] is True
    assert report["entries"] == len(ENTRIES)
    assert report["problems"] == []
    text = run("verify", path).stdout
    assert "no damage found" in text
    assert report["digest"] in text
    assert "digest" not in run("verify", path, "--no-scan").stdout


def test_verify_lists_what_is_damaged(path):
    table = tables_of(path)[0]
    data = table.read_bytes()
    table.chmod(0o644)
    table.write_bytes(data[:3] + bytes([data[3] ^ 1]) + data[4:])
    (path / "notes.txt").write_text("mine")
    report = json.loads(run("verify", path, "--json", code=5).stdout)
    assert report["ok"] is False
    assert report["problems"] == [
        {
            "path": f"tables/{table.name}",
            "offset": 0,
            "what": "the checksum of a block does not match",
        }
    ]
    text = run("verify", path, code=5).stdout
    assert f"problem  tables/{table.name}: the checksum of a block does not match at offset 0" in text
    assert "left over  notes.txt" in text


def test_verify_of_something_else(tmp_path):
    run("verify", tmp_path, code=3)
    run("info", tmp_path, code=3)
    (tmp_path / "file").write_bytes(b"some text")
    assert "a file that Fjeld does not know" in run("info", tmp_path / "file", code=3).stderr


def test_help_names_every_verb():
    text = run("--help").stdout
    verbs = (
        "info",
        "ls",
        "get",
        "put",
        "scan",
        "backup",
        "verify",
        "compact",
        "stats",
        "digest",
        "bench",
        "demo",
    )
    assert all(f"\n  {verb} " in text for verb in verbs)
    assert "Exit codes" in text
    for verb in verbs:
        assert "--json" in run(verb, "--help").stdout
