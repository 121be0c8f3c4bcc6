"""Every engine that is installed does what is asked of it, so that figures compare the same work."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from benchmarks.peers import ENGINES, engine_named, is_installed

PAIRS = [(b"key %04d" % number, b"value %d" % number) for number in range(500)]


@pytest.fixture(params=ENGINES)
def kind(request):
    if not is_installed(ENGINES[request.param]):
        pytest.skip(f"{request.param} is not installed")
    return ENGINES[request.param]


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_written_is_read(kind, tmp_path, durable):
    engine = kind()
    engine.open(tmp_path / "store", durable=durable)
    for key, value in PAIRS[:20]:
        engine.insert(key, value)
    engine.insert_many(PAIRS[20:])
    assert [engine.get(key) for key, _ in PAIRS] == [value for _, value in PAIRS]
    assert engine.get(b"key") is None
    engine.insert(*PAIRS[0])
    assert list(islice(engine.scan(b"key 0100"), 50)) == PAIRS[100:150]
    assert list(engine.scan(b"key 0490x")) == PAIRS[491:]
    found = engine.get_many([key for key, _ in PAIRS[:3]])
    values = [one[1] if isinstance(one, tuple) else one for one in found]  # some give pairs
    assert values == [value for _, value in PAIRS[:3]]
    engine.compact()
    assert engine.get(PAIRS[7][0]) == PAIRS[7][1]
    engine.close()


def test_what_was_closed_is_opened_again(kind, tmp_path):
    if kind.name == "pyfjall":
        pytest.skip("it has no close, and keeps its lock until it is collected")
    for number in range(2):
        engine = kind()
        engine.open(tmp_path / "store")
        assert engine.get(b"a") == (None if number == 0 else b"1")
        engine.insert(b"a", b"1")
        engine.close()


def test_threads_write_through_sessions(kind, tmp_path):
    engine = kind()
    engine.open(tmp_path / "store", durable=True)

    def write(session, pairs):
        for key, value in pairs:
            session.insert(key, value)

    sessions = [engine, engine.session(), engine.session()]
    threads = [
        threading.Thread(target=write, args=[session, PAIRS[number:90:3]])
        for number, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(engine.scan(b"")) == PAIRS[:90]
    for session in {id(session): session for session in sessions}.values():
        session.close()


def test_checkpoints_of_small_tables(kind, tmp_path):
    if not kind.has_checkpoint:
        with pytest.raises(ValueError, match="no checkpoint"):
            kind().checkpoint(tmp_path / "copy")
        return
    engine = kind()
    engine.open(tmp_path / "store", table_bytes=1 << 10)
    engine.insert_many([(key, value * 20) for key, value in PAIRS])
    engine.compact()
    engine.checkpoint(tmp_path / "copy")
    engine.insert(b"later", b"")
    engine.close()
    tables = list((tmp_path / "store").rglob("*.sst"))
    assert len(tables) > 3
    copy = kind()
    copy.open(tmp_path / "copy", table_bytes=1 << 10)
    assert copy.get(PAIRS[9][0]) == PAIRS[9][1] * 20
    assert copy.get(b"later") is None
    copy.close()


def test_an_engine_by_its_name():
    assert engine_named("fjeld") is ENGINES["fjeld"]
    assert engine_named("tests.benchmarks.fake_engine:Fake").name == "fake"
