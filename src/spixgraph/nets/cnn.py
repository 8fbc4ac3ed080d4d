"""The pixel network that the graphs are compared with: a U-Net from MONAI, in 2D or 3D.

MONAI is imported when it is used: it takes seconds.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from spixgraph.arrays import Float32, Float64, ImageZYXC, MaskZYX, ShapeZYX, require_image
from spixgraph.errors import InputError
from spixgraph.nets.sliding import ReadRows, probability_bands

_NORM = ("batch", {"affine": True})
_STRIP_ROWS = 256


class PixelUNet(nn.Module):
    """The U-Net of nnU-Net (doi:10.1038/s41592-020-01008-z).

    3D: the first level has kernels (1, 3, 3), and the first two halvings spare Z, since stacks
    have fewer and thicker slices than rows.

    Shapes
    ------
    image : (B, C, Y, X) or (B, C, Z, Y, X) float32, from `standardised`; each axis a
        multiple of the window step (`require_window`)
    returns : (B, K, ...) float32, logits
    """

    def __init__(
        self, *, n_dims: int, n_channels: int, n_classes: int, channels: tuple[int, ...]
    ) -> None:
        super().__init__()
        from monai.networks.nets import DynUNet

        strides = _strides(n_dims, len(channels))
        kernels = [(3,) * n_dims] * len(channels)
        if n_dims == 3:
            kernels[0] = (1, 3, 3)
        self.unet = DynUNet(
            spatial_dims=n_dims,
            in_channels=n_channels,
            out_channels=n_classes,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=channels,
            norm_name=_NORM,
        )
        self.n_dims = n_dims
        # in bfloat16 on a CPU, three quarters of the time of channels first, or less
        self._layout = torch.channels_last if n_dims == 2 else torch.channels_last_3d
        self.unet.to(memory_format=self._layout)

    def forward(self, image: Tensor) -> Tensor:
        """Map intensities to logits."""
        logits: Tensor = self.unet(image.contiguous(memory_format=self._layout))
        return logits.float()  # they are bfloat16 under autocast


def build_cnn(
    *, n_dims: int, n_channels: int, n_classes: int, channels: tuple[int, ...]
) -> PixelUNet:
    """Build the U-Net with fresh weights from torch's generator.

    Parameters
    ----------
    n_dims : {2, 3}
    n_channels, n_classes : int
    channels : tuple of int
        Feature maps of each level, finest first; at least 3 levels.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    if n_dims not in (2, 3) or min(n_channels, n_classes, *channels) < 1 or len(channels) < 3:
        raise InputError(
            "n_dims must be 2 or 3, n_channels, n_classes and channels >= 1, with 3 levels or "
            f"more, got {n_dims}, {n_channels}, {n_classes} and {channels}"
        )
    return PixelUNet(n_dims=n_dims, n_channels=n_channels, n_classes=n_classes, channels=channels)


def auto_window(shapes_zyx: Sequence[ShapeZYX], *, n_dims: int, levels: int) -> ShapeZYX:
    """Choose the patch: 192 x 192 or 16 x 64 x 64, less where most images are smaller.

    Parameters
    ----------
    shapes_zyx : sequence of (int, int, int)
        Of the training images.
    n_dims : {2, 3}
    levels : int
        Of the U-Net.

    Returns
    -------
    window_zyx : (int, int, int)
        Each side a multiple of the step of the U-Net, the plane at least twice that.
    """
    steps = np.prod(_strides(n_dims, levels), axis=0).tolist()
    step_zyx = steps if n_dims == 3 else [1, *steps]
    most = (1, 192, 192) if n_dims == 2 else (16, 64, 64)
    sides = []
    for axis, (limit, step) in enumerate(zip(most, step_zyx, strict=True)):
        typical = int(np.median([shape[axis] for shape in shapes_zyx]))
        least = step if axis == 0 else 2 * step
        sides.append(max(least, -(-min(limit, typical) // step) * step))
    return sides[0], sides[1], sides[2]


def require_window(window_zyx: ShapeZYX, *, n_dims: int, levels: int) -> None:
    """Raise `InputError` unless the U-Net can halve a window of this shape and put it together."""
    step = np.prod(_strides(n_dims, levels), axis=0).tolist()
    step_zyx = [1] * (3 - n_dims) + step
    fits = all(w % s == 0 and w >= s for w, s in zip(window_zyx, step_zyx, strict=True))
    if not fits or (n_dims == 2 and window_zyx[0] != 1) or max(window_zyx) < 2 * max(step):
        raise InputError(
            f"patch {window_zyx} does not fit a U-Net of {levels} levels: each side must be a "
            f"multiple of {step_zyx} and the longest twice that; change patch_px or channels"
        )


def standardised(image: ImageZYXC) -> ImageZYXC:
    """Give each channel of an image mean 0 and standard deviation 1 over all its pixels.

    By its own figures and not by those of the training images: the next image may be darker.
    """
    pixels = image.reshape(-1, image.shape[-1])
    mean = pixels.mean(0, dtype=np.float64)
    spread = pixels.std(0, dtype=np.float64) + 1e-6
    return ((image - mean) / spread).astype(np.float32)


def cnn_bands(
    net: PixelUNet,
    read: ReadRows,
    shape_zyx: ShapeZYX,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> Iterator[tuple[slice, Float32]]:
    """Predict an image of any size in bands of rows, in memory that does not grow with them.

    Windows overlap and are blended with Gaussian weights. An image smaller than the window is
    continued by reflection.

    Parameters
    ----------
    net : PixelUNet
        Is moved to `device` and set to evaluation mode.
    read : callable
        Maps a slice of rows to (Z, rows, X, C) float32, 0..1; every row is read about three
        times: for the mean and deviation of the image, and for the windows that overlap there.
    shape_zyx : (int, int, int)
        Of the image; Z = 1 for a 2D network.
    window_zyx : (int, int, int)
        The patch of the training; (1, Y, X) in 2D.
    overlap : float
        Of neighbouring windows, 0..1.
    device : torch.device or str

    Yields
    ------
    rows : slice
    probabilities : (K, Z, rows, X) float32
        Add up to 1 over the classes.
    """
    if net.n_dims == 2 and shape_zyx[0] > 1:
        raise InputError(f"a 2D network got an image of shape {shape_zyx}; Z must be 1")
    net = net.to(device).eval()
    flat = net.n_dims == 2
    z, y, x = shape_zyx
    mean, spread = _moments(read, y)

    def rows_padded(rows: slice) -> ImageZYXC:
        band = (read(slice(rows.start, min(rows.stop, y))) - mean) / spread
        return pad_by_reflection(band.astype(np.float32), window_zyx)

    @torch.no_grad()
    def classify(pixels: Tensor) -> Tensor:
        out = net(pixels[:, :, 0] if flat else pixels).softmax(1)
        return out[:, :, None] if flat else out

    padded = (max(z, window_zyx[0]), max(y, window_zyx[1]), max(x, window_zyx[2]))
    bands = probability_bands(
        classify, rows_padded, padded, window_zyx=window_zyx, overlap=overlap, device=device
    )
    for rows, probabilities in bands:
        inside = slice(rows.start, min(rows.stop, y))
        yield inside, probabilities[:, :z, : inside.stop - inside.start, :x]


def cnn_probabilities(
    net: PixelUNet,
    image: ImageZYXC,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> Float32:
    """Predict an image as a whole; arguments as for `cnn_bands`.

    Returns
    -------
    probabilities : (K, Z, Y, X) float32
    """
    require_image(image)
    bands = cnn_bands(
        net, lambda y: image[:, y], image.shape[:3],
        window_zyx=window_zyx, overlap=overlap, device=device,
    )  # fmt: skip
    return np.concatenate([probabilities for _, probabilities in bands], axis=2)


def predict_cnn(
    net: PixelUNet,
    image: ImageZYXC,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> MaskZYX:
    """Give each pixel of an image in memory its most probable class; see `predict_cnn_rows`."""
    require_image(image)
    return predict_cnn_rows(
        net, lambda y: image[:, y], image.shape[:3],
        window_zyx=window_zyx, overlap=overlap, device=device,
    )  # fmt: skip


def predict_cnn_rows(
    net: PixelUNet,
    read: ReadRows,
    shape_zyx: ShapeZYX,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> MaskZYX:
    """Give each pixel its most probable class; arguments as for `cnn_bands`.

    Returns
    -------
    mask : (Z, Y, X) uint8
        The only array of the size of the image.
    """
    mask = np.zeros(shape_zyx, np.uint8)
    bands = cnn_bands(net, read, shape_zyx, window_zyx=window_zyx, overlap=overlap, device=device)
    for rows, probabilities in bands:
        mask[:, rows] = probabilities.argmax(0)
    return mask


def _moments(read: ReadRows, n_rows: int) -> tuple[Float64, Float64]:
    """Mean and deviation of each channel, from sums over strips."""
    count, total, total_sq = 0, np.zeros(1), np.zeros(1)
    for start in range(0, n_rows, _STRIP_ROWS):
        strip = read(slice(start, min(start + _STRIP_ROWS, n_rows))).astype(np.float64)
        strip = strip.reshape(-1, strip.shape[-1])
        count += len(strip)
        total, total_sq = total + strip.sum(0), total_sq + np.square(strip).sum(0)
    mean = total / count
    return mean, np.sqrt(np.maximum(total_sq / count - np.square(mean), 0)) + 1e-6


def pad_by_reflection(image: ImageZYXC, shape_zyx: ShapeZYX) -> ImageZYXC:
    """Continue an image at its far ends to at least `shape_zyx`; larger axes stay as they are."""
    missing = [max(0, s - n) for s, n in zip(shape_zyx, image.shape, strict=False)]
    if not any(missing):
        return image
    return np.pad(image, [(0, m) for m in missing] + [(0, 0)], mode="reflect")


def _strides(n_dims: int, levels: int) -> list[tuple[int, ...]]:
    """Step of each level; the first is at full resolution."""
    steps = [(1,) * n_dims] + [(2,) * n_dims] * (levels - 1)
    if n_dims == 3:
        steps[1:3] = [(1, 2, 2)] * 2
    return steps
