"""Runs that are killed, interrupted, or fail: what is left, and what going on gives."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.driver import part_of
from spixgraph.graph.stream.store import WORK
from spixgraph.io.images import ArraySource, open_image
from tests.unit.graph.stream import stoppable
from tests.unit.graph.stream.images import CountingSource, pixels_of
from tests.unit.graph.stream.run_and_die import BLOCK, NODES, SHAPE, SIZE

ROOT = Path(__file__).resolve().parents[4]
NEVER = 10**9
KNOWN: dict[str, Any] = {"nodes_per_megapixel": NODES, "block_zyx": (1, 32, 32)}


class FailingSource(CountingSource):
    """An image that cannot be read below some row."""

    def __init__(self, pixels, row, error):
        super().__init__(pixels)
        self.row, self.error = row, error

    def read(self, z, y, x):
        if y.stop > self.row and x.stop - x.start == self.info.shape_zyxc[2]:
            raise self.error
        return super().read(z, y, x)


@pytest.fixture
def many_strips(monkeypatch):
    """Let an image of 400 x 150 be larger than the sample."""
    monkeypatch.setattr("spixgraph.io.sample.SAMPLE_PX", 10_000)
    monkeypatch.setattr("spixgraph.graph.stream.image_plan.SAMPLE_PX", 10_000)
    monkeypatch.setattr("spixgraph.io.sample.SPREAD_PX", 10_000)
    monkeypatch.setattr("spixgraph.io.sample._PART_ZYX", (1, 64, 64))
    return pixels_of((1, 400, 150, 1))


def run_and_die(out, last, resume):
    """Return the exit status of a run in a process of its own."""
    script = Path(__file__).with_name("run_and_die.py")
    arguments = [sys.executable, script, out, str(last), "resume" if resume else "anew"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path):
    source = ArraySource(pixels_of(SHAPE), SIZE)
    stream_graph(source, tmp_path / "whole.zarr", nodes_per_megapixel=NODES, block_zyx=BLOCK)
    out, resume = tmp_path / "killed.zarr", False
    for last in np.random.default_rng(1).integers(10, 120, 4).tolist():
        assert run_and_die(out, last, resume) == -signal.SIGKILL
        assert not out.exists()
        resume = True
    assert run_and_die(out, NEVER, resume) == 0
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.zarr", "whole.zarr"]


def test_a_run_that_failed_goes_on(tmp_path, many_strips):
    out = tmp_path / "g.zarr"
    failing = FailingSource(many_strips, 300, StoredDataError("a.tif is truncated"))
    with pytest.raises(StoredDataError, match="truncated"):
        stream_graph(failing, out, workers=2, **KNOWN)
    assert not out.exists()
    failing.row, failing.n_read[...] = 10**6, 0
    with pytest.raises(InputError, match="--resume"):
        stream_graph(failing, out, **KNOWN)
    done: list[int] = []
    stream_graph(failing, out, resume=True, progress=done.append, **KNOWN)
    assert done[0] > 0
    assert sum(done) == many_strips.size
    assert failing.n_read[0, :, -1].tolist().count(0) >= 64  # rows of finished strips
    stream_graph(ArraySource(many_strips), tmp_path / "whole.zarr", **KNOWN)
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole.zarr")


def test_a_part_of_another_run_is_refused(tmp_path, many_strips):
    out = tmp_path / "g.zarr"
    failing = FailingSource(many_strips, 300, StoredDataError("truncated"))
    with pytest.raises(StoredDataError, match="truncated"):
        stream_graph(failing, out, **KNOWN)
    for source, options, named in (
        (ArraySource(many_strips[:, ::-1].copy()), {}, "merge_cost"),
        (ArraySource(many_strips), {"nodes_per_megapixel": 900}, "nodes_per_megapixel"),
        (ArraySource(many_strips), {"roi": (slice(None), slice(0, 64), slice(None))}, "box_zyx"),
    ):
        with pytest.raises(InputError, match=named) as refused:
            stream_graph(source, out, resume=True, **{**KNOWN, **options})
        assert "delete it" in str(refused.value)
    assert part_of(out).exists()
    (part_of(out) / WORK / "x").write_bytes(b"")
    with pytest.raises(StoredDataError, match="journal"):
        stream_graph(ArraySource(many_strips), out, resume=True, **KNOWN)


def test_a_run_without_a_finished_strip_leaves_nothing(tmp_path, many_strips):
    for error in (OSError("unplugged"), KeyboardInterrupt()):
        failing = FailingSource(many_strips, 60, error)
        with pytest.raises(type(error)):
            stream_graph(failing, tmp_path / "g.zarr", **KNOWN)
        assert list(tmp_path.iterdir()) == []
    part_of(tmp_path / "g.zarr").mkdir()  # of a run that was killed before
    stream_graph(ArraySource(many_strips), tmp_path / "g.zarr", **KNOWN)
    assert [p.name for p in tmp_path.iterdir()] == ["g.zarr"]


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels_of((1, 400, 400, 1))[0, ..., 0], tile=(64, 64))
    path.write_bytes(path.read_bytes()[:90_000])
    with pytest.raises(StoredDataError, match=r"a\.tif"), open_image(path) as source:
        stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_full_disk_says_so_and_the_run_goes_on(tmp_path, many_strips):
    out = tmp_path / "g.zarr"
    stream_graph(ArraySource(many_strips), tmp_path / "whole.zarr", **KNOWN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(ResourceError, match=r"no room for .*--resume"):
            stream_graph(ArraySource(many_strips), out, **KNOWN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not out.exists()
    stream_graph(ArraySource(many_strips), out, resume=True, **KNOWN)
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole.zarr")


def test_control_c_is_one_line_that_says_how_to_go_on(tmp_path):
    pixels = np.tile(pixels_of((1, 1024, 512, 1))[0, ..., 0], (40, 1))
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    out = tmp_path / "g.zarr"
    arguments = ["graph", tmp_path / "a.tif", out, "--workers", "1"]
    command = [sys.executable, stoppable.__file__, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        journal = part_of(out) / WORK / "journal"
        while run.poll() is None and not (journal.exists() and len(journal.read_text()) > 900):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate()
    assert run.returncode == 1, error
    assert error.strip().splitlines()[-1].startswith("Error: stopped after ")
    assert "--resume" in error
    assert "Traceback" not in error
    assert not out.exists()
    with open_image(tmp_path / "a.tif") as source:
        stream_graph(source, out, nodes_per_megapixel=3000, resume=True)
        stream_graph(source, tmp_path / "whole.zarr", nodes_per_megapixel=3000)
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole.zarr")
