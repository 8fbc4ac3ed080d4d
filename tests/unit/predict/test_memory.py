import subprocess
import sys

import numpy as np
import pytest
import tifffile

from spixgraph.config.recipe import BasinParams, GraphRecipe, PaperParams, SlicParams
from spixgraph.errors import ResourceError
from spixgraph.predict import memory
from spixgraph.predict.card import MemoryContract
from tests.toy_bundle import blob_image, write_toy_bundle

CONTRACT = MemoryContract(base_bytes=1000, bytes_per_pixel=2.5)


def test_prediction_is_linear_in_the_pixels():
    assert memory.predict_peak_bytes((1, 10, 20, 3), CONTRACT) == 1500
    assert memory.predict_peak_bytes((4, 10, 20, 3), CONTRACT) == 3000


def test_image_at_the_limit_passes_and_above_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 1500)
    memory.require_memory((1, 10, 20, 1), CONTRACT)
    with pytest.raises(ResourceError, match=r"\(1, 10, 21, 1\).*more memory.*megapixels"):
        memory.require_memory((1, 10, 21, 1), CONTRACT)


def test_message_has_the_figures(monkeypatch):
    contract = MemoryContract(base_bytes=100 * 2**20, bytes_per_pixel=100.0)
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 200 * 2**20)
    with pytest.raises(ResourceError, match=r"953 MiB.*200 MiB.*at most 1\.0 megapixels"):
        memory.require_memory((1, 2990, 2990, 1), contract)


MEASURE = """
import sys
from pathlib import Path
from spixgraph.io.images import open_image
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.driver import segment_source
from spixgraph.resources import PeakMemory

bundle = load_bundle(Path(sys.argv[1]))
with open_image(Path(sys.argv[2])) as source, PeakMemory() as peak:
    segment_source(source, bundle)
print(peak.above_baseline_bytes)
"""


@pytest.mark.parametrize(
    ("recipe", "n_channels"),
    [
        (GraphRecipe(superpixels=BasinParams(nodes_per_megapixel=3000)), 1),
        (GraphRecipe(superpixels=SlicParams(nodes_per_megapixel=3000), graph=PaperParams()), 1),
        (GraphRecipe(superpixels=SlicParams(nodes_per_megapixel=3000), graph=PaperParams()), 3),
    ],
)
def test_prediction_holds_within_a_fifth(tmp_path, recipe, n_channels):
    if sys.platform != "linux":
        pytest.skip("the figures are of Linux's memory allocator")
    small = blob_image(64, channels=n_channels)
    path = write_toy_bundle(tmp_path / "bundle", source=small, recipe=recipe)
    shape = (1448, 1448, n_channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tifffile.imwrite(tmp_path / "i.tif", pixels.squeeze(), tile=(256, 256))
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "i.tif")]
    for _ in range(2):  # the first one may compile the kernels, which takes 50 MB more
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    contract = memory.memory_contract(recipe, n_channels, hidden=2)
    predicted = memory.predict_peak_bytes((1, *shape), contract)
    assert predicted == pytest.approx(int(done.stdout), rel=0.2)


def test_many_nodes_make_the_network_the_peak():
    def slope(nodes, hidden=64, members=1):
        slic = SlicParams(nodes_per_megapixel=nodes)
        recipe = GraphRecipe(superpixels=slic, graph=PaperParams())
        return memory.memory_contract(recipe, 1, hidden=hidden, members=members).bytes_per_pixel

    assert slope(500) == slope(2000)
    assert slope(20_000) > slope(10_000) > slope(2000)
    assert slope(20_000, hidden=128) > 1.6 * slope(20_000)
    assert slope(20_000, members=5) > slope(20_000, members=3) > slope(20_000)
