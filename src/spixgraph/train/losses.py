"""One loss for superpixels and pixels: cross entropy plus soft Dice over the annotated area."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from spixgraph.arrays import NOT_ANNOTATED, Float64
from spixgraph.errors import InputError

MAX_CLASS_WEIGHT = 4.0
"""A class of a thousandth of the area would otherwise drown the rest in its own noise."""


def class_weights(area_per_class: Float64) -> Tensor:
    """Weigh classes against their imbalance: inverse root of their area, at most 4 to 1.

    Parameters
    ----------
    area_per_class : (K,) float64
        Annotated pixels of each class in the training data.

    Returns
    -------
    weights : (K,) float32
        The weight of the largest class is 1; an absent class has 0.

    Raises
    ------
    InputError
        If nothing is annotated.
    """
    area = torch.as_tensor(area_per_class, dtype=torch.float64)
    if not area.sum() > 0:
        raise InputError(
            "no pixel of the training data is annotated; a mask needs class ids other than "
            f"{NOT_ANNOTATED}"
        )
    weights = (area.max() / area.clamp(min=1e-9)).sqrt().clamp(max=MAX_CLASS_WEIGHT)
    return torch.where(area > 0, weights, 0.0).float()


def area_loss(logits: Tensor, target: Tensor, area: Tensor, weights: Tensor) -> Tensor:
    """Soft-target cross entropy plus soft Dice, both weighted by annotated area.

    Parameters
    ----------
    logits : (n, K) float32
    target : (n, K) float32
        Fraction of each class; rows that are not annotated are ignored.
    area : (n,) float32
        Annotated pixels of each row; 0 makes a row count nowhere.
    weights : (K,) float32
        Weight of each class in the cross entropy.

    Returns
    -------
    loss : () float32
        Mean per weighted pixel, so that a sparse graph counts as much as a full one; 0 where
        nothing is annotated.
    """
    return loss_of_sums(area_sums(logits, target, area, weights))


def area_sums(logits: Tensor, target: Tensor, area: Tensor, weights: Tensor) -> Tensor:
    """Add up what `area_loss` needs of some rows, so that not all need be in memory together.

    Arguments as there.

    Returns
    -------
    sums : (2 + 3 K,) float64
        Those of rows that were cut in parts add up to those of all.
    """
    # (K, n): along the few columns of (n, K), operations take twice as long
    pixels = target.T.contiguous() * area
    logp = logits.T.contiguous().log_softmax(0)
    probability = logp.exp()
    weighted = pixels * weights[:, None]
    per_class = (probability * area, pixels, probability * pixels)
    return torch.cat(
        [
            torch.stack([-(weighted * logp).sum(), weighted.sum()]).double(),
            *(values.sum(1).double() for values in per_class),
        ]
    )


def loss_of_sums(sums: Tensor) -> Tensor:
    """Turn sums of all rows into the loss, () float32.

    Dice is the mean over the classes that occur; the cross entropy alone punishes an absent one.
    """
    cross_entropy, weight = sums[:2]
    predicted, true, both = sums[2:].view(3, -1)
    dice = (2 * both + 1) / (predicted + true + 1)  # 1 pixel against 0 / 0
    occurs = true > 0
    dice_loss = ((1 - dice) * occurs).sum() / occurs.sum().clamp(min=1)
    return (cross_entropy / weight.clamp(min=1e-9) + dice_loss).float()


def pixel_loss(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """`area_loss` of the pixels of a batch.

    Parameters
    ----------
    logits : (B, K, ...) float32
    mask : (B, ...) uint8
        Class ids; 255 counts nowhere.
    weights : (K,) float32
    """
    known = mask != NOT_ANNOTATED
    rows = logits.movedim(1, -1)[known]
    target = one_hot(mask[known].long(), logits.shape[1]).to(rows.dtype)
    return area_loss(rows, target, rows.new_ones(len(rows)), weights)
