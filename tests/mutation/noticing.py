"""Which tests are to notice the mutants of a file: few, the fastest first, so that a mutant that lives costs seconds."""

from __future__ import annotations

from tests.mutation.harness import ROOT

_BACKUP = "tests/backup/test_"
_FAULTS = "tests/fault/test_every_fault.py::test_every_fault"
_STATES = "tests/crash/test_states.py::test_what_a_power_cut_leaves"


def _backup(*names: str) -> list[str]:
    return [f"{_BACKUP}{name}.py" for name in names]


MAKING = [
    *_backup("trace", "staging", "verified", "purge_and_open", "variants", "checkpoint"),
    "tests/interleaving/test_variant_interleavings.py",
    "tests/interleaving/test_backup_interleavings.py",
]
RESTORE = [
    *_backup("restore"),
    "tests/fault/test_copy_faults.py",
    f"{_FAULTS}[restore-EIO]",
    "tests/crash/test_restore_cuts.py",
]
FOLDER = [
    *_backup("retention", "checkpoint_folder", "offline"),
    "tests/cli/test_checkpoint_folder.py",
    f"{_FAULTS}[take-EIO]",
    f"{_FAULTS}[expire-EIO]",
    f"{_STATES}[folder of checkpoints]",
]
VERIFY = [
    *_backup("verify", "verified"),
    "tests/cli/test_verbs.py",
    "tests/readonly/test_interleavings.py",
    f"{_FAULTS}[verify-EIO]",
]

BACKUP = {
    "checkpoint": MAKING,
    "checkpoint_file": _backup("checkpoint_file", "inspect", "verify", "checkpoint"),
    "checkpoint_folder": FOLDER,
    "closed_keyspace": _backup("offline", "restore", "verify"),
    "crew": _backup("crew", "verified", "variants", "checkpoint", "restore"),
    "documents": MAKING,
    "file_check": VERIFY,
    "file_checks": VERIFY,
    "file_kinds": ["tests/export/test_inspecting.py", *_backup("inspect")],
    "folder_space": FOLDER,
    "info": [*MAKING, *_backup("inspect"), *FOLDER],
    "inspect": [*_backup("inspect", "restore"), "tests/export/test_inspecting.py", "tests/cli/test_verbs.py"],
    "leftovers": FOLDER,
    "linker": [*MAKING, "tests/fault/test_copy_faults.py", *_backup("restore")],
    "making": MAKING,
    "metadata": MAKING,
    "progress": [*_backup("crew"), *MAKING, "tests/cli/test_verbs.py"],
    "read_ahead": VERIFY,
    "removal": FOLDER,
    "report": VERIFY,
    "request": [*MAKING, *_backup("together", "offline"), "tests/test_bad_input.py"],
    "restore": RESTORE,
    "restore_staging": RESTORE,
    "retention": FOLDER,
    "selection": MAKING,
    "space": [*MAKING, *RESTORE, "tests/test_space.py"],
    "staging": [*MAKING, *RESTORE],
    "swap": RESTORE,
    "targets": [*MAKING, *RESTORE, *_backup("places")],
    "together": _backup("together"),
    "verify": VERIFY,
}

MANIFEST_ROOM = [
    "tests/manifest",
    "tests/laws/test_law3_edits.py",
    "tests/corruption/test_open_corrupt.py",
    "tests/test_kv_separation.py",
    "tests/test_opening.py",
    f"{_STATES}[catalog]",
]

TESTS = {
    "manifest": MANIFEST_ROOM,
    "journal": ["tests/journal", "tests/crash/test_torn.py", f"{_STATES}[writes]", f"{_STATES}[reopening]"],
    "backup": ["tests/backup", "tests/test_bad_input.py", "tests/interleaving/test_backup_interleavings.py"],
}
"""Of each room, for files of which nothing more is known."""


def tests_of(file: str) -> list[str]:
    """Those of its name first."""
    room, name = file.removesuffix(".py").split("/")
    chosen = BACKUP.get(name, TESTS["backup"]) if room == "backup" else TESTS[room]
    own = f"tests/{room}/test_{name}.py"
    return list(dict.fromkeys([own, *chosen] if (ROOT / own).exists() else chosen))
