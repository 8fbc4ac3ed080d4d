"""Machine code of the kernels, which numba keeps in `__pycache__` beside their source.

A copy of the source alone would compile everything again, some 25 s of processor time.
"""

import shutil
from pathlib import Path


def copy_compiled(package: Path, copy: Path) -> int:
    """Bring the machine code of a package to a copy of its source.

    Numba takes it where the version of numba, the content of the source file and the type of the
    CPU are the same, and compiles otherwise; so what does not fit does no harm.

    Parameters
    ----------
    package, copy : Path
        Two folders of this package. Kernels that have machine code in `copy` keep it.

    Returns
    -------
    n_kernels : int
        Copied; 0 where machine code is kept elsewhere, as by ``NUMBA_CACHE_DIR``.
    """
    copied = 0
    for index in sorted(package.rglob("__pycache__/*.nbi")):
        target = copy / index.relative_to(package)
        source = target.parents[1] / f"{index.name.partition('.')[0]}.py"
        if target.exists() or not source.is_file():
            continue
        target.parent.mkdir(exist_ok=True)
        for code in index.parent.glob(f"{index.stem}.*.nbc"):  # before the index that names it
            shutil.copy2(code, target.parent / code.name)
        shutil.copy2(index, target)
        copied += 1
    return copied
