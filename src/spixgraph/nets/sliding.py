"""Slide a network over an image in bands of rows, so that memory does not grow with its height.

MONAI's `sliding_window_inference` gives the same blend, but returns the probabilities of the
whole image: 4 bytes per class and pixel, 2 GB for two classes at 256 megapixels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from spixgraph.arrays import Float32, ImageZYXC, ShapeZYX

ReadRows: TypeAlias = Callable[[slice], ImageZYXC]
"""Maps a slice of rows to (Z, rows, X, C) float32."""
_WINDOWS_AT_ONCE = 4


def probability_bands(
    classify: Callable[[Tensor], Tensor],
    read: ReadRows,
    shape_zyx: ShapeZYX,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> Iterator[tuple[slice, Float32]]:
    """Blend overlapping windows with Gaussian weights and give away rows that are done.

    Parameters
    ----------
    classify : callable
        Maps (B, C, Z, Y, X) float32 to (B, K, Z, Y, X) float32 of the same Z, Y, X.
    read : callable
        Rows of the image. Most are read once or twice where `overlap` <= 0.5.
    shape_zyx : (int, int, int)
        Of the image, at least the window along every axis.
    window_zyx : (int, int, int)
    overlap : float
        Of neighbouring windows, 0..1.
    device : torch.device or str
        Holds some windows at a time; the host holds the rows of one band.

    Yields
    ------
    rows : slice
        In order, together the whole image.
    probabilities : (K, Z, rows, X) float32
    """
    # Strategy: the windows of one band start at the same row.
    # - add the weighted outputs of a band to a buffer as high as a window;
    # - no later band touches the rows above the start of the next one: divide, give away;
    # - move the rest of the buffer up.
    starts_z, starts_y, starts_x = (
        window_starts(n, w, overlap) for n, w in zip(shape_zyx, window_zyx, strict=True)
    )
    weight = _importance(window_zyx)
    total = np.zeros(0, np.float32)
    weights = np.zeros((shape_zyx[0], window_zyx[1], shape_zyx[2]), np.float32)
    places = [(z, x) for z in starts_z for x in starts_x]
    for y, y_next in zip(starts_y, [*starts_y[1:], shape_zyx[1]], strict=True):
        band = read(slice(y, y + window_zyx[1]))
        for first in range(0, len(places), _WINDOWS_AT_ONCE):
            some = places[first : first + _WINDOWS_AT_ONCE]
            cut = [
                band[z : z + window_zyx[0], :, x : x + window_zyx[2]].transpose(3, 0, 1, 2)
                for z, x in some
            ]
            pixels = torch.from_numpy(np.stack(cut)).to(device)
            for (z, x), output in zip(some, classify(pixels).cpu().numpy(), strict=True):
                if not total.size:  # the first output tells the number of classes
                    total = np.zeros((len(output), *weights.shape), np.float32)
                place = slice(z, z + window_zyx[0]), slice(None), slice(x, x + window_zyx[2])
                total[:, *place] += output * weight
                weights[place] += weight
        done = y_next - y
        yield slice(y, y_next), total[:, :, :done] / weights[:, :done]
        total, weights = _moved_up(total, done), _moved_up(weights, done)


def window_starts(length: int, window: int, overlap: float) -> Sequence[int]:
    """List where windows start along an axis; the last one ends with the axis."""
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, length - window, step), length - window]


def _importance(window_zyx: ShapeZYX) -> Float32:
    from monai.data.utils import compute_importance_map

    weight = compute_importance_map(window_zyx, mode="gaussian", sigma_scale=0.125).numpy()
    return np.maximum(weight, 1e-3).astype(np.float32)


def _moved_up(buffer: Float32, rows: int) -> Float32:
    """Drop the first rows (last axis but one) and put empty ones at the end."""
    moved = np.zeros_like(buffer)
    moved[..., : buffer.shape[-2] - rows, :] = buffer[..., rows:, :]
    return moved
