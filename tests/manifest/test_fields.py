"""The reading of JSON members: what is wrong is told by its name."""

from __future__ import annotations

import pytest

from fjeld.errors import CorruptionError
from fjeld.manifest.fields import as_list


def test_lists() -> None:
    assert as_list([], "it") == []
    assert as_list([1, 2], "it", 2) == [1, 2]
    with pytest.raises(CorruptionError, match=r"it is not a list$"):
        as_list("ab", "it")
    for value in ("ab", [1], [1, 2, 3]):
        with pytest.raises(CorruptionError, match=r"it is not a list of 2$"):
            as_list(value, "it", 2)
