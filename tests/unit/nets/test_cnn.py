from functools import partial

import numpy as np
import pytest
import torch

from spixgraph.arrays import ImageZYXC, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.nets.cnn import (
    PixelUNet,
    auto_window,
    build_cnn,
    cnn_probabilities,
    pad_by_reflection,
    predict_cnn,
    predict_cnn_rows,
    require_window,
    standardised,
)

CHANNELS = (4, 6, 8)
WINDOW_2D: ShapeZYX = (1, 16, 16)
WINDOW_3D: ShapeZYX = (4, 16, 16)


def build(n_dims: int) -> PixelUNet:
    torch.manual_seed(0)
    return build_cnn(n_dims=n_dims, n_channels=2, n_classes=3, channels=CHANNELS).eval()


def picture(shape: ShapeZYX) -> ImageZYXC:
    return np.random.default_rng(0).random((*shape, 2), np.float32)


@pytest.mark.parametrize(
    ("n_dims", "shape"),
    [(2, (1, 16, 16)), (2, (1, 5, 37)), (2, (1, 1, 1)), (3, (4, 16, 16)), (3, (9, 20, 6))],
)
def test_any_size_is_predicted(n_dims: int, shape: ShapeZYX) -> None:
    window = WINDOW_2D if n_dims == 2 else WINDOW_3D
    net, image = build(n_dims), picture(shape)
    probabilities = cnn_probabilities(net, image, window_zyx=window, overlap=0.25, device="cpu")
    assert probabilities.shape == (3, *shape)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    mask = predict_cnn(net, image, window_zyx=window, overlap=0.25, device="cpu")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, probabilities.argmax(0))


@torch.no_grad()
def test_one_window_is_the_plain_network() -> None:
    net, image = build(2), picture(WINDOW_2D)
    pixels = standardised(image)[0].transpose(2, 0, 1)
    wanted = net(torch.from_numpy(pixels[None])).softmax(1)[0].numpy()
    got = cnn_probabilities(net, image, window_zyx=WINDOW_2D, overlap=0.25, device="cpu")
    np.testing.assert_allclose(got[:, 0], wanted, atol=1e-5)


def test_each_channel_is_standardised_by_its_own_image() -> None:
    image = standardised(picture((2, 9, 7)) * np.array([0.2, 5.0], np.float32) + 1)
    np.testing.assert_allclose(image.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(image.std((0, 1, 2)), 1, atol=1e-4)
    assert np.isfinite(standardised(np.zeros((1, 4, 4, 1), np.float32))).all()


def test_a_darker_copy_gets_the_same_mask() -> None:
    net, image = build(2), picture((1, 20, 33))
    predict = partial(cnn_probabilities, net, window_zyx=WINDOW_2D, overlap=0.25, device="cpu")
    got, wanted = predict(image * np.float32(0.4)), predict(image)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@torch.no_grad()
def test_windows_are_put_together_without_seams() -> None:
    """A network that sees one pixel at a time gives the same in windows as on the whole."""
    net, image = build(2), picture((1, 40, 53))
    net.unet = torch.nn.Conv2d(2, 3, 1)
    pixels = standardised(image)[0].transpose(2, 0, 1)
    wanted = net(torch.from_numpy(pixels[None])).softmax(1)[0].numpy()
    got = cnn_probabilities(net, image, window_zyx=WINDOW_2D, overlap=0.25, device="cpu")
    np.testing.assert_allclose(got[:, 0], wanted, atol=1e-5)


def test_reflection_pads_the_far_ends_alone() -> None:
    image = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    padded = pad_by_reflection(image, (1, 2, 6))
    assert padded[0, :, :, 0].tolist() == [[0, 1, 2, 3, 2, 1]] * 2
    assert pad_by_reflection(image, (1, 1, 3)) is image


@pytest.mark.parametrize(
    ("n_dims", "window", "fits"),
    [
        (2, (1, 192, 192), True),
        (2, (1, 100, 100), False),
        (2, (1, 16, 16), False),
        (2, (2, 64, 64), False),
        (3, (16, 64, 64), True),
        (3, (6, 64, 64), False),
    ],
)
def test_windows_that_cannot_be_halved_are_refused(
    n_dims: int, window: ShapeZYX, fits: bool
) -> None:
    if fits:
        require_window(window, n_dims=n_dims, levels=5)
        net = build_cnn(n_dims=n_dims, n_channels=1, n_classes=2, channels=(1, 1, 1, 1, 1))
        assert net.eval()(torch.zeros(1, 1, *window[3 - n_dims :])).shape[2:] == window[-n_dims:]
    else:
        with pytest.raises(InputError, match="multiple"):
            require_window(window, n_dims=n_dims, levels=5)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="n_dims"):
        build_cnn(n_dims=1, n_channels=1, n_classes=2, channels=CHANNELS)
    with pytest.raises(InputError, match="Z must be 1"):
        predict_cnn(build(2), picture((2, 16, 16)), window_zyx=WINDOW_2D, overlap=0.2, device="cpu")


@torch.no_grad()
@pytest.mark.parametrize(("n_dims", "shape"), [(2, (1, 100, 45)), (3, (5, 40, 33))])
def test_bands_are_what_monai_gives_for_the_whole(n_dims: int, shape: ShapeZYX) -> None:
    from monai.inferers import sliding_window_inference

    window = WINDOW_2D if n_dims == 2 else WINDOW_3D
    net, image = build(n_dims).eval(), picture(shape)
    padded = pad_by_reflection(standardised(image), window)
    pixels = torch.from_numpy(np.moveaxis(padded, -1, 0)[None])
    wanted = sliding_window_inference(
        pixels if n_dims == 3 else pixels[:, :, 0], window[3 - n_dims :], 4,
        lambda part: net(part).softmax(1), overlap=0.25, mode="gaussian",
    )[0]  # fmt: skip
    got = cnn_probabilities(net, image, window_zyx=window, overlap=0.25, device="cpu")
    wanted_whole = wanted.reshape(-1, *padded.shape[:3])[:, : shape[0], : shape[1], : shape[2]]
    np.testing.assert_allclose(got, wanted_whole.numpy(), atol=2e-3)


def test_rows_are_read_a_band_at_a_time() -> None:
    net, image = build(2), picture((1, 400, 20))
    asked: list[slice] = []

    def read(rows: slice) -> ImageZYXC:
        asked.append(rows)
        return image[:, rows]

    mask = predict_cnn_rows(
        net, read, (1, 400, 20), window_zyx=WINDOW_2D, overlap=0.25, device="cpu"
    )
    wanted = predict_cnn(net, image, window_zyx=WINDOW_2D, overlap=0.25, device="cpu")
    np.testing.assert_array_equal(mask, wanted)
    assert max(rows.stop - rows.start for rows in asked) <= 256
    assert sum(rows.stop - rows.start for rows in asked) <= 3 * 400


@pytest.mark.parametrize(
    ("n_dims", "shape", "wanted"),
    [
        (2, (1, 1024, 1024), (1, 192, 192)),
        (2, (1, 512, 9072), (1, 192, 192)),
        (2, (1, 100, 300), (1, 112, 192)),
        (2, (1, 7, 7), (1, 32, 32)),
        (3, (3, 200, 200), (4, 64, 64)),
        (3, (60, 40, 300), (16, 48, 64)),
    ],
)
def test_the_patch_fits_the_images(n_dims: int, shape: ShapeZYX, wanted: ShapeZYX) -> None:
    window = auto_window([shape], n_dims=n_dims, levels=5)
    assert window == wanted
    require_window(window, n_dims=n_dims, levels=5)
