from pathlib import Path
from typing import Any

import pytest

from spixgraph.config.params import Params
from spixgraph.errors import GateError, InputError
from spixgraph.files import read_json, write_json
from spixgraph.stages.layout import Layout
from spixgraph.stages.run import Run
from spixgraph.stages.selection import select

NO_BOUNDARY = {"tolerance_px": 2, "n_truth": 0, "n_truth_hit": 0}
NO_BOUNDARY |= {"n_predicted": 0, "n_predicted_hit": 0}


def evaluated(root: Path, right: dict[str, int], **limits: Any) -> Run:
    """Store counts of models that get `right` of 100 pixels of each class right on val."""
    run = Run(Layout(root), root, Params.model_validate({"select": limits}))
    for model, good in right.items():
        run.layout.checkpoint(model, 0).mkdir(parents=True)
        confusion = [[good, 100 - good], [100 - good, good]]
        image = {"id": "a", "confusion": confusion, "boundary": NO_BOUNDARY}
        write_json(
            run.layout.evaluation / f"{model}-seed0.json",
            {"n_parameters": 10 * len(model), "splits": {"val": [image], "test": [image]}},
        )
    return run


def test_the_best_graph_model_on_val_is_selected_with_a_reason(tmp_path: Path):
    run = evaluated(tmp_path, {"gnn": 80, "mlp": 70, "cnn": 99})
    select(run)
    chosen = read_json(run.layout.selected)
    assert (chosen["name"], chosen["seed"]) == ("gnn", 0)
    assert "0.6667" in chosen["reason"]
    assert "mlp seed 0 0.5385" in chosen["reason"]


def test_a_model_above_a_limit_is_out(tmp_path: Path):
    run = evaluated(tmp_path, {"paper": 80, "mlp": 70}, max_parameters=40)
    select(run)
    chosen = read_json(run.layout.selected)
    assert chosen["name"] == "mlp"
    assert "of those within 40 parameters" in chosen["reason"]
    assert "out: 50 parameters > 40" in chosen["reason"]


def test_no_model_within_the_limits_is_an_error_with_the_figures(tmp_path: Path):
    run = evaluated(tmp_path, {"gnn": 80}, max_parameters=5)
    with pytest.raises(GateError, match="30 parameters > 5"):
        select(run)
    assert not run.layout.selected.exists()


def test_a_limit_on_a_cost_that_is_not_known_is_an_error(tmp_path: Path):
    run = evaluated(tmp_path, {"gnn": 80}, max_inference_seconds_per_megapixel=1.0)
    with pytest.raises(InputError, match="are not known in this workspace"):
        select(run)


def test_costs_are_compared_with_their_limit(tmp_path: Path):
    run = evaluated(tmp_path, {"gnn": 80, "mlp": 70}, max_inference_seconds_per_megapixel=1.0)
    for model, seconds in (("gnn", 3.0), ("mlp", 1.0)):
        cost = {"seconds": seconds, "megapixels": 2, "peak_rss_bytes": 2, "baseline_rss_bytes": 1}
        write_json(run.layout.cost("inference", f"{model}-seed0"), {"val": cost})
    select(run)
    assert read_json(run.layout.selected)["name"] == "mlp"


def test_nothing_trained_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="was trained"):
        select(evaluated(tmp_path, {"cnn": 99}))
