"""Names of files and their numbers."""

import pytest

from fjeld.manifest import names

PAIRS = [
    (names.table_name, names.number_of_table),
    (names.journal_name, names.number_of_journal),
    (names.manifest_name, names.number_of_manifest),
    (names.current_staging_name, names.number_of_current_staging),
]


@pytest.mark.parametrize(("name_of", "number_of"), PAIRS)
@pytest.mark.parametrize("number", [1, 34, 999_999, 1_000_000, names.MAX_FILE_NUMBER])
def test_round_trip(name_of, number_of, number):
    assert number_of(name_of(number)) == number


def test_as_the_format_page_has_them():
    assert names.table_path(34) == "tables/000000000034.sst"
    assert names.journal_path(12) == "journals/000000000012.jnl"
    assert names.manifest_name(7) == "MANIFEST-000007"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".sst",
        "34.sst",
        "0000000000034.sst",
        "000000000000.sst",
        "000000000034",
        "000000000034.sst.tmp",
        "-00000000034.sst",
        "٠٠٠٠٠٠٠٠٠٠٣٤.sst",
        "000000000034.jnl\n",
        "MANIFEST-",
        "MANIFEST-7",
        "MANIFEST-0000007",
        "MANIFEST-000000",
        "CURRENT",
        "CURRENT.tmp",
        "CURRENT.07.tmp",
        "x000000000034.sst",
    ],
)
def test_other_names_are_somebody_elses(name):
    assert [number_of(name) for _, number_of in PAIRS] == [None] * 4
