import json

import numpy as np
import pytest
import tifffile

from spixgraph.cli import main
from spixgraph.errors import InputError, ResourceError
from tests.toy_bundle import BASINS, RECIPE, blob_image, write_toy_bundle


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "i.tif"
    tifffile.imwrite(path, np.zeros((600, 1100), np.uint8))
    return path


def plan(*args):
    return main(["--debug", "plan", *map(str, args)])


def run(capsys, *args):
    with pytest.raises(SystemExit) as end:
        plan(*args)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_figures_are_printed(capsys, image):
    printed = run(capsys, image, "--workers", 2)
    assert printed.startswith("i.tif: 0.7 megapixels, about 1,980 superpixels\n")
    for word in ("memory", "disk", "time"):
        assert f"\n{word} " in printed


def test_a_cluster_is_counted_by_process(capsys, image):
    figures = json.loads(run(capsys, image, "--dask", "--json"))
    assert figures["worker_thread_bytes"] < figures["worker_bytes"] < 400e6
    assert "\nworker " in run(capsys, image, "--dask")
    least = max(figures["worker_bytes"], figures["peak_bytes"])
    run(capsys, image, "--dask", "--max-memory", f"{2 * least / 1e6:.0f}MB")
    with pytest.raises(ResourceError, match=r"a worker of 1 thread\(s\) needs \d+ MB"):
        plan(image, "--dask", "--max-memory", "200MB")
    with pytest.raises(InputError, match="leave --model out"):
        plan(image, "--dask", "--model", ".")


def test_a_model_and_a_region_count(capsys, tmp_path, image):
    bundle = write_toy_bundle(tmp_path / "b", source=blob_image(), recipe=BASINS)
    alone = json.loads(run(capsys, image, "--nodes-per-megapixel", 4000, "--json"))
    whole = json.loads(run(capsys, image, "--model", bundle, "--json"))
    part = json.loads(run(capsys, image, "--model", bundle, "--json", "--roi", "0:256,0:512"))
    assert whole["superpixels"] == 2640
    assert part["megapixels"] == pytest.approx(0.131072)
    assert part["seconds"] < whole["seconds"]
    assert alone["seconds"] < whole["seconds"]
    assert part["disk_bytes"] < whole["disk_bytes"]


def test_what_does_not_go_is_said(tmp_path, image):
    slic = write_toy_bundle(tmp_path / "s", source=blob_image(), recipe=RECIPE)
    basins = write_toy_bundle(tmp_path / "b", source=blob_image(), recipe=BASINS)
    with pytest.raises(InputError, match="slic superpixels, which are made in memory"):
        plan(image, "--model", slic)
    with pytest.raises(InputError, match="leave it out"):
        plan(image, "--model", basins, "--nodes-per-megapixel", 9)
    with pytest.raises(ResourceError, match=r"allow \d+ MB"):
        plan(image, "--model", basins, "--max-memory", "1MB")
