"""The quick form of `make benchmark-accuracy`: cells run once, the page names missing ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.page import boundary_goal, cost_goal, unfinished, worth_of_messages
from benchmarks.accuracy.tables import Group, selected_processor_seconds, selected_seconds
from tests.pipelines.conftest import REPOSITORY, run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


def test_cells_are_kept_and_missing_ones_are_named(tmp_path: Path):
    for folder in ("src", "benchmarks", "pipelines", "params.yaml"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    command = ["python", "-m", "benchmarks.accuracy", "--quick", "--models", "mlp,cnn,forest"]
    first = run(*command, cwd=tmp_path)
    assert "quick cnn seed 0: macro IoU on test" in first.stderr
    out = tmp_path / "runs/accuracy/quick"
    cells = {p.stem: p.read_bytes() for p in (out / "accuracy/quick").glob("*.json")}
    assert set(cells) == {"mlp-seed0", "cnn-seed0", "forest-seed0"}
    cnn = json.loads(cells["cnn-seed0"])
    assert cnn["train"]["ended_by"] == "epochs"
    assert len(cnn["train"]["curve"]) == 3
    assert cnn["train"]["peak_rss_bytes"] > cnn["train"]["baseline_rss_bytes"]
    forest = json.loads(cells["forest-seed0"])
    wrong = forest["error_budget"]
    right = wrong["annotated"] * forest["metrics"]["accuracy"]
    lost = wrong["superpixels"] - wrong["won_back"] + wrong["classifier"]
    assert right + lost == pytest.approx(wrong["annotated"])
    page = (out / "accuracy.md").read_text()
    assert "Error budget" in page
    pictures = [out / name for name in re.findall(r"!\[.*?\]\((.*?)\)", page)]
    assert len(pictures) == 2
    assert all(path.stat().st_size > 10_000 for path in pictures)
    assert "- quick: gnn, boosting, paper" in page
    assert "no set has both models" in page
    again = run(*command, cwd=tmp_path)
    assert again.stderr.count("is known") == 3
    assert cells == {p.stem: p.read_bytes() for p in (out / "accuracy/quick").glob("*.json")}


def test_the_page_says_where_message_passing_does_not_help():
    assert "no set has both" in worth_of_messages([_group("alone", gnn=[0.9])])
    said = worth_of_messages(
        [
            _group("helped", gnn=[0.8, 0.9], mlp=[0.5]),
            _group("unsure", gnn=[0.801], mlp=[0.795, 0.797]),
            _group("spoilt", gnn=[0.7], mlp=[0.71]),
        ]
    )
    assert "3 sets have both" in said
    assert "does not help on spoilt;" in said
    assert "can, on unsure." in said


def test_the_page_says_where_a_cost_is_missed():
    curve = [[1, 10.0, 0.5], [2, 20.0, 0.7], [3, 30.0, 0.7]]  # the second is kept
    slow: dict[str, Any] = {
        "name": "gnn",
        "train": {"seconds": 35.0, "graph_seconds": 5.0, "curve": curve},
    }
    unet: dict[str, Any] = {
        "name": "cnn",
        "train": {"seconds": 31.0, "graph_seconds": 0.0, "curve": curve},
    }
    assert selected_seconds(slow) == 20 + 5 + 5
    assert selected_processor_seconds(slow) is None
    slow["train"]["cpu_seconds"] = 60.0
    assert selected_processor_seconds(slow) == pytest.approx(60 * 25 / 35)
    tree = {"name": "gnn", "train": {"seconds": 35.0, "graph_seconds": 5.0}}
    groups = [{"dataset": "ovary", "models": [slow, unet]}, {"dataset": "tree", "models": [tree]}]
    said = cost_goal(groups, "time", selected_seconds, 1.5)
    assert "met on 1 of 1 sets; missed on none." in said
    assert "missed on ovary (1.43)." in cost_goal(groups, "time", selected_seconds, 1.4)
    assert "no set has both" in cost_goal(groups[1:], "time", selected_seconds, 1.4)
    unet["train"]["cpu_seconds"] = None  # stopped, and went on
    assert "no set has both" in cost_goal(groups[:1], "time", selected_seconds, 1.4)


def test_the_page_names_opponents_that_had_not_converged():
    def group(name: str, ending: str) -> Group:
        cell = {"name": "cnn", "train": {"ended_by": ending}}
        return {"dataset": name, "models": [cell, {"name": "forest", "train": {}}]}

    assert unfinished([group("short", "minutes"), group("whole", "patience")]).endswith(": short.")
    assert unfinished([group("whole", "epochs")]).endswith(": none.")


def test_the_page_says_where_boundaries_are_worse():
    def group(name: str, ours: float, theirs: float) -> Group:
        pairs = (("gnn", ours), ("cnn", theirs))
        models = [{"name": model, "metrics": {"boundary_f1": value}} for model, value in pairs]
        return {"dataset": name, "models": models}

    said = boundary_goal([group("fine", 0.795, 0.8), group("worse", 0.78, 0.8)])
    assert "met on 1 of 2 sets; missed on worse." in said
    assert "no set has both" in boundary_goal([])


def _group(dataset: str, **macro_ious: list[float]) -> Group:
    cells = [
        {"name": name, "metrics": {"macro_iou": value}}
        for name, values in macro_ious.items()
        for value in values
    ]
    return {"dataset": dataset, "models": cells}


def test_options_that_cannot_be_met_say_what_to_do(tmp_path: Path):
    command = ("python", "-m", "benchmarks.accuracy")
    said = run(*command, "--data", str(tmp_path), cwd=REPOSITORY, check=False)
    assert said.returncode == 2
    assert "name others by --sets" in said.stderr
    said = run(*command, "--quick", "--models", "unet", cwd=REPOSITORY, check=False)
    assert "--models must be of gnn" in said.stderr
