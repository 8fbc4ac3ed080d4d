import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spixgraph.errors import InputError
from spixgraph.io.images import ArraySource
from spixgraph.io.zoomed import ZoomedSource, zoomed_length, zoomed_mask

EVERYTHING = (slice(None),) * 3


def image_of(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 250, shape)
    return values.astype(dtype) if np.dtype(dtype).kind == "u" else (values / 7).astype(dtype)


def slow_zoomed(pixels, zoom):
    """Look at the four pixels around each place, one pixel after the other."""
    n_z, n_y, n_x, n_c = pixels.shape
    out = np.empty((n_z, zoomed_length(n_y, zoom), zoomed_length(n_x, zoom), n_c))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            y, x = (min(max((k + 0.5) / zoom - 0.5, 0), n - 1) for k, n in ((i, n_y), (j, n_x)))
            a, b = int(y), int(x)
            c, d = min(a + 1, n_y - 1), min(b + 1, n_x - 1)
            v, u = y - a, x - b
            out[:, i, j] = (1 - v) * ((1 - u) * pixels[:, a, b] + u * pixels[:, a, d]) + v * (
                (1 - u) * pixels[:, c, b] + u * pixels[:, c, d]
            )
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("zoom", [0.5, 0.71, 1.0, 1.41, 2.0])
def test_matches_the_slow_twin(dtype, zoom):
    pixels = image_of((2, 13, 9, 3), dtype)
    found = ZoomedSource(ArraySource(pixels), zoom).read(*EVERYTHING)
    assert found.dtype == dtype
    rounding = 0.5 if np.dtype(dtype).kind == "u" else 0
    np.testing.assert_allclose(found, slow_zoomed(pixels, zoom), atol=rounding + 2e-4)
    if zoom == 1:
        np.testing.assert_array_equal(found, pixels)


@given(
    shape=st.tuples(*[st.integers(1, 2), *[st.integers(1, 30)] * 2, st.integers(1, 2)]),
    zoom=st.floats(0.5, 2),
    data=st.data(),
)
def test_a_block_is_that_part_of_the_whole(shape, zoom, data):
    source = ZoomedSource(ArraySource(image_of(shape, np.uint8)), zoom)
    whole = source.read(*EVERYTHING)
    assert whole.shape == source.info.shape_zyxc
    box = []
    for n in whole.shape[:3]:
        start = data.draw(st.integers(0, n - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, n))))
    np.testing.assert_array_equal(source.read(*box), whole[tuple(box)])


def test_masks_keep_their_classes_and_fit_the_image():
    mask = image_of((1, 31, 17), np.uint8) % 3
    mask[0, 3, 4] = 255
    for zoom in (0.5, 0.71, 1.0, 1.41, 2.0):
        found = zoomed_mask(mask, zoom)
        source = ZoomedSource(ArraySource(mask[..., None]), zoom)
        assert found.shape == source.info.shape_zyxc[:3]
        assert set(np.unique(found)) <= {0, 1, 2, 255}
    np.testing.assert_array_equal(zoomed_mask(mask, 1.0), mask)
    np.testing.assert_array_equal(zoomed_mask(mask, 2.0)[:, ::2, 1::2], mask)


def test_pixels_of_a_larger_image_are_smaller():
    source = ArraySource(image_of((1, 8, 8, 1), np.uint8), (1.0, 0.2, 0.4))
    assert ZoomedSource(source, 2.0).info.pixel_size_um == (1.0, 0.1, 0.2)


@pytest.mark.parametrize("zoom", [0.0, -1.0, float("nan")])
def test_a_zoom_of_nothing_is_refused(zoom):
    with pytest.raises(InputError, match="zoom must be above 0"):
        ZoomedSource(ArraySource(image_of((1, 8, 8, 1), np.uint8)), zoom)
