"""A tiny linear model for each superpixel, which gives classes to its pixels."""

import torch
from torch import Tensor, nn


class PixelDecoder(nn.Module):
    """What a network knows of a superpixel, as weights over the columns of a pixel.

    The class of pixel p of superpixel s is the largest of ``b[s] + W[s] phi(p)``, where b are the
    logits of the superpixel and W are the weights that this layer makes. A pixel costs one
    multiply-add per column and class, and no convolution; the weights start near zero, so that
    pixels first follow their superpixel.

    Idea cousins: CondInst (arXiv:2003.05664), PointRend (arXiv:1912.08193), dynamic filters
    (arXiv:1605.09673).

    Shapes
    ------
    hidden : (n, hidden) float32
    returns : (n, n_classes, n_columns) float32
    """

    def __init__(self, *, hidden: int, n_classes: int, n_columns: int) -> None:
        super().__init__()
        self.n_classes, self.n_columns = n_classes, n_columns
        self.weight = nn.Linear(hidden, n_classes * n_columns)
        with torch.no_grad():
            self.weight.weight.mul_(_START)
            self.weight.bias.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """Make the weights."""
        return self.weight(hidden).unflatten(1, (self.n_classes, self.n_columns))


def pixel_logits(logits: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Decode m pixels of each superpixel.

    Parameters
    ----------
    logits : (n, K) float32
    weights : (n, K, P) float32
    values : (n, m, P) float32
        Standardised columns of the pixels.

    Returns
    -------
    (n, m, K) float32
    """
    return logits[:, None] + torch.bmm(values, weights.transpose(1, 2))


_START = 0.3
