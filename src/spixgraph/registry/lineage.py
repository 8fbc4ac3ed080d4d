"""Where a bundle comes from, as the folder that made it tells: git, DVC, MLflow."""

import hashlib
import json
import logging
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from spixgraph.files import read_json

log = logging.getLogger(__name__)

_STATE = ("dvc.lock", "dvc.yaml", "params.yaml")
_DATA_STAGES = ("prepare",)


def lineage_of(bundle: Path, workspace: Path) -> dict[str, Any]:
    """Collect what leads back to a bundle.

    Parameters
    ----------
    bundle : Path
        The folder.
    workspace : Path
        Where it was made; `dvc.lock`, git and `build/costs` are looked for here.

    Returns
    -------
    dict
        ``git_revision`` and ``git_clean``; and if `dvc.lock` knows these very bytes, ``data``,
        ``graphs``, ``checkpoints`` (path to DVC hash), ``targets`` (what DVC can check out),
        ``params`` and the training ``run_id``. What is not known is left out.
    """
    found: dict[str, Any] = {}
    if (revision := _git(workspace, "rev-parse", "HEAD")) is not None:
        found["git_revision"] = revision
        found["git_clean"] = not _git(workspace, "status", "--porcelain", "--", *_STATE, "src")
    stages = _locked_stages(workspace / "dvc.lock")
    made = _out_hashes(stages)
    place = bundle.resolve()
    if place.is_relative_to(workspace.resolve()):
        name = place.relative_to(workspace.resolve()).as_posix()
        if made.get(name) == dvc_hash(bundle):
            found |= _of_dvc(workspace, stages, made)
        elif name in made:
            log.warning("%s is not what dvc.lock says; its lineage is not known", name)
    return found


def restore_commands(lineage: dict[str, Any]) -> list[str]:
    """Return the commands that bring a workspace to the state of a bundle; none if not known."""
    if not lineage.get("git_clean") or "data" not in lineage:
        return []
    targets = " ".join(map(shlex.quote, lineage["targets"]))
    return [f"git checkout {lineage['git_revision']}", f"dvc checkout {targets}"]


def stage_that_makes(path: Path, workspace: Path) -> str | None:
    """Name the stage of a workspace that has a path as its output; None if there is none."""
    for name, stage in _locked_stages(workspace / "dvc.lock").items():
        made = [(workspace / out["path"]).resolve() for out in stage.get("outs", ())]
        if path.resolve() in made:
            return name
    return None


def dvc_hash(folder: Path) -> str:
    """Hash a folder as DVC does: the MD5 of a list of names and MD5s."""
    entries = [
        {
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": path.relative_to(folder).as_posix(),
        }
        for path in folder.rglob("*")
        if path.is_file()
    ]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def _of_dvc(workspace: Path, stages: dict[str, Any], made: dict[str, str]) -> dict[str, Any]:
    deps = {
        dep["path"]: dep.get("md5", "")
        for stage in _DATA_STAGES
        for dep in stages.get(stage, {}).get("deps", ())
    }
    data = {path: h for path, h in deps.items() if not path.startswith(("src/", "pipelines"))}
    tracked = [f"{path}.dvc" for path in data if (workspace / f"{path}.dvc").is_file()]
    found: dict[str, Any] = {
        "data": data,
        "targets": [*tracked, *(name for name, stage in stages.items() if stage.get("outs"))],
        "graphs": {p: h for p, h in made.items() if p.startswith("data/graphs")},
        "checkpoints": {p: h for p, h in made.items() if p.startswith("models/checkpoints")},
        "params": _params(stages),
    }
    selected = workspace / "models/selected.json"
    if selected.is_file():
        chosen = read_json(selected)
        found["selected"] = {key: chosen[key] for key in ("name", "seed")}
        cost = workspace / f"build/costs/train/{chosen['name']}-seed{chosen['seed']}.json"
        if cost.is_file():
            found["run_id"] = read_json(cost).get("run_id")
    return found


def _locked_stages(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    locked: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return locked.get("stages") or {}


def _out_hashes(stages: dict[str, Any]) -> dict[str, str]:
    return {
        out["path"]: out.get("md5", "")
        for stage in stages.values()
        for out in stage.get("outs", ())
    }


def _params(stages: dict[str, Any]) -> dict[str, Any]:
    """Join the settings of all stages, as dotted names."""
    found: dict[str, Any] = {}
    for stage in stages.values():
        found |= stage.get("params", {}).get("params.yaml", {})
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    """Ask git; None where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
