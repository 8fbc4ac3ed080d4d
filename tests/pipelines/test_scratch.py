"""Two runs from nothing in two folders, each with a cache of its own, give the same bundle."""

import json
from pathlib import Path

import pytest
import yaml

from spixgraph.files import sha256_tree
from tests.pipelines.conftest import run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def from_scratch(workspace: Path) -> Path:
    """Run all that the bundle comes from: the models that may be selected, not their rivals.

    What an earlier run with other models selected is no hindrance.
    """
    old = {"name": "cnn", "seed": 0, "reason": "of another run"}
    (workspace / "models/selected.json").write_text(json.dumps(old))
    stages = yaml.safe_load((workspace / "dvc.yaml").read_text())
    stages["stages"]["train"]["matrix"]["model"] = ["gnn", "mlp", "paper"]
    (workspace / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    run("dvc", "repro", "-q", "--no-run-cache", cwd=workspace)
    return workspace


def test_everything_from_scratch_gives_the_same_bundle(from_scratch: Path, reproduced_sha256: str):
    assert sha256_tree(from_scratch / "models/bundle") == reproduced_sha256
