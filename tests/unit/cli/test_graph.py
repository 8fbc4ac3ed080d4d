"""The command `spixgraph graph`."""

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from spixgraph.cli.graph import graph, parse_bytes, parse_roi
from spixgraph.errors import InputError
from spixgraph.graph.region_graph import load_graph
from tests.unit.graph.stream.images import pixels_of


def test_the_command_writes_a_graph(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of((1, 300, 530, 1))[0, ..., 0])
    out = tmp_path / "g.zarr"
    arguments = [str(tmp_path / "a.tif"), str(out), "--nodes-per-megapixel", "5000"]
    done = CliRunner().invoke(graph, [*arguments, "--roi", "0:256,256:530", "--max-memory", "2GB"])
    assert done.exit_code == 0, done.output
    assert "superpixels" in done.output
    assert "0.1 megapixels" in done.output
    assert load_graph(out).source.shape_zyx == (1, 256, 274)
    refused = CliRunner().invoke(graph, [*arguments, "--block-px", "4"])
    assert "--block-px 4 must be" in str(refused.exception)
    cluster = ["--dask", "local", "--workers", "1", "--max-memory", "90MB"]
    refused = CliRunner().invoke(graph, [*arguments, *cluster])
    assert "a worker of 1 thread(s) needs" in str(refused.exception)
    bad = CliRunner().invoke(graph, [arguments[0], str(tmp_path / "g.npz")])
    assert isinstance(bad.exception, InputError)


def test_a_part_of_a_volume(tmp_path):
    pixels = pixels_of((70, 40, 50, 1))[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "ZYX"})
    arguments = [str(tmp_path / "a.tif"), str(tmp_path / "g.zarr"), "--roi", "64:70,0:40,0:50"]
    done = CliRunner().invoke(graph, [*arguments, "--pixel-size-um", "1", "1", "1"])
    assert done.exit_code == 0, done.output
    found = load_graph(tmp_path / "g.zarr")
    assert found.source.params["is_volume"]
    assert found.n_pixels.sum() == 6 * 40 * 50
    np.testing.assert_array_equal(found.centroid_px[:, 0] >= 64, True)


def test_sizes_and_regions_are_parsed():
    assert parse_bytes("2GB") == 2 * 10**9
    assert parse_bytes("1.5 MiB") == 1.5 * 2**20
    assert parse_bytes("1000") == 1000
    assert parse_roi("0:256, 512:1024") == (slice(None), slice(0, 256), slice(512, 1024))
    assert parse_roi("4:8,0:256,512:1024") == (slice(4, 8), slice(0, 256), slice(512, 1024))
    for bad in ("", "2 parsecs"):
        with pytest.raises(InputError, match="not a size"):
            parse_bytes(bad)
    with pytest.raises(InputError, match="Y0:Y1"):
        parse_roi("256")
