"""The pixel network that the graphs are compared with: a U-Net from MONAI, in 2D or 3D.

MONAI is imported when it is used: it takes seconds.
"""

import numpy as np
import torch
from torch import Tensor, nn

from spixgraph.arrays import Float32, ImageZYXC, MaskZYX, ShapeZYX, require_image
from spixgraph.errors import InputError

_NORM = ("batch", {"affine": True})
_WINDOWS_AT_ONCE = 4


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

    def forward(self, image: Tensor) -> Tensor:
        """Map intensities to logits."""
        return self.unet(image)


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


@torch.no_grad()
def cnn_probabilities(
    net: PixelUNet,
    image: ImageZYXC,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> Float32:
    """Predict an image of any size, window by window.

    Windows overlap and are blended with Gaussian weights. An image smaller than the window is
    continued by reflection. The GPU holds some windows at a time, the host the whole result.

    Parameters
    ----------
    net : PixelUNet
        Is moved to `device` and set to evaluation mode.
    image : (Z, Y, X, C) float32
        0..1; Z = 1 for a 2D network.
    window_zyx : (int, int, int)
        The patch of the training; (1, Y, X) in 2D.
    overlap : float
        Of neighbouring windows, 0..1.
    device : torch.device or str

    Returns
    -------
    probabilities : (K, Z, Y, X) float32
        Add up to 1 over the classes.
    """
    from monai.inferers import sliding_window_inference

    require_image(image)
    if net.n_dims == 2 and len(image) > 1:
        raise InputError(f"a 2D network got an image of shape {image.shape}; Z must be 1")
    shape = image.shape[:3]
    padded = pad_by_reflection(standardised(image), window_zyx)
    pixels = torch.from_numpy(np.moveaxis(padded, -1, 0)[None])
    net = net.to(device).eval()
    probabilities = sliding_window_inference(
        pixels if net.n_dims == 3 else pixels[:, :, 0],
        window_zyx[3 - net.n_dims :],
        _WINDOWS_AT_ONCE,
        lambda window: net(window).softmax(1),
        overlap=overlap,
        mode="gaussian",
        sw_device=device,
        device="cpu",
    )[0]
    whole = probabilities.reshape(-1, *padded.shape[:3])
    return whole[:, : shape[0], : shape[1], : shape[2]].numpy()


def predict_cnn(
    net: PixelUNet,
    image: ImageZYXC,
    *,
    window_zyx: ShapeZYX,
    overlap: float,
    device: torch.device | str,
) -> MaskZYX:
    """Give each pixel its most probable class; arguments as for `cnn_probabilities`.

    Returns
    -------
    mask : (Z, Y, X) uint8
    """
    probabilities = cnn_probabilities(
        net, image, window_zyx=window_zyx, overlap=overlap, device=device
    )
    return probabilities.argmax(0).astype(np.uint8)


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
