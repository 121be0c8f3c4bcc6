"""The text for Prometheus, read back by a parser of our own and, where it is installed, by Prometheus' own."""

from __future__ import annotations

import re

import pytest

import fjeld
from tests.statistics.parser import parse
from tests.support import opened

NASTY = 'quote " backslash \\ end \\n ünïcode'


@pytest.fixture
def keyspace(path):
    with opened(path) as ks:
        for name in ("users", NASTY):
            partition = ks.partition(name)
            partition.insert(b"a", b"1")
            partition.insert(b"c", b"3")
            partition.flush()
            partition.get(b"a")
            partition.get(b"b")
        yield ks


def labels(**named):
    return frozenset(named.items())


def test_figures_come_through(keyspace):
    families = parse(fjeld.prometheus_text(keyspace))
    stats = keyspace.stats()
    assert families["fjeld_seqno"].samples == {labels(): 4}
    assert families["fjeld_user_bytes_total"].samples == {labels(): 8}
    assert families["fjeld_stalls_total"].samples[labels(reason="memtables")] == 0
    for name in ("users", NASTY):
        level = stats["partitions"][name]["levels"][0]
        own = labels(partition=name, level="0")
        for figure in ("tables", "bytes", "entries", "score"):
            assert families[f"fjeld_level_{figure}"].samples[own] == level[figure]
        for figure in ("lookups", "found", "filter_negatives", "filter_false_positives", "block_loads"):
            assert families[f"fjeld_level_{figure}_total"].samples[own] == level[figure]
        assert families["fjeld_flush_jobs_total"].samples[labels(partition=name)] == 1
        assert families["fjeld_partition_info"].samples[labels(partition=name, strategy="leveled")] == 1
    assert families["fjeld_level_lookups_total"].samples[labels(partition=NASTY, level="0")] == 2


def test_names_and_types(keyspace):
    families = parse(fjeld.prometheus_text(keyspace))
    assert len(families) > 40
    for name, family in families.items():
        assert re.fullmatch(r"fjeld_[a-z0-9_]+", name)
        assert (family.kind == "counter") == name.endswith("_total"), name
        assert family.help.endswith("."), name
        assert family.samples, name
        assert not re.search(r"(_ms|_us|_ns|_kib|_mib|_count)(_total)?$", name), "base units"


def test_what_is_not_known_has_no_sample(path):
    with opened(path) as ks:
        ks.partition("p")
        families = parse(fjeld.prometheus_text(ks))
        assert "fjeld_oldest_snapshot_seconds" not in families
        assert "fjeld_partition_write_amplification" not in families
        assert labels(partition="p", level="6") not in families["fjeld_level_score"].samples
        with ks.snapshot():
            assert "fjeld_oldest_snapshot_seconds" in parse(fjeld.prometheus_text(ks))


def test_no_partition(path):
    with opened(path) as ks:
        families = parse(fjeld.prometheus_text(ks))
        assert "fjeld_seqno" in families
        assert not any(name.startswith("fjeld_level_") for name in families)


def test_labels_of_the_caller(keyspace):
    given = {"keyspace": 'new\nline, "quote"', "instance_id": "7"}
    for family in parse(fjeld.prometheus_text(keyspace, labels=given)).values():
        assert all(given.items() <= set(own) for own in family.samples)


@pytest.mark.parametrize("name", ["", "7up", "with-dash", "__name", "partition", "level", "ünï"])
def test_labels_that_cannot_be(keyspace, name):
    with pytest.raises(ValueError, match="cannot be the name of a label"):
        fjeld.prometheus_text(keyspace, labels={name: "x"})


@pytest.mark.parametrize("wrong", [{"a": 1}, {1: "a"}])
def test_labels_are_text(keyspace, wrong):
    with pytest.raises(TypeError, match="str"):
        fjeld.prometheus_text(keyspace, labels=wrong)


def test_a_closed_keyspace(path):
    with opened(path) as ks:
        pass
    with pytest.raises(fjeld.ClosedError):
        fjeld.prometheus_text(ks)


def test_by_prometheus_own_parser(keyspace):
    parser = pytest.importorskip("prometheus_client.parser")
    text = fjeld.prometheus_text(keyspace, labels={"host": NASTY})
    theirs = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    ours = {
        (name, own): value for name, family in parse(text).items() for own, value in family.samples.items()
    }
    assert theirs == ours
