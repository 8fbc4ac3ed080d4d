"""The DVC pipeline as its users run it: whole, again, in a clone, as an experiment."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from skimage.io import imread, imsave

from spixgraph.files import sha256_tree
from tests.pipelines.conftest import commit, run

NETWORKS, TREES = ("gnn", "cnn", "paper", "mlp"), ("forest", "boosting")

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1500)]


def test_repro_makes_a_verified_bundle_and_a_report(reproduced: Path):
    report = json.loads((reproduced / "reports/report.json").read_text())
    assert {m["name"] for m in report["models"]} == {*NETWORKS, *TREES}
    for model in report["models"]:
        assert {"seconds", "peak_rss_bytes", "peak_gpu_bytes"} <= model["train"].keys()
        assert model["train"]["seconds"] > 0
        assert model["inference"]["megapixels"] > 0
    verified = json.loads((reproduced / "models/verification.json").read_text())
    assert verified["bundle_sha256"] == sha256_tree(reproduced / "models/bundle")
    page = (reproduced / "reports/report.html").read_text()
    assert page.count("data:image/png;base64") >= len(report["models"])


def test_second_repro_runs_nothing(reproduced: Path):
    assert "Running stage" not in run("dvc", "repro", cwd=reproduced).stdout


def test_every_run_is_tracked_with_memory(reproduced: Path):
    code = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db');"
        "runs = mlflow.search_runs(search_all_experiments=True);"
        "print(sorted(runs['tags.model']), (runs['metrics.train_peak_rss_bytes'] > 0).all(),"
        " (runs['metrics.test_macro_iou'] >= 0).all())"
    )
    said = run("python", "-c", code, cwd=reproduced).stdout
    assert "['boosting', 'cnn', 'forest', 'gnn', 'mlp', 'paper'] True True" in said


def test_the_lines_of_the_readme_run(reproduced: Path):
    (code,) = re.findall(r"```python\n(.*?)```", (reproduced / "README.md").read_text(), re.DOTALL)
    said = run("python", "-c", code, cwd=reproduced).stdout
    assert said.startswith("(1, 128, 128)")
    assert "superpixels" in said


def test_a_picture_of_the_way_of_one_image(reproduced: Path, tmp_path: Path):
    image = next((reproduced / "data/phantom/images").iterdir())
    out = tmp_path / "way.png"
    run("spixgraph", "picture", str(image), str(out), "--model", "models/bundle", cwd=reproduced)
    height, width, _ = imread(out).shape
    assert width > 3.9 * height


def test_the_bundle_can_be_registered_promoted_and_fetched(reproduced: Path, tmp_path: Path):
    name = "spixgraph-phantom"
    run("spixgraph", "model", "register", "models/bundle", cwd=reproduced)
    promote = ["spixgraph", "model", "promote", name, "--version", "1", "--to", "champion"]
    run(*promote, "--verification", "models/verification.json", cwd=reproduced)
    listed = json.loads(run("spixgraph", "model", "list", name, "--json", cwd=reproduced).stdout)
    assert "champion" in json.dumps(listed)
    run("spixgraph", "model", "fetch", f"{name}@champion", str(tmp_path / "b"), cwd=reproduced)
    assert sha256_tree(tmp_path / "b") == sha256_tree(reproduced / "models/bundle")


def test_clone_pulls_and_reproduces_the_same_bundle(reproduced: Path, tmp_path: Path):
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    run("dvc", "remote", "add", "-d", "-f", "local", str(remote), cwd=reproduced)
    commit(reproduced, "run")
    run("dvc", "push", "-q", cwd=reproduced)
    run("git", "clone", "-q", str(reproduced), str(clone), cwd=tmp_path)
    run("dvc", "pull", "-q", cwd=clone)
    assert "Running stage" not in run("dvc", "repro", cwd=clone).stdout
    assert sha256_tree(clone / "models/bundle") == sha256_tree(reproduced / "models/bundle")


def test_a_new_image_costs_one_graph(reproduced: Path, tmp_path: Path):
    data = tmp_path / "grown"
    shutil.copytree(reproduced / "data/phantom", data)
    rows = list(csv.DictReader((data / "manifest.csv").read_text().splitlines()))
    new = {**rows[0], "id": "new", "group": "new", "split": "train"}
    for kind in ("image", "mask"):
        path = Path(rows[0][kind])
        new[kind] = (path.parent / f"new{path.suffix}").as_posix()
        _mirror(data / path, data / new[kind])
    with (data / "manifest.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows([*rows, new])
    other = tmp_path / "workspace"
    shutil.copytree(reproduced, other, ignore=shutil.ignore_patterns("mlartifacts"))
    params = yaml.safe_load((other / "params.yaml").read_text())
    params["prepare"]["source"] = str(data)
    (other / "params.yaml").write_text(yaml.safe_dump(params))
    said = run("dvc", "repro", "graphs@rag", cwd=other)
    kept = [line for line in (said.stdout + said.stderr).splitlines() if "is kept" in line]
    assert len(kept) == 2 * len(rows)  # superpixels and graphs of every old image


def test_experiment_changes_one_setting(reproduced: Path):
    commit_all_quietly(reproduced)
    run(
        "dvc", "exp", "run", "-n", "deeper", "-S", "train.gnn.layers=3", "train@gnn", cwd=reproduced
    )
    checkpoint = reproduced / "models/checkpoints/gnn/seed0/checkpoint.json"
    assert '"layers": 3' in checkpoint.read_text()
    assert "deeper" in run("dvc", "exp", "list", "--all", cwd=reproduced).stdout


def commit_all_quietly(workspace: Path) -> None:
    if run("git", "status", "--porcelain", cwd=workspace).stdout:
        commit(workspace, "state")


def _mirror(source: Path, target: Path) -> None:
    """Write a mirrored copy: other content, so no duplicate."""
    imsave(target, imread(source)[:, ::-1], check_contrast=False)
