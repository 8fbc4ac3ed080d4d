"""The one decorator of the compiled kernels.

Compiled code is cached beside the package, or in the user's cache folder where the package is
read-only, or in ``NUMBA_CACHE_DIR`` if that is set. Where none of them can be written, kernels are
compiled in every process. Numba looks at the file of a kernel alone to see whether its cache is
stale; therefore a kernel calls only kernels of its own file.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

log = logging.getLogger(__name__)

# forceinline: what a kernel calls becomes a part of it; calls took a third of the refinement
_OPTIONS = {"nogil": True, "error_model": "numpy", "forceinline": True}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call, without the GIL, and keep the machine code on disk."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:  # numba's "no locator available": nowhere to write
        log.info("compiled code is not kept: %s; set NUMBA_CACHE_DIR to a folder", error)
        return numba.njit(**_OPTIONS)(function)


def announce(function: Any) -> None:
    """Log that the first run compiles, if the kernel `function` has not been kept yet."""
    folder = Path(function.stats.cache_path or "")
    name = function.py_func.__name__
    if not function.signatures and not any(folder.glob(f"*.{name}-*.nbi")):
        log.info("compiling the superpixel kernels, once; this takes some ten seconds")
