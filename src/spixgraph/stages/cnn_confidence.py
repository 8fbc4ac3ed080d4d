"""How sure the U-Net is of each pixel, by a temperature as the graph models have one.

The U-Net itself stays as it was trained: its temperature acts on the blended probabilities and is
fitted on the validation images whenever it is asked, so that old checkpoints have one, too.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from spixgraph.arrays import NOT_ANNOTATED, Float32, UInt8
from spixgraph.io.images import ImageSource
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.nets.cnn import cnn_bands
from spixgraph.stages.prepare import PreparedItem, load_prepared, open_item, true_mask
from spixgraph.stages.run import Run
from spixgraph.train.cnn_training import TrainedCnn
from spixgraph.train.temperature import Judged, fit_temperature

_MOST_PIXELS = 400_000
"""Of an image, from which the temperature is learned."""
_SMALLEST = 1e-7


def calibrated_cnn(
    run: Run, trained: TrainedCnn, device: torch.device
) -> Callable[[ImageSource], UInt8]:
    """Fit the temperature on the validation images; see `models.open_confidence`."""
    judged = [_judged(run, item, trained, device) for item in load_prepared(run).split("val")]
    return partial(confidence, trained, device, fit_temperature(judged))


def confidence(
    trained: TrainedCnn, device: torch.device, temperature: float, source: ImageSource
) -> UInt8:
    """Return the probability of the class of each pixel: (Z, Y, X) uint8, 255 is certain."""
    found = np.zeros(source.info.shape_zyxc[:3], np.uint8)
    for rows, logits in _logits(trained, device, source):
        scaled = logits / np.float32(temperature)
        share = 1 / np.exp(scaled - scaled.max(0)).sum(0)
        found[:, rows] = np.rint(255 * share)
    return found


def _judged(run: Run, item: PreparedItem, trained: TrainedCnn, device: torch.device) -> Judged:
    """Give the logits (m, K) of annotated pixels, evenly spread, and their classes as (m, K)."""
    truth = true_mask(run, item)
    step = math.ceil(truth.size / _MOST_PIXELS)
    logits, classes = [], []
    with open_item(run, item) as source:
        for rows, some in _logits(trained, device, source):
            known = truth[:, rows] != NOT_ANNOTATED
            logits.append(some[:, known][:, ::step].T)
            classes.append(truth[:, rows][known][::step])
    found = np.concatenate(logits)
    return found, np.eye(found.shape[1])[np.concatenate(classes)]


def _logits(
    trained: TrainedCnn, device: torch.device, source: ImageSource
) -> Iterator[tuple[slice, Float32]]:
    """Yield rows and the logarithms of their probabilities, (K, Z, rows, X)."""
    limits, everything = intensity_limits(source), slice(None)
    bands = cnn_bands(
        trained.net,
        lambda rows: read_scaled(source, limits, everything, rows, everything),
        source.info.shape_zyxc[:3],
        window_zyx=trained.window_zyx,
        overlap=trained.overlap,
        device=device,
    )
    for rows, probabilities in bands:
        yield rows, np.log(np.maximum(probabilities, _SMALLEST))
