"""`make real`: another data set, no tracked file changed."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.pipelines.conftest import run

pytestmark = pytest.mark.pipeline


def test_workspace_points_at_the_data_and_changes_nothing_tracked(workspace: Path, tmp_path: Path):
    data = tmp_path / "my_cells"
    run("spixgraph", "data", "phantom", str(data), "--size", "96x96", "--images", "4", cwd=tmp_path)
    run("python", "-m", "pipelines.workspace", str(data), "runs", cwd=workspace)
    made = workspace / "runs/my_cells"
    params = yaml.safe_load((made / "params.yaml").read_text())
    assert params["prepare"]["source"] == str(data)
    assert params["export"]["model_name"] == "spixgraph-my-cells"
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=workspace, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""
    run("dvc", "repro", "-q", "prepare", cwd=made)
    assert (made / "data/prepared/dataset.json").is_file()


def test_a_missing_data_set_is_one_line(workspace: Path):
    done = run("python", "-m", "pipelines.workspace", "nowhere", "runs", cwd=workspace, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nowhere is not a folder")
