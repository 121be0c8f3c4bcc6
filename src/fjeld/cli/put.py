"""`fjeld put`: write an entry."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import fjeld
from fjeld.cli.opening import open_keyspace
from fjeld.cli.params import hex_option, json_option, partition_argument, path_argument, to_bytes

__all__ = ["put"]


@click.command()
@path_argument
@partition_argument
@click.argument("key")
@click.argument("value")
@hex_option
@click.option("--create", is_flag=True, help="Make the keyspace if there is none.")
@json_option
def put(path: Path, partition: str, key: str, value: str, as_hex: bool, create: bool) -> None:
    """Write VALUE under KEY and sync it. VALUE `-` is what comes on stdin.

    The partition is made if there is none.
    """
    key_bytes = to_bytes(key, as_hex=as_hex)
    value_bytes = sys.stdin.buffer.read() if value == "-" else to_bytes(value, as_hex=as_hex)
    with open_keyspace(path, create=create) as keyspace:
        keyspace.partition(partition).insert(key_bytes, value_bytes)
        keyspace.persist(fjeld.PersistMode.SYNC_DATA)
