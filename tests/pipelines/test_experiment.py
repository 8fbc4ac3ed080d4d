"""`spixgraph experiment` on a small folder: the same chain without DVC."""

import json
from pathlib import Path

import pytest
import yaml

from spixgraph.predict.bundle import load_bundle
from tests.pipelines.conftest import TINY, run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(900)]


def test_experiment_compares_models_and_resumes(tmp_path: Path):
    run("spixgraph", "data", "phantom", "cells", "--size", "128x128", "--images", "6", cwd=tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"train": TINY["train"]}))
    command = ["spixgraph", "experiment", "cells", "--out", "out", "--models", "gnn,cnn",
               "--params", "tiny.yaml", "--json"]  # fmt: skip
    first = json.loads(run(*command, cwd=tmp_path).stdout)
    assert [m["name"] for m in first["models"]] == ["gnn", "cnn"]
    assert first == json.loads((tmp_path / "out/report.json").read_text())
    assert load_bundle(tmp_path / "out/bundles/gnn-seed0").card.network == "gnn"
    again = json.loads(run(*command, cwd=tmp_path).stdout)
    assert [m["train"]["seconds"] for m in again["models"]] == [
        m["train"]["seconds"] for m in first["models"]
    ]  # trained once
    assert [m["metrics"] for m in again["models"]] == [m["metrics"] for m in first["models"]]


def test_a_cnn_alone_is_refused_before_any_work(tmp_path: Path):
    done = run("spixgraph", "experiment", "nowhere", "--out", "out", "--models", "cnn",
               cwd=tmp_path, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "models must hold gnn, paper or mlp" in done.stderr
    assert not (tmp_path / "out").exists()
