import json
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

import spixgraph.cli.segment as command
from spixgraph.cli import main
from spixgraph.errors import InputError, ResourceError
from spixgraph.io.masks import read_mask
from spixgraph.predict import memory
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.driver import segment_source
from tests.toy_bundle import BASINS, RECIPE, blob_image, write_toy_bundle

ALL = slice(None)


@pytest.fixture(scope="module", params=[BASINS, RECIPE], ids=["basins", "slic"])
def bundle(request, tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=request.param)


@pytest.fixture(scope="module")
def slic_bundle(tmp_path_factory):
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=RECIPE)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(blob_image(seed=5).read(ALL, ALL, ALL)[0, ..., 0]).save(path)
    return path


@pytest.fixture
def no_work(monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("work was started")

    monkeypatch.setattr(command, "open_model", fail)
    monkeypatch.setattr(command, "segment_to_file", fail)
    monkeypatch.setattr(command, "segment_whole", fail)


def segment(*args):
    return main(["--debug", "segment", *map(str, args)])


def run(capsys, *args):
    """Run the command; it ends by exit status 0."""
    with pytest.raises(SystemExit) as end:
        segment(*args)
    assert end.value.code == 0
    return capsys.readouterr()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".zarr"])
def test_mask_is_that_of_the_driver(capsys, tmp_path, bundle, image, suffix):
    out = tmp_path / f"mask{suffix}"
    run(capsys, image, out, "--model", bundle)
    wanted = segment_source(blob_image(seed=5), load_bundle(bundle)).mask
    np.testing.assert_array_equal(read_mask(out), wanted)


def test_summary_as_json(capsys, tmp_path, bundle, image):
    out = tmp_path / "mask.tif"
    args = (image, out, "--model", bundle, "--json", "--pixel-size-um", 1, 0.5, 0.5)
    printed = run(capsys, *args)
    summary = json.loads(printed.out)
    mask = read_mask(out)
    for row in summary["classes"]:
        assert row["pixels"] == (mask == row["id"]).sum()
        assert row["um2"] == row["pixels"] * 0.25
    assert sum(row["fraction"] for row in summary["classes"]) == pytest.approx(1)
    assert summary["n_pixels"] == mask.size
    steps = {"graph", "network", "mask", "write"}
    assert steps <= set(summary["seconds"]) <= {*steps, "read", "superpixels"}


def test_summary_for_people(capsys, tmp_path, bundle, image):
    printed = run(capsys, image, tmp_path / "mask.png", "--model", bundle)
    assert "background" in printed.out
    assert "superpixels" in printed.out
    assert "µm" not in printed.out  # a PNG has no pixel size, so there is no area


def test_far_pixel_size_is_said_once(capsys, tmp_path, bundle, image, caplog):
    run(capsys, image, tmp_path / "m.png", "--model", bundle, "--pixel-size-um", 1, 5, 5)
    assert caplog.text.count("far outside") == 1


def test_probabilities(capsys, tmp_path, bundle, image):
    shares = tmp_path / "p.tif"
    run(capsys, image, tmp_path / "mask.tif", "--model", bundle, "--probabilities", shares)
    stored = tifffile.imread(shares).astype(int)
    assert stored.shape == (2, 48, 48)
    assert np.abs(stored.sum(0) - 255).max() <= 1
    clear = stored[0] != stored[1]
    mask = read_mask(tmp_path / "mask.tif")[0]
    np.testing.assert_array_equal(stored.argmax(0)[clear], mask[clear])


@pytest.mark.usefixtures("no_work")
def test_unknown_suffix_fails_before_the_work(capsys, tmp_path, bundle, image):
    with pytest.raises(SystemExit, match="1"):
        main(["segment", str(image), str(tmp_path / "mask.bmp"), "--model", str(bundle)])
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("out", "message"),
    [("none/mask.png", "does not exist; make it"), ("mask.jpg", "must end in one of")],
)
def test_out_is_checked_first(tmp_path, bundle, image, out, message):
    with pytest.raises(InputError, match=message):
        segment(image, tmp_path / out, "--model", bundle)


@pytest.mark.usefixtures("no_work")
def test_image_is_not_replaced_by_its_mask(tmp_path, bundle, image):
    before = image.read_bytes()
    with pytest.raises(InputError, match="must be different files"):
        segment(image, tmp_path / "." / image.name, "--model", bundle)
    assert image.read_bytes() == before


@pytest.mark.usefixtures("no_work")
def test_folder_without_permission_fails_first(tmp_path, bundle, image, monkeypatch):
    may = os.access  # root may write everywhere, so the answer is made up
    monkeypatch.setattr(os, "access", lambda p, mode: p != tmp_path and may(p, mode))
    with pytest.raises(InputError, match="is not writable"):
        segment(image, tmp_path / "mask.png", "--model", bundle)


@pytest.mark.usefixtures("no_work")
def test_image_too_large_for_memory_fails_first(tmp_path, slic_bundle, monkeypatch):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 60_000_000)
    large = tmp_path / "large.tif"
    tifffile.imwrite(large, np.zeros((400, 400), np.uint8))
    with pytest.raises(ResourceError, match="MiB are available"):
        segment(large, tmp_path / "mask.png", "--model", slic_bundle)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("options", [("--resume",), ("--roi", "0:9,0:9"), ("--max-memory", "1GB")])
def test_slic_models_work_in_memory(tmp_path, slic_bundle, image, options):
    with pytest.raises(InputError, match="slic superpixels, which are made in memory"):
        segment(image, tmp_path / "mask.png", "--model", slic_bundle, *options)


@pytest.mark.usefixtures("no_work")
def test_volume_cannot_go_to_a_png(tmp_path, bundle):
    volume = tmp_path / "v.tif"
    pixels = np.zeros((3, 8, 8), np.uint8)
    tifffile.imwrite(volume, pixels, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="a PNG has no Z, the mask has 3 slices"):
        segment(volume, tmp_path / "mask.png", "--model", bundle)
