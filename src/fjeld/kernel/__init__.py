"""The compiled kernel: moves bytes, has no policy, lets go of the GIL for whatever may block or take long.

Its modules are Cython in pure Python mode. They do not run uncompiled; without a build that is said here.
"""

import importlib.machinery
import os

__all__: list[str] = []


def _is_built(folder: str) -> bool:
    """Whether the folder holds modules that this interpreter can load."""
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    return any(name.endswith(suffixes) for name in os.listdir(folder))


if not _is_built(os.path.dirname(os.path.abspath(__file__))):
    raise ImportError(
        "the compiled kernel of fjeld is missing for this interpreter: run `./run setup` in the checkout, "
        "or `pip install .` (needs gcc, liblz4-dev, libzstd-dev and libxxhash-dev)",
        name=__name__,
    )
