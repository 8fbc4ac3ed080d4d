"""The network of the overview: trained beside graph networks, weighed on validation images."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from spixgraph.arrays import NOT_ANNOTATED, Float64, Int64, MaskZYX, UInt8
from spixgraph.config.params import NodeTraining
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import confusion, scores
from spixgraph.io.overview import overview_factor, overview_mask, read_overview
from spixgraph.io.records import Split
from spixgraph.predict.driver import Opinions, opinions_on, paint_opinions
from spixgraph.predict.model import NodeModel
from spixgraph.stages.prepare import Prepared, open_item, open_mask, true_mask
from spixgraph.stages.run import Run
from spixgraph.train.context import TrainedContext, train_context
from spixgraph.train.loop import OnEpoch
from spixgraph.train.node_training import TrainedNodeNet
from spixgraph.train.patches import AnnotatedImage

log = logging.getLogger(__name__)

WEIGHTS = (0.3, 0.5, 0.7, 0.85)
TEMPERATURES = tuple(2 ** (k / 2) for k in range(-2, 4))
LEAST_GAIN = 0.003
"""Of the macro IoU of validation images, for which a second network is worth its cost."""

MAIN_SHARE = 0.5
"""Weight of the context from which on one superpixel network beside it does as well as three."""

Phase = Literal["first", "context", "committee"]
"""Trainings that make one model, in turn: the superpixel network, or all of them where there is no
context; the network of the overview; all superpixel networks, where that has little to say."""

OpenModel = Callable[[TrainedNodeNet], NodeModel]
"""Makes a trained network one that segments images."""


def with_context(
    run: Run,
    prepared: Prepared,
    settings: NodeTraining,
    fit: Callable[[NodeTraining, Phase], TrainedNodeNet],
    open_model: OpenModel,
    *,
    seed: int,
    device: torch.device,
    threads: int,
    resume_path: Path,
    on_epoch: OnEpoch | None = None,
) -> TrainedNodeNet:
    """Train a superpixel network and one of the overview, and blend them as validation gains by it.

    Where the network of the overview gets less than `MAIN_SHARE`, all members of the settings are
    trained, in what is left of `max_minutes`, and blended with it instead.

    Parameters
    ----------
    settings : NodeTraining
        With settings of a context.
    fit : callable
        Trains superpixel networks, with a pixel decoder, by some settings.
    open_model : callable
    seed, device, threads, resume_path, on_epoch
        As of `train_context`.

    Returns
    -------
    TrainedNodeNet
        With its context and the temperature of both, or without one where validation gains less
        than `LEAST_GAIN`.
    """
    if settings.context is None:
        raise InputError("the settings have no context; train the superpixel networks alone")
    first = fit(settings.model_copy(update={"members": 1}), "first")
    names = first.pixel_scaling.names if first.pixel_scaling else ()
    density = open_model(first).recipe.nodes_per_megapixel
    factor = overview_factor(density, is_volume="place_z" in names)
    context = train_context(
        _overviews(run, prepared, "train", factor),
        _overviews(run, prepared, "val", factor),
        settings.context,
        factor=factor,
        n_classes=prepared.n_classes,
        seed=seed,
        device=device,
        threads=threads,
        resume_path=resume_path,
        on_epoch=on_epoch,
    )
    blended = _blended(run, prepared, first, context, open_model)
    rest = _rest_of_time(settings, first.history[-1].seconds)
    if settings.members == 1 or rest is None or _share(blended) >= MAIN_SHARE:
        return blended
    return _blended(run, prepared, fit(rest, "committee"), context, open_model)


def _share(trained: TrainedNodeNet) -> float:
    return trained.context.weight if trained.context else 0.0


def _rest_of_time(settings: NodeTraining, seconds: float) -> NodeTraining | None:
    """Take what a network needed off `max_minutes`; None where that leaves less than it needed."""
    if settings.max_minutes is None:
        return settings
    left = settings.max_minutes - seconds / 60
    return settings.model_copy(update={"max_minutes": left}) if left > seconds / 60 else None


def _blended(
    run: Run,
    prepared: Prepared,
    trained: TrainedNodeNet,
    context: TrainedContext,
    open_model: OpenModel,
) -> TrainedNodeNet:
    """Let the context have the share that is best on val."""
    weight, temperature = _best_blend(run, prepared, trained, context, open_model)
    if not weight:
        return trained
    return replace(trained, context=replace(context, weight=weight), temperature=temperature)


def _overviews(run: Run, prepared: Prepared, split: Split, factor: int) -> list[AnnotatedImage]:
    found = []
    for item in prepared.split(split):
        with open_item(run, item) as source, open_mask(run, item) as mask:
            cells = read_overview(source, factor)
            found.append(AnnotatedImage(cells, overview_mask(mask, factor)))
    return found


def _best_blend(
    run: Run,
    prepared: Prepared,
    trained: TrainedNodeNet,
    context: TrainedContext,
    open_model: OpenModel,
) -> tuple[float, float]:
    """Return the weight with the best macro IoU on val, 0 for none, and its temperature."""
    n_classes = prepared.n_classes
    model = open_model(replace(trained, context=context))
    counts = {weight: np.zeros((n_classes, n_classes), np.int64) for weight in (0.0, *WEIGHTS)}
    losses = {(w, t): 0.0 for w in WEIGHTS for t in TEMPERATURES}
    for item in prepared.split("val"):
        truth = true_mask(run, item)
        with open_item(run, item) as source:
            opinions = opinions_on(source, model)
            for weight in counts:
                mask = paint_opinions(source, _weighed(opinions, weight, 1.0)).mask
                counts[weight] += confusion(truth, mask, n_classes=n_classes)
            for weight, temperature in losses:
                painted = paint_opinions(
                    source, _weighed(opinions, weight, temperature), shares=True
                )
                if painted.shares is not None:
                    losses[weight, temperature] += _loss(painted.shares, truth)
    ious = {weight: scores(count).macro_iou for weight, count in counts.items()}
    best = max(WEIGHTS, key=lambda w: ious[w])
    log.info(
        "val macro IoU %.4f without the network of the overview, %.4f with it at a weight of %g",
        ious[0.0], ious[best], best,
    )  # fmt: skip
    if ious[best] < ious[0.0] + LEAST_GAIN:
        return 0.0, trained.temperature
    return best, min(TEMPERATURES, key=lambda t: losses[best, t])


def _weighed(opinions: Opinions, weight: float, temperature: float) -> Opinions:
    """Let the context of some opinions weigh as much as this."""
    seen = opinions.context
    if seen is None:
        return opinions
    context = replace(seen.context, weight=weight)
    model = replace(opinions.model, context=context, temperature=temperature)
    return replace(opinions, model=model, context=replace(seen, context=context))


def _loss(shares: UInt8, truth: MaskZYX) -> float:
    """Add up the negative logarithms of the probabilities of the true classes."""
    known = truth != NOT_ANNOTATED
    right = np.take_along_axis(shares[:, known], truth[known][None].astype(np.int64), axis=0)
    counts: Int64 = np.bincount(right[0], minlength=256)
    values: Float64 = np.log(np.maximum(np.arange(256), 0.5) / 255)
    return float(-(counts * values).sum())
