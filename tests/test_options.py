"""Options are validated when they are made, and a partition's survive the manifest."""

import dataclasses

import pytest

from fjeld.errors import InvalidOptionError, UnsupportedFormatError
from fjeld.options import (
    LEVELS,
    Fifo,
    KeyspaceOptions,
    Leveled,
    PartitionOptions,
    PersistMode,
    SizeTiered,
)


def test_defaults_are_valid():
    options = KeyspaceOptions()
    assert options.durability is PersistMode.BUFFER
    assert options.journals_max_bytes >= 2 * options.journal_bytes
    assert PartitionOptions().compaction == Leveled()


def test_modes_are_ordered_by_what_they_promise():
    assert PersistMode.BUFFER < PersistMode.SYNC_DATA < PersistMode.SYNC_ALL


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (KeyspaceOptions, "cache_bytes", -1),
        (KeyspaceOptions, "memtable_bytes", 0),
        (KeyspaceOptions, "journal_bytes", 4095),
        (KeyspaceOptions, "journals_max_bytes", 32 << 20),
        (KeyspaceOptions, "max_sealed_memtables", 0),
        (KeyspaceOptions, "level0_slowdown_runs", 0),
        (KeyspaceOptions, "level0_stop_runs", 12),
        (KeyspaceOptions, "workers", 0),
        (KeyspaceOptions, "max_open_files", 1),
        (Leveled, "level0_runs", 0),
        (Leveled, "level_ratio", 1),
        (Leveled, "level1_bytes", 0),
        (Leveled, "table_bytes", 0),
        (SizeTiered, "min_runs", 1),
        (SizeTiered, "max_runs", 3),
        (SizeTiered, "size_ratio", 0.5),
        (SizeTiered, "size_ratio", float("nan")),
        (SizeTiered, "max_space_amplification", 0),
        (Fifo, "max_bytes", 0),
        (Fifo, "max_age_seconds", 0),
        (Fifo, "max_age_seconds", float("inf")),
        (PartitionOptions, "compression", ()),
        (PartitionOptions, "compression", ("snappy",)),
        (PartitionOptions, "compression", ("lz4",) * (LEVELS + 1)),
        (PartitionOptions, "block_bytes", 1),
        (PartitionOptions, "filter_bits", 33),
    ],
)
def test_a_senseless_value_is_an_error_that_names_the_option(kind, option, value):
    with pytest.raises(InvalidOptionError, match=option):
        kind(**{option: value})


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (KeyspaceOptions, "durability", 2),
        (KeyspaceOptions, "cache_bytes", 1.5),
        (KeyspaceOptions, "workers", True),
        (KeyspaceOptions, "workers", None),
        (KeyspaceOptions, "clock", 5),
        (KeyspaceOptions, "mapped_journal", 1),
        (Leveled, "level_ratio", "10"),
        (SizeTiered, "min_runs", 4.0),
        (SizeTiered, "size_ratio", True),
        (SizeTiered, "size_ratio", "2"),
        (Fifo, "max_bytes", None),
        (Fifo, "max_age_seconds", "60"),
        (PartitionOptions, "compaction", 5),
        (PartitionOptions, "compaction", "leveled"),
        (PartitionOptions, "compression", "lz4"),
        (PartitionOptions, "compression", (1,)),
        (PartitionOptions, "filter_bits", False),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_option(kind, option, value):
    with pytest.raises(TypeError, match=option):
        kind(**{option: value})


@pytest.mark.parametrize("kind", [KeyspaceOptions, Leveled, SizeTiered, Fifo, PartitionOptions])
def test_options_are_frozen_and_keyword_only(kind):
    with pytest.raises(TypeError):
        kind(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), dataclasses.fields(kind)[0].name, None)


def test_every_keyspace_option_that_is_a_number_is_validated():
    for field in dataclasses.fields(KeyspaceOptions):
        if isinstance(field.default, int) and not isinstance(field.default, bool | PersistMode):
            with pytest.raises(TypeError, match=field.name):
                KeyspaceOptions(**{field.name: "many"})


def test_the_last_codec_holds_for_deeper_levels():
    options = PartitionOptions(compression=("none", "lz4", "zstd"))
    assert [options.codec(level) for level in range(LEVELS)] == ["none", "lz4"] + ["zstd"] * 5


def test_level_targets():
    leveled = Leveled(level1_bytes=1000 << 10, level_ratio=8)
    assert [leveled.target_bytes(level) >> 10 for level in (1, 2, 3)] == [1000, 8000, 64000]


def test_json_round_trip():
    options = PartitionOptions(
        compaction=Leveled(level0_runs=7, level_ratio=5, level1_bytes=12345, table_bytes=54321),
        compression=("none", "zstd"),
        block_bytes=8192,
        filter_bits=0,
    )
    assert PartitionOptions.from_json(options.to_json()) == options


def test_options_that_an_older_version_did_not_write_have_their_defaults():
    assert PartitionOptions.from_json({}) == PartitionOptions()
    older = {"compaction": {"strategy": "leveled", "level_ratio": 4}}
    assert PartitionOptions.from_json(older) == PartitionOptions(compaction=Leveled(level_ratio=4))


@pytest.mark.parametrize(
    "value",
    [
        {"shiny": 1},
        {"compaction": {"strategy": "leveled", "shiny": 1}},
        {"compaction": {"strategy": "size_tiered", "shiny": 1}},
        {"compaction": {"strategy": "shiny"}},
    ],
)
def test_what_only_a_newer_version_can_have_written(value):
    with pytest.raises(UnsupportedFormatError, match="shiny"):
        PartitionOptions.from_json(value)


@pytest.mark.parametrize(
    "value",
    [None, [], {"compaction": None}, {"compaction": {}}, {"compression": "lz4"}, {"compression": [None]}],
)
def test_json_of_the_wrong_type(value):
    with pytest.raises(TypeError):
        PartitionOptions.from_json(value)
