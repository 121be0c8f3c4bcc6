"""Keyspaces with transactions, small, of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import fjeld
from tests.small import small_options
from tests.transaction.kinds import KINDS, AnyTxKeyspace


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ks(kind: str, path: Path) -> Iterator[AnyTxKeyspace]:
    """Of both kinds."""
    with KINDS[kind](path, options=small_options()) as keyspace:
        yield keyspace


@pytest.fixture
def single(path: Path) -> Iterator[fjeld.TxKeyspace]:
    with fjeld.open_tx(path, options=small_options()) as keyspace:
        yield keyspace


@pytest.fixture
def optimistic(path: Path) -> Iterator[fjeld.OptimisticTxKeyspace]:
    with fjeld.open_optimistic_tx(path, options=small_options()) as keyspace:
        yield keyspace
