"""Builds the kernel: each module in src/fjeld/kernel with a .pxd beside it is compiled (pure Python mode).

Environment:
  FJELD_CHECKED=1   the checked build: bounds and None checks, AddressSanitizer and UBSan, hardly optimised
  FJELD_ONLY=a,b    compile these kernel modules only (for work on one of them)
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CHECKED = os.environ.get("FJELD_CHECKED") == "1"
ONLY = {name for name in os.environ.get("FJELD_ONLY", "").split(",") if name}
KERNEL = Path("src/fjeld/kernel")
CORES = os.cpu_count() or 1

# Run-time checks are off in the fast build, on in the checked one: here and nowhere else.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "nonecheck": False,  # it needs the GIL, which the loops of the kernel do not have; the sanitizer sees what it would
    "cdivision": True,
    "binding": False,
    "embedsignature": True,
    "freethreading_compatible": True,
}

COMPILE = ["-std=gnu11", "-Wno-unused-function", "-Wno-unreachable-code"]
LINK = []
if CHECKED:
    # A copy of no bytes from nowhere (the value of a tombstone) is harmless, and defined since C2y.
    sanitize = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-sanitize=nonnull-attribute",
        "-fno-omit-frame-pointer",
    ]
    COMPILE += ["-O1", "-g", *sanitize]
    LINK += sanitize
else:
    COMPILE += ["-O3", "-g1", "-fno-semantic-interposition"]

# The two builds never share a folder: an object of one in the other would go unnoticed.
BUILD = "build/checked" if CHECKED else "build"


def extensions() -> list[Extension]:
    found = []
    for source in sorted(KERNEL.glob("*.py")):
        if source.with_suffix(".pxd").exists() and (not ONLY or source.stem in ONLY):
            found.append(
                Extension(
                    f"fjeld.kernel.{source.stem}",
                    [str(source)],
                    include_dirs=[str(KERNEL)],
                    libraries=["lz4", "zstd"],
                    depends=["setup.py", *map(str, sorted(KERNEL.glob("*.h")))],  # other flags: other objects
                    extra_compile_args=COMPILE,
                    extra_link_args=LINK,
                )
            )
    return found


setup(
    ext_modules=cythonize(
        extensions(),
        include_path=["src"],
        build_dir=f"{BUILD}/cython",
        compiler_directives=DIRECTIVES,
        nthreads=CORES,
    ),
    options={"build": {"build_base": BUILD}, "build_ext": {"parallel": CORES}},
)
