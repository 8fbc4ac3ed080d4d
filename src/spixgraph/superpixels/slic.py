"""SLIC superpixels by scikit-image, the method of the paper mode and the baseline."""

from collections.abc import Sequence

import numpy as np
from skimage.segmentation import slic

from spixgraph.arrays import ImageZYXC, LabelsZYX, require_image
from spixgraph.errors import InputError


def slic_labels(
    image: ImageZYXC,
    *,
    n_segments: int,
    compactness: float,
    sigma_px: float,
    max_iterations: int,
    spacing_zyx: Sequence[float] = (1.0, 1.0, 1.0),
) -> LabelsZYX:
    """Cut an image into superpixels by k-means on colour and position.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
        Intensities scaled with image-wide limits. Z = 1 is cut as a 2D image, Z > 1 as a volume.
    n_segments : int
        Wanted number of superpixels, > 0; the result may differ by some.
    compactness : float
        Weight of pixel distance against intensity distance, > 0, in units of `image`.
    sigma_px : float
        Width of the Gaussian smoothing before, in pixels of the finest axis, >= 0.
    max_iterations : int
        Rounds of k-means, > 0.
    spacing_zyx : three floats
        Pixel distances of the axes, > 0, in any unit: only their ratios count.

    Returns
    -------
    labels : (Z, Y, X) int32
        Dense ids 0..n-1, each connected. There is no background id.

    Raises
    ------
    InputError
        If `image` is not a finite (Z, Y, X, C) float32 array or a setting is out of range.

    Notes
    -----
    skimage rescales every call to [0, 1] by the minimum and maximum of that call, so one bright
    speck would change the meaning of `compactness` for the whole image. Dividing by that span
    takes it back out. Needs some 40 bytes per pixel.

    References
    ----------
    Achanta et al., SLIC Superpixels, TPAMI 2012, doi:10.1109/TPAMI.2012.120
    """
    require_image(image)
    if n_segments < 1 or max_iterations < 1:
        raise InputError(
            f"n_segments and max_iterations must be >= 1, got {n_segments} and {max_iterations}"
        )
    if not (compactness > 0 and sigma_px >= 0):
        raise InputError(
            f"compactness must be > 0 and sigma_px >= 0, got {compactness} and {sigma_px}"
        )
    if len(spacing_zyx) != 3 or not min(spacing_zyx) > 0:
        raise InputError(f"spacing_zyx must be three numbers > 0, got {spacing_zyx}")
    is_2d = image.shape[0] == 1
    spacing = np.asarray(spacing_zyx[1:] if is_2d else spacing_zyx, float)
    labels = slic(
        image[0] if is_2d else image,
        n_segments=min(n_segments, image[..., 0].size),
        compactness=compactness / (float(np.ptp(image)) or 1.0),
        max_num_iter=max_iterations,
        sigma=sigma_px,
        spacing=spacing / spacing.min(),
        start_label=0,
        channel_axis=-1,
        convert2lab=False,
    )
    return labels.reshape(image.shape[:3]).astype(np.int32, copy=False)
