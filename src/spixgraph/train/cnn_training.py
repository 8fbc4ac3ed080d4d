"""Training of the CNN on random patches, validated on whole images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spixgraph.arrays import NOT_ANNOTATED, Float32, Float64, Int64, ShapeZYX, UInt8
from spixgraph.config.params import CnnTraining
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import confusion
from spixgraph.nets.build import n_parameters
from spixgraph.nets.cnn import (
    PixelUNet,
    auto_window,
    build_cnn,
    predict_cnn,
    require_window,
    standardised,
)
from spixgraph.train.fingerprint import fingerprint
from spixgraph.train.loop import EpochRecord, OnEpoch, Step, fit
from spixgraph.train.losses import class_weights, pixel_loss
from spixgraph.train.patches import AnnotatedImage, PatchSampler
from spixgraph.train.precision import mixed_precision
from spixgraph.train.reproducible import reproducible


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCnn:
    """A U-Net and how to slide it over an image.

    Attributes
    ----------
    net : PixelUNet
        On the CPU, in evaluation mode, with the weights of `best_epoch`.
    build : dict
        Arguments of `build_cnn`.
    window_zyx : (int, int, int)
        The patch of the training.
    overlap : float
        Of neighbouring windows, 0..1.
    best_epoch : int
        From 1.
    history : tuple of EpochRecord
    """

    net: PixelUNet
    build: dict[str, Any]
    window_zyx: ShapeZYX
    overlap: float
    best_epoch: int
    history: tuple[EpochRecord, ...]

    @property
    def n_parameters(self) -> int:
        """Trained numbers."""
        return n_parameters(self.net)


def train_cnn(
    train: Sequence[AnnotatedImage],
    val: Sequence[AnnotatedImage],
    params: CnnTraining,
    *,
    n_classes: int,
    seed: int,
    device: torch.device,
    threads: int = 1,
    resume_path: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainedCnn:
    """Train a U-Net: in 2D where all images have Z = 1, else in 3D.

    Parameters
    ----------
    train, val : sequence of AnnotatedImage
        Pixels that are not annotated count nowhere. Class weights come from `train`
        alone; `val` picks the epoch, by the macro IoU of its pixels.
    params : CnnTraining
    n_classes : int
    seed : int
        Of the weights, the patches and their augmentation.
    device : torch.device
        One batch, or a few windows, at a time are on it.
    threads : int
        CPU threads; the weights depend on it, so it is not taken from the machine.
    resume_path : Path, optional
        Where the state is kept after each epoch; the caller removes it at the end.
    on_epoch : callable, optional
        Called with the record of each epoch.

    Raises
    ------
    InputError
        If a split is not annotated, images differ in dimensions or channels, or the patch does
        not fit the network.
    GateError
        If training diverges.
    """
    n_dims, n_channels = _require_alike(train, val)
    window = _window(train, params, n_dims)
    require_window(window, n_dims=n_dims, levels=len(params.channels))
    build: dict[str, Any] = {
        "n_dims": n_dims,
        "n_channels": n_channels,
        "n_classes": n_classes,
        "channels": params.channels,
    }
    print_of_run = fingerprint(
        {
            "build": build,
            "params": params.model_dump(),
            "seed": seed,
            "device": device.type,
            "threads": threads,
        },
        (array for item in (*train, *val) for array in (item.image, item.mask)),
    )
    with reproducible(seed, threads=threads):
        net = build_cnn(**build)
        lesson = _PixelLesson(net.to(device), train, val, params, window, n_classes, device)
        fitted = fit(
            lesson,
            params,
            seed=seed,
            fingerprint=print_of_run,
            resume_path=resume_path,
            on_epoch=on_epoch,
        )
    return TrainedCnn(
        net=net.cpu().eval(),
        build=build,
        window_zyx=window,
        overlap=params.overlap,
        best_epoch=fitted.best_epoch,
        history=fitted.history,
    )


def _window(train: Sequence[AnnotatedImage], params: CnnTraining, n_dims: int) -> ShapeZYX:
    """Return the patch of the settings, or the one that fits the training images."""
    wanted = params.patch_px if n_dims == 2 else params.patch_px_3d
    if wanted == "auto":
        shapes = [(i.mask.shape[0], i.mask.shape[1], i.mask.shape[2]) for i in train]
        return auto_window(shapes, n_dims=n_dims, levels=len(params.channels))
    return (1, wanted, wanted) if isinstance(wanted, int) else wanted


class _PixelLesson:
    """The lesson of `spixgraph.train.loop` for images."""

    def __init__(
        self,
        net: PixelUNet,
        train: Sequence[AnnotatedImage],
        val: Sequence[AnnotatedImage],
        params: CnnTraining,
        window_zyx: ShapeZYX,
        n_classes: int,
        device: torch.device,
    ) -> None:
        self.net, self.device = net, device
        self.val, self.params = val, params
        self.n_classes = n_classes
        self.sampler = PatchSampler(
            [AnnotatedImage(standardised(i.image), i.mask) for i in train], window_zyx
        )
        self.weights = class_weights(_area_per_class(train, n_classes)).to(device)
        self.n_steps = params.steps_per_epoch
        self.learners, self.in_threads = (net,), False

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        """One batch of patches per step."""
        for _ in range(self.n_steps):
            yield Step(0, partial(self._loss, *self.sampler.batch(self.params.batch, rng)))

    def _loss(self, image: Float32, mask: UInt8) -> Tensor:
        pixels = torch.from_numpy(image).to(self.device)
        truth = torch.from_numpy(mask).to(self.device)
        if self.net.n_dims == 2:
            pixels, truth = pixels[:, :, 0], truth[:, 0]
        with mixed_precision(self.device):
            logits = self.net(pixels)
        return pixel_loss(logits, truth, self.weights)

    def confusion(self) -> Int64:
        """Predict each validation image as a whole: as in use, but for the precision."""
        total = np.zeros((self.n_classes, self.n_classes), np.int64)
        for item in self.val:
            with mixed_precision(self.device):
                mask = predict_cnn(
                    self.net,
                    item.image,
                    window_zyx=self.sampler.patch_zyx,
                    overlap=self.params.overlap,
                    device=self.device,
                )
            total += confusion(item.mask, mask, n_classes=self.n_classes)
        return total


def _area_per_class(images: Sequence[AnnotatedImage], n_classes: int) -> Float64:
    area = np.zeros(NOT_ANNOTATED + 1)
    for item in images:
        area += np.bincount(item.mask.ravel(), minlength=len(area))
    if foreign := np.flatnonzero(area[n_classes:NOT_ANNOTATED]).tolist():
        raise InputError(
            f"the masks hold class ids up to {n_classes + foreign[-1]}, but n_classes is "
            f"{n_classes}; name all classes in prepare.class_names"
        )
    return area[:n_classes]


def _require_alike(
    train: Sequence[AnnotatedImage], val: Sequence[AnnotatedImage]
) -> tuple[int, int]:
    """Raise `InputError` unless the images fit together; return dimensions and channels."""
    for name, split in (("train", train), ("val", val)):
        if not any((item.mask != NOT_ANNOTATED).any() for item in split):
            raise InputError(
                f"no pixel of the {name} split is annotated ({len(split)} images); "
                "annotate an image of it or change the split"
            )
    kinds = {(2 if len(i.mask) == 1 else 3, i.image.shape[-1]) for i in (*train, *val)}
    if len(kinds) > 1:
        raise InputError(
            f"images differ in (dimensions, channels): {sorted(kinds)}; train on one kind, "
            "chosen with prepare.where"
        )
    return kinds.pop()
