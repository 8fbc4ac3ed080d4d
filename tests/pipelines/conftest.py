"""A small copy of this repository in which the real stages run."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.workspace import merged
from spixgraph.compiled import copy_compiled
from spixgraph.files import sha256_tree

REPOSITORY = Path(__file__).resolve().parents[2]

TINY: dict[str, Any] = {
    "phantom": {"n_images": 6, "shape_zyx": [1, 128, 128]},
    "superpixels": {
        "rag": {"nodes_per_megapixel": 5000.0},
        "paper": {"nodes_per_megapixel": 5000.0},
    },
    "train": {
        "threads": 1,
        "gnn": {"hidden": 16, "layers": 2, "members": 2, "changed": 1, "epochs": 4},
        "paper": {"hidden": 16, "epochs": 4},
        "mlp": {"hidden": 16, "members": 1, "changed": 0, "epochs": 4},
        "cnn": {"channels": [8, 16, 32], "patch_px": 64, "batch": 2, "epochs": 2},
        "forest": {"trees": 5},
        "boosting": {"rounds": 5},
    },
}


def run(*command: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in `cwd`; a failure shows what it printed."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"PYTHONPATH": str(cwd / "src"), "DVC_NO_ANALYTICS": "1"}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done


def copy_repository(target: Path) -> None:
    """Copy what git tracks or would track, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    copy_compiled(REPOSITORY / "src/spixgraph", target / "src/spixgraph")


def commit(workspace: Path, message: str) -> None:
    """Commit all, under a name of its own."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    run("git", "add", "-A", cwd=workspace)
    run("git", *who, "commit", "-qm", message, cwd=workspace)


def make_workspace(target: Path) -> Path:
    """Make a git repository with tiny settings, nothing run yet."""
    copy_repository(target)
    params = yaml.safe_load((target / "params.yaml").read_text())
    (target / "params.yaml").write_text(yaml.safe_dump(merged(params, TINY)))
    run("git", "init", "-q", "-b", "main", cwd=target)
    commit(target, "start")
    return target


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a workspace where nothing has run."""
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole pipeline, once for all workers of pytest-xdist, and keep the bundle's hash."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    target = shared / "reproduced"
    with (shared / "reproduced.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        if not _hash_of(target).exists():
            shutil.rmtree(target, ignore_errors=True)
            run("dvc", "repro", cwd=make_workspace(target))
            _hash_of(target).write_text(sha256_tree(target / "models/bundle"))
    return target


@pytest.fixture(scope="session")
def reproduced_sha256(reproduced: Path) -> str:
    """Hash of the bundle as the pipeline made it; later tests change the workspace."""
    return _hash_of(reproduced).read_text()


def _hash_of(workspace: Path) -> Path:
    return workspace.with_suffix(".sha256")
