"""Training of the network of the overview, see `spixgraph.predict.context`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spixgraph.arrays import NOT_ANNOTATED
from spixgraph.config.params import CnnTraining
from spixgraph.nets.cnn import PixelUNet, auto_window
from spixgraph.train.cnn_training import train_cnn
from spixgraph.train.loop import OnEpoch
from spixgraph.train.patches import AnnotatedImage

MAX_PATCH = 96
"""Edge of a patch in cells, where the settings leave it open: 384 px at cells of 4 px."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedContext:
    """A U-Net of the overview and how it is used.

    Attributes
    ----------
    net : PixelUNet
        On the CPU, in evaluation mode; 2D, volumes are seen slice by slice.
    build : dict
        Arguments of `build_cnn`.
    factor : int
        Edge of a cell in pixels.
    weight : float
        0..1: its share of the class values of a pixel.
    """

    net: PixelUNet
    build: dict[str, Any]
    factor: int
    weight: float


def train_context(
    train: Sequence[AnnotatedImage],
    val: Sequence[AnnotatedImage],
    params: CnnTraining,
    *,
    factor: int,
    n_classes: int,
    seed: int,
    device: torch.device,
    threads: int = 1,
    resume_path: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainedContext:
    """Train a U-Net on overviews; arguments and errors as of `train_cnn`.

    Parameters
    ----------
    train, val : sequence of AnnotatedImage
        Overviews, standardised, with the classes of their cells; slices without annotation are
        left out.
    factor : int
        Edge of a cell in pixels.

    Returns
    -------
    TrainedContext
        With a weight of 1: what it deserves is for the caller to find out.
    """
    slices = _slices(train)
    if params.patch_px == "auto":
        shapes = [(1, *i.mask.shape[1:]) for i in slices]
        window = auto_window(shapes, n_dims=2, levels=len(params.channels))
        params = params.model_copy(update={"patch_px": min(MAX_PATCH, window[1])})
    trained = train_cnn(
        slices, _slices(val), params,
        n_classes=n_classes, seed=seed, device=device, threads=threads,
        resume_path=resume_path, on_epoch=on_epoch,
    )  # fmt: skip
    return TrainedContext(trained.net, trained.build, factor, 1.0)


def _slices(images: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    return [
        AnnotatedImage(
            np.ascontiguousarray(item.image[z : z + 1]),
            np.ascontiguousarray(item.mask[z : z + 1]),
        )
        for item in images
        for z in range(len(item.mask))
        if (item.mask[z] != NOT_ANNOTATED).any()
    ]
