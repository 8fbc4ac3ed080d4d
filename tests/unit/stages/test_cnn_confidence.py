"""The U-Net says how sure it is, as the graph models do."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from spixgraph.arrays import UInt8
from spixgraph.config.params import load_params
from spixgraph.evaluate.calibration import calibration_counts
from spixgraph.io.images import ImageSource
from spixgraph.io.masks import read_mask
from spixgraph.io.phantoms import write_phantom_dataset
from spixgraph.nets.cnn import cnn_probabilities
from spixgraph.stages.cnn_confidence import confidence
from spixgraph.stages.evaluation import (
    count_model,
    load_confidence,
    predict_masks,
    total_calibration,
)
from spixgraph.stages.layout import Layout
from spixgraph.stages.models import open_confidence
from spixgraph.stages.prepare import load_prepared, open_item, prepare, scaled_image, true_mask
from spixgraph.stages.run import Run
from spixgraph.stages.training import fit_model
from spixgraph.train.checkpoints import save_checkpoint
from spixgraph.train.cnn_training import TrainedCnn

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("run")
    write_phantom_dataset(root / "d", kind="colonies", shape_zyx=(1, 64, 64), n_images=3, seed=0)
    params = load_params(REPOSITORY / "params.yaml").model_dump()
    params["train"] |= {"device": "cpu", "threads": 1}
    params["train"]["cnn"] |= {
        "channels": (4, 8, 16), "patch_px": 32, "batch": 2, "epochs": 1, "steps_per_epoch": 8,
        "max_minutes": None,
    }  # fmt: skip
    run = Run(Layout(root / "w"), root / "d", load_params(REPOSITORY / "params.yaml"))
    run = Run(run.layout, run.source, type(run.params).model_validate(params))
    prepare(run)
    trained = fit_model(run, load_prepared(run), "cnn", 0)
    assert isinstance(trained, TrainedCnn)
    save_checkpoint(run.layout.checkpoint("cnn", 0), trained, extra={})
    predict_masks(run, "cnn", 0)
    return run


def opened(
    run: Run,
) -> tuple[Callable[[ImageSource], UInt8], tuple[TrainedCnn, torch.device, float]]:
    sure = open_confidence(run, "cnn", 0)
    assert isinstance(sure, partial)
    return sure, sure.args


def test_confidence_is_the_probability_of_the_class(run):
    (item,) = load_prepared(run).split("test")
    sure, (trained, device, temperature) = opened(run)
    assert 0.1 <= temperature <= 10
    with open_item(run, item) as source:
        plain = confidence(trained, device, 1.0, source)
        np.testing.assert_array_equal(sure(source), load_confidence(run, "cnn", 0, item.id))
    probabilities = cnn_probabilities(
        trained.net, scaled_image(run, item),
        window_zyx=trained.window_zyx, overlap=trained.overlap, device=torch.device("cpu"),
    )  # fmt: skip
    np.testing.assert_allclose(plain, 255 * probabilities.max(0), atol=0.51)


def test_the_temperature_is_no_worse_than_none_on_validation(run):
    (item,) = load_prepared(run).split("val")
    truth = true_mask(run, item)
    mask = read_mask(run.layout.masks("cnn", 0) / f"{item.id}.tif")
    sure, (trained, device, _) = opened(run)

    def surprise(shares: np.ndarray) -> float:
        share = np.clip(shares / 255, 1e-3, 1 - 1e-3)
        return float(-np.log(np.where(mask == truth, share, 1 - share)).mean())

    with open_item(run, item) as source:
        fitted, plain = sure(source), confidence(trained, device, 1.0, source)
    assert surprise(fitted) < surprise(plain) + 1e-2
    calibration_counts(truth, mask, fitted)


def test_reports_get_its_calibration(run):
    images = count_model(run, load_prepared(run), "cnn", 0)["splits"]["test"]
    total = total_calibration(images)
    assert total is not None
    summary = total.summary()
    assert 0 <= summary["ece"] <= 1
    assert "error_budget" not in images[0]
