"""Images and sources that the tests of the streaming engine share."""

import numpy as np
from scipy.ndimage import gaussian_filter

from spixgraph.io.images import ArraySource
from spixgraph.io.source import ImageSource

ALL = (slice(None), slice(None), slice(None))


def pixels_of(shape, dtype=np.uint8, seed=1):
    """Smooth blobs with a little noise, (Z, Y, X, C)."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=shape), (0 if shape[0] == 1 else 1.5, 3, 3, 0))
    image = (image - image.min()) / (np.ptp(image) or 1) + rng.normal(0, 0.02, shape)
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (image.clip(0, 1) * top).astype(dtype)


class CountingSource(ImageSource):
    """An image that counts how often each pixel is read."""

    def __init__(self, pixels, pixel_size_um=None):
        self._array = ArraySource(pixels, pixel_size_um)
        self.info = self._array.info
        self.n_read = np.zeros(pixels.shape[:3], np.int64)

    def read(self, z, y, x):
        self.n_read[z, y, x] += 1
        return self._array.read(z, y, x)


def require_same_graph(a, b):
    """Every array and every name of two graphs is the same."""
    for name in ("x", "centroid_px", "n_pixels", "edge_index", "edge_attr"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.feature_names == b.feature_names
    assert a.edge_feature_names == b.edge_feature_names
    assert a.source == b.source
