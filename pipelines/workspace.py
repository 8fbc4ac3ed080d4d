"""Make a workspace that runs the same pipeline on another data set, with no tracked file changed.

The workspace is a copy of the files that git tracks, with its own lock, the shared DVC cache, and
its own params.yaml: the committed one, changed by `pipelines/overrides/real.yaml` and by
`pipelines/overrides/<data set>.yaml` where there is one. Running it again goes on where the last
run stopped.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from spixgraph.compiled import copy_compiled
from spixgraph.config.params import Params
from spixgraph.errors import InputError, SpixError


def main(data: Path, runs: Path) -> None:
    """Copy the tracked files to `runs/<name of data>` and point its settings at `data`."""
    if not data.is_dir():
        raise InputError(f"{data} is not a folder; give the folder of a data set")
    name = data.resolve().name
    workspace = runs / name
    for tracked in _tracked_files():
        target = workspace / tracked
        if not target.is_file() or target.read_bytes() != tracked.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tracked, target)
    copy_compiled(Path("src/spixgraph"), workspace / "src/spixgraph")
    params = settings_for(name)
    params["prepare"]["source"] = str(data.resolve())
    params["export"]["model_name"] = f"spixgraph-{name.replace('_', '-').lower()}"
    Params.model_validate(params)
    _write_if_changed(workspace / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    cache = Path(".dvc/cache").resolve()
    config = f"[core]\n    analytics = false\n    no_scm = true\n[cache]\n    dir = {cache}\n"
    _write_if_changed(workspace / ".dvc" / "config", config)
    print(f"workspace {workspace} is ready for {data.resolve()}")


def settings_for(name: str) -> dict[str, Any]:
    """Return params.yaml with the overrides for real data and for the data set of this name."""
    params: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for override in ("real", name):
        path = Path("pipelines/overrides") / f"{override}.yaml"
        if path.is_file():
            params = merged(params, yaml.safe_load(path.read_text(encoding="utf-8")))
    return params


def _tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := Path(name)).is_file()]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Change some values of nested settings; mappings are merged, all else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except SpixError as error:
        sys.exit(f"error: {error}")
