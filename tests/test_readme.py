"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_first_example_runs(tmp_path, monkeypatch):
    example = re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "README.md", "exec"), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "monday"]


def test_the_second_example_runs(tmp_path, monkeypatch):
    example = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    found = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in found if "replaced" not in name] == ["backups", "shop"]


def test_the_commands_are_those_of_run():
    named = set(re.findall(r"^\./run (\w+)", README, re.MULTILINE))
    assert {"demo", "test"} <= named
    usage = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True).stdout
    assert named <= set(re.findall(r"^ *\./run (\w+)", usage, re.MULTILINE))


def test_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    assert all((ROOT / target).exists() for target in targets)
