"""Mutants of which no test should die, and why: what a mistake there changes, nobody is promised.

By file, rule and the first line of what is changed. `./run evidence mutation` lists these apart from the others.
"""

from __future__ import annotations

MAY_LIVE: dict[tuple[str, str, str], str] = {}
