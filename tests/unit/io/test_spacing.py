import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from spixgraph.io.images import ArraySource, open_image
from spixgraph.io.spacing import measured_spacing
from tests.real_data import real_data


def blobs(shape=(40, 90, 70), *, sigma=2.0, channels=1, seed=3):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(*shape, channels)), (sigma, 2.0, 2.0, 0))
    noise = rng.normal(0, 0.1 * image.std(), image.shape)
    image = (image - image.min()) / np.ptp(image) + noise
    return (image.clip(0, 1) * 60_000).astype(np.uint16)


def spacing_of(pixels):
    return measured_spacing(ArraySource(pixels))


@pytest.mark.parametrize(
    ("every", "wanted"), [(1, (1.0, 1.0, 1.0)), (2, (2.0, 1.0, 1.0)), (5, None)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_slices_lie_as_far_apart_as_they_look(every, wanted, channels):
    assert spacing_of(blobs(channels=channels)[::every]) == wanted


def test_units_and_the_brightness_of_slices_do_not_matter():
    pixels = blobs()
    brighter = pixels // 4 + np.arange(len(pixels), dtype=np.uint16)[:, None, None, None] * 900
    assert spacing_of(brighter) == spacing_of(pixels // 4) == (1.0, 1.0, 1.0)


def test_what_does_not_hang_together_has_no_spacing():
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (20, 80, 80, 1), np.uint8)
    assert spacing_of(noise) is None
    assert spacing_of(blobs(sigma=0)) is None
    assert spacing_of(np.full((5, 70, 70, 1), 9, np.uint8)) is None
    assert spacing_of(blobs()[:1]) is None
    assert spacing_of(blobs()[:, :4]) is None


def test_two_small_slices_are_enough():
    assert spacing_of(blobs()[:2, :20, :20]) == (1.0, 1.0, 1.0)


def test_a_file_is_measured_where_it_does_not_say(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, blobs()[..., 0], metadata={"axes": "ZYX"})
    with open_image(path) as source:
        assert source.info.pixel_size_um is None
        assert source.info.spacing_zyx == (1.0, 1.0, 1.0)
    with open_image(path, pixel_size_um=(9.0, 1.0, 1.0)) as source:
        assert source.info.spacing_zyx == (9.0, 1.0, 1.0)


def test_little_is_read():
    n_read = 0

    class Counting(ArraySource):
        def read(self, z, y, x):
            nonlocal n_read
            block = super().read(z, y, x)
            n_read += block.size
            return block

    measured_spacing(Counting(np.zeros((50, 300, 300, 1), np.uint8)))
    assert n_read == 16 * 2 * 64 * 64


def test_electron_microscopy_of_equal_spacing_is_seen_as_such():
    with open_image(real_data("flyem_medulla3d") / "images" / "z064-087.tif") as source:
        assert source.info.spacing_zyx == (1.0, 1.0, 1.0)
