"""The rules of the house, checked: layers, sizes, faces of the kernel, forbidden calls."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fjeld"
KERNEL = SOURCE / "kernel"
CLI = SOURCE / "cli"

FILE_MAX_LINES = 500
FUNCTION_MAX_LINES = 70

# Clock and randomness are handed in; the engine falls back to the system's where none is given.
CLOCK_CALLS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}
RANDOMNESS = {"random", "secrets"}
CLOCK_ALLOWED = {
    SOURCE / "options.py",
    SOURCE / "engine.py",
    SOURCE / "filters.py",
    SOURCE / "transaction" / "backoff.py",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def kernel_modules() -> list[Path]:
    return [path for path in sorted(KERNEL.glob("*.py")) if path.name != "__init__.py"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def long_functions(text: str, limit: int = FUNCTION_MAX_LINES) -> list[str]:
    """Names and lengths of functions of more lines than allowed, docstrings not counted."""
    found = []
    for function in functions(ast.parse(text)):
        assert function.end_lineno is not None
        lines = function.end_lineno - function.lineno + 1
        first = function.body[0]
        if ast.get_docstring(function) is not None:
            assert first.end_lineno is not None
            lines -= first.end_lineno - first.lineno + 1
        if lines > limit:
            found.append(f"{function.name}: {lines} lines")
    return found


def clock_calls(text: str) -> list[str]:
    """Uses of the wall clock and of randomness."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            guilty = ast.unparse(node) in CLOCK_CALLS
        elif isinstance(node, ast.Import):
            guilty = not RANDOMNESS.isdisjoint(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported = {f"{node.module}.{alias.name}" for alias in node.names}
            guilty = node.module in RANDOMNESS or not CLOCK_CALLS.isdisjoint(imported)
        else:
            continue
        if guilty:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def print_calls(text: str) -> list[str]:
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return [f"line {call.lineno}" for call in calls if ast.unparse(call.func) == "print"]


# ---------------------------------------------------------------- the rules


def test_imports_run_downwards_only():
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed in this environment")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_small():
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert {name: lines for name, lines in sizes.items() if lines > FILE_MAX_LINES} == {}


def test_functions_fit_a_screen():
    found = {name_of(path): long_functions(path.read_text("utf-8")) for path in modules()}
    assert {name: which for name, which in found.items() if which} == {}


def test_each_module_says_what_it_is():
    missing = [
        name_of(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert missing == []


def test_each_kernel_module_has_a_declaration_and_a_face():
    missing = [
        name_of(path.with_suffix(suffix))
        for path in kernel_modules()
        for suffix in (".pxd", ".pyi")
        if not path.with_suffix(suffix).exists()
    ]
    assert missing == []


def test_each_kernel_declaration_has_a_module_or_declares_c_only():
    """A .pxd without a .py describes C code that a header beside it holds."""
    lonely = [path for path in KERNEL.glob("*.pxd") if not path.with_suffix(".py").exists()]
    assert [name_of(path) for path in lonely if "cdef extern" not in path.read_text("utf-8")] == []


def test_nothing_is_left_for_later():
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error")
    files = [*modules(), *SOURCE.rglob("*.pyi"), *SOURCE.rglob("*.pxd"), *SOURCE.rglob("*.h")]
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if any(mark in line for mark in marks)
    ]
    assert found == []


def test_the_engine_prints_nothing():
    engine = [path for path in modules() if not path.is_relative_to(CLI)]
    found = {name_of(path): print_calls(path.read_text("utf-8")) for path in engine}
    assert {name: which for name, which in found.items() if which} == {}


def test_clock_and_randomness_are_handed_in():
    engine = [path for path in modules() if not path.is_relative_to(CLI) and path not in CLOCK_ALLOWED]
    found = {name_of(path): clock_calls(path.read_text("utf-8")) for path in engine}
    assert {name: which for name, which in found.items() if which} == {}


def test_the_package_is_marked_as_typed():
    assert (SOURCE / "py.typed").exists()


def test_the_version_is_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" not in project
    assert "version" in project["dynamic"]
    assert [name_of(path) for path in modules() if "__version__ =" in path.read_text("utf-8")] == [
        "src/fjeld/__init__.py"
    ]


def test_each_public_name_says_what_it_does():
    import fjeld

    public = {name: getattr(fjeld, name) for name in fjeld.__all__}
    silent = [
        name
        for name, value in public.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__
    ]
    assert silent == []


def test_a_missing_build_is_said_plainly(tmp_path):
    """The sources without their compiled modules: the import names the remedy."""
    copy = tmp_path / "fjeld"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fjeld.kernel"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the compiled kernel of fjeld is missing" in done.stderr
    assert "pip install ." in done.stderr


# ---------------------------------------------------------------- the rules can fail


def test_a_long_function_is_found():
    body = "\n".join(f"    x = {number}" for number in range(70))
    assert long_functions(f"def f():\n{body}\n") == ["f: 71 lines"]
    assert long_functions(f'def f():\n    """What it is for."""\n{body[: body.rindex(chr(10))]}\n') == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\nt = time.time()",
        "import random",
        "from random import choice",
        "from time import time_ns",
    ],
)
def test_a_clock_is_found(text):
    assert len(clock_calls(text)) == 1


def test_a_monotonic_clock_is_allowed():
    assert clock_calls("import time\nstart = time.perf_counter_ns()") == []


def test_a_print_is_found():
    assert print_calls("def f():\n    print('x')\n    pprint(1)") == ["line 2"]
