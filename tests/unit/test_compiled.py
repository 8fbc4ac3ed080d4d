import os
import subprocess
import sys
from pathlib import Path

from spixgraph.compiled import copy_compiled

KERNEL = """
from numba import njit

@njit(cache=True)
def twice(x):
    return 2 * x
"""
CALL = "from package.kernels import twice; twice(1); print(sum(twice.stats.cache_hits.values()))"


def package_in(folder: Path, text: str = KERNEL) -> Path:
    package = folder / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "kernels.py").write_text(text)
    return package


def cache_hits(package: Path) -> int:
    """Call the kernel in a fresh process; 0 where it was compiled."""
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", CALL], cwd=package.parent, env={**env, "PYTHONPATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_a_copy_starts_with_the_machine_code_and_another_source_is_compiled(tmp_path):
    package = package_in(tmp_path / "a")
    copy = package_in(tmp_path / "b")
    changed = package_in(tmp_path / "c", KERNEL.replace("2 * x", "x + x"))
    assert cache_hits(package) == 0
    assert copy_compiled(package, copy) == copy_compiled(package, changed) == 1
    assert cache_hits(copy) == 1
    assert cache_hits(changed) == 0


def test_what_a_copy_has_stays_and_what_it_lacks_the_source_of_is_left_out(tmp_path):
    package = package_in(tmp_path / "a")
    cache_hits(package)
    (index,) = (package / "__pycache__").glob("*.nbi")
    (index.parent / "gone.twice-5.py311.nbi").touch()
    copy = package_in(tmp_path / "b")
    own = copy / "__pycache__" / index.name
    own.parent.mkdir()
    own.write_text("own")
    assert copy_compiled(package, copy) == 0
    assert [p.name for p in own.parent.iterdir()] == [index.name]
    assert own.read_text() == "own"


def test_nothing_is_copied_where_the_machine_code_is_kept_elsewhere(tmp_path):
    assert copy_compiled(package_in(tmp_path / "a"), package_in(tmp_path / "b")) == 0
