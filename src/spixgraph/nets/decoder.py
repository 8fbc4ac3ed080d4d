"""A tiny model for each superpixel, which gives classes to its pixels."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu


class PixelDecoder(nn.Module):
    """What a network knows of a superpixel, as weights over the columns of a pixel.

    The class of pixel p of superpixel s is the largest of ``b[s] + W[s] [phi(p), h(p)]``, where b
    are the logits of the superpixel, W are the weights that this layer makes, phi the columns of
    the pixel and ``h(p) = relu(U phi(p) + u)`` hidden values, whose layer all superpixels share. A
    pixel costs one multiply-add per column and hidden value, and one of either per class, and no
    convolution; the weights start near zero, so that pixels first follow their superpixel.

    Idea cousins: CondInst (arXiv:2003.05664), PointRend (arXiv:1912.08193), dynamic filters
    (arXiv:1605.09673).

    Shapes
    ------
    hidden : (n, hidden) float32
    returns : (n, n_classes, n_columns + n_hidden) float32
    """

    def __init__(self, *, hidden: int, n_classes: int, n_columns: int, n_hidden: int = 0) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.layer = nn.Linear(n_columns, n_hidden) if n_hidden else None
        self.weight = nn.Linear(hidden, n_classes * (n_columns + n_hidden))
        with torch.no_grad():
            self.weight.weight.mul_(_START)
            self.weight.bias.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """Make the weights."""
        return self.weight(hidden).unflatten(1, (self.n_classes, -1))


def pixel_logits(
    logits: Tensor, weights: Tensor, values: Tensor, layer: Tensor | None = None
) -> Tensor:
    """Decode m pixels of each superpixel.

    Parameters
    ----------
    logits : (n, K) float32
    weights : (n, K, P + H) float32
    values : (n, m, P) float32
        Standardised columns of the pixels.
    layer : (H, P + 1) float32, optional
        Weights and, in the last column, biases of the hidden values.

    Returns
    -------
    (n, m, K) float32
    """
    if layer is not None:
        hidden = relu(linear(values, layer[:, :-1], layer[:, -1]))
        values = torch.cat([values, hidden], dim=2)
    return logits[:, None] + torch.bmm(values, weights.transpose(1, 2))


_START = 0.3
