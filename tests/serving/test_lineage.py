"""Two data versions, two models, and back to the first: the same bundle, by what `show` says."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.workspace import merged
from spixgraph.files import sha256_tree
from tests.pipelines.conftest import TINY, commit, copy_repository, run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1500)]
NAME = "spixgraph-phantom"
TARGET = "verify"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A repository whose data set grows: it is tracked by DVC, not made by a stage."""
    folder = tmp_path_factory.mktemp("lineage")
    copy_repository(folder)
    params = merged(yaml.safe_load((folder / "params.yaml").read_text()), TINY)
    params["prepare"]["source"] = "data/cells"
    params["select"]["candidates"] = ["mlp"]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())
    stages["stages"]["train"]["matrix"]["model"] = ["mlp"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / ".dvc", ignore_errors=True)
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("dvc", "init", "-q", cwd=folder)
    for name, seed in (("cells", "1"), ("monday", "2")):
        made = ["spixgraph", "data", "phantom", f"data/{name}", "--size", "96x96", "--seed", seed]
        run(*made, "--images", "5", cwd=folder)
    _rename(folder / "data/monday")
    shutil.move(folder / "data/monday", folder.parent / "monday")
    run("dvc", "add", "-q", "data/cells", cwd=folder)
    return folder


def _rename(data: Path) -> None:
    """Give the images of Monday names and groups of their own."""
    text = (data / "manifest.csv").read_text()
    for path in sorted((data / "images").iterdir()):
        new = f"monday_{path.stem}"
        for kind in ("images", "masks"):
            (found,) = (data / kind).glob(f"{path.stem}.*")
            text = text.replace(f"{kind}/{found.name}", f"{kind}/{new}{found.suffix}")
            found.rename(found.with_name(f"{new}{found.suffix}"))
    lines = text.splitlines()
    rows = [f"monday_{line}" for line in lines[1:]]
    (data / "manifest.csv").write_text("\n".join([lines[0], *rows]) + "\n")


def test_two_data_versions_two_models_and_back_to_the_first(workspace):
    first = _train(workspace, "first")
    shown = json.loads(_spixgraph(workspace, "model", "show", f"{NAME}@1", "--json"))
    lineage = shown["lineage"]
    assert lineage["git_clean"]
    assert set(lineage["data"]) == {"data/cells"}
    assert any(path.startswith("data/graphs") for path in lineage["graphs"])
    assert lineage["run_id"]
    assert lineage["params"]["train.mlp"]["hidden"] == 16
    monday = workspace.parent / "monday"
    said = _spixgraph(workspace, "data", "add", "data/cells", monday, "--split-by-group")
    assert "added 5 images" in said
    run("dvc", "add", "-q", "data/cells", cwd=workspace)
    second = _train(workspace, "second")
    assert second != first
    again = json.loads(_spixgraph(workspace, "model", "show", f"{NAME}@2", "--json"))
    assert again["lineage"]["data"] != lineage["data"]
    assert shown["restore"][0] == f"git checkout {lineage['git_revision']}"
    assert shown["restore"][1].startswith("dvc checkout data/cells.dvc ")
    for command in shown["restore"]:
        run(*command.split(), cwd=workspace)
    assert sha256_tree(workspace / "models/bundle") == first == shown["tags"]["bundle_sha256"]
    assert "Running stage" not in run("dvc", "repro", TARGET, cwd=workspace).stdout


def _train(workspace: Path, message: str) -> str:
    """Run the pipeline, commit, register and promote; return the hash of the bundle."""
    run("dvc", "repro", TARGET, cwd=workspace)
    commit(workspace, message)
    register = ("model", "register", "models/bundle", "--verification", "models/verification.json")
    made = _spixgraph(workspace, *register)
    number = made.split()[2]
    overruled = ("--force", "--why", "tiny nets on tiny images")
    said = _spixgraph(workspace, "model", "promote", NAME, "--version", number, *overruled)
    assert "parity" in said
    return sha256_tree(workspace / "models/bundle")


def _spixgraph(workspace: Path, *args: object) -> str:
    return run("spixgraph", *map(str, args), cwd=workspace).stdout
