"""`area_loss` as a function of sums over rows, so that the rows need not be in memory together."""

import torch
from torch import Tensor


def area_sums(logits: Tensor, target: Tensor, area: Tensor, weights: Tensor) -> Tensor:
    """Add up what `losses.area_loss` needs of some rows; arguments as there.

    Returns
    -------
    sums : (2 + 3 K,) float64
        Those of rows that were cut in parts add up to those of all.
    """
    pixels = target * area[:, None]
    logp = logits.log_softmax(1)
    probability = logp.exp()
    weighted = pixels * weights
    per_class = (probability * area[:, None], pixels, probability * pixels)
    return torch.cat(
        [
            torch.stack([-(weighted * logp).sum(), weighted.sum()]).double(),
            *(values.sum(0).double() for values in per_class),
        ]
    )


def loss_of_sums(sums: Tensor) -> Tensor:
    """Turn sums of all rows into the loss, () float32: cross entropy plus soft Dice."""
    cross_entropy, weight = sums[:2]
    predicted, true, both = sums[2:].view(3, -1)
    dice = (2 * both + 1) / (predicted + true + 1)
    occurs = true > 0
    dice_loss = ((1 - dice) * occurs).sum() / occurs.sum().clamp(min=1)
    return (cross_entropy / weight.clamp(min=1e-9) + dice_loss).float()
