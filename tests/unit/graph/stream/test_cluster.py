"""The pass on a real Dask cluster of processes: same bytes, dead workers, what is refused."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import dask
import psutil
import pytest
import tifffile
from distributed import Future

from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.cluster import ClusterPass, connected, tasks
from spixgraph.graph.stream.driver import part_of
from spixgraph.graph.stream.store import WORK
from spixgraph.io.images import open_image
from tests.unit.graph.stream import stoppable
from tests.unit.graph.stream.images import pixels_of

NODES = 5000
VOXEL = (1.0, 1.0, 1.0)
CASES: dict[str, Any] = {
    "image": ((1, 200, 150, 2), {}, {"block_zyx": (1, 32, 48)}),
    "part": (
        (1, 130, 120, 1), {},
        {"block_zyx": (1, 32, 32), "roi": (slice(None), slice(32, 130), slice(0, 96))},
    ),
    "stack": (
        (3, 90, 70, 1), {"axes": "ZYX", "pixel_size_um": (9.0, 1.0, 1.0)},
        {"block_zyx": (1, 32, 32)},
    ),
    "volume": (
        (40, 50, 60, 1), {"axes": "ZYX", "pixel_size_um": VOXEL}, {"block_zyx": (16, 16, 16)},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def client():
    with connected("local", workers=2) as client:
        yield client


def written(folder, shape, seed=1):
    """Write an image as TIFF."""
    path = folder / "a.tif"
    pixels = pixels_of(shape, seed=seed)
    pixels = pixels[0] if shape[0] == 1 else pixels[..., 0]
    axes = {"axes": "YXC" if shape[0] == 1 else "ZYX"}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=axes)
    return path


@pytest.mark.parametrize("name", CASES)
def test_a_cluster_gives_the_bytes_of_one_machine(tmp_path, client, name):
    shape, opened, options = CASES[name]
    path = written(tmp_path, shape)
    done: list[int] = []
    with open_image(path, **opened) as source:
        alone = stream_graph(source, tmp_path / "a.zarr", nodes_per_megapixel=NODES, **options)
        stream_graph(
            source, tmp_path / "b.zarr", nodes_per_megapixel=NODES, progress=done.append,
            block_px=40, run=ClusterPass(client, path, **opened), **options,
        )  # fmt: skip
    assert alone.region.n_strips > 3
    assert sha256_tree(tmp_path / "a.zarr") == sha256_tree(tmp_path / "b.zarr")
    assert sum(done) == alone.labels.size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "a.zarr", "b.zarr"]


@pytest.mark.parametrize("name", ["image", "volume"])
def test_a_worker_that_is_killed_costs_no_byte(tmp_path, client, name):
    shape, opened, options = CASES[name]
    path = written(tmp_path, shape)
    pids = client.run(os.getpid)
    killed = []

    def kill_one(_):
        """Kill the worker that holds most strips, once some are finished."""
        killed.append(0)
        if len(killed) == 3:
            held = {worker: len(keys) for worker, keys in client.has_what().items()}
            victim = max(held, key=lambda worker: held[worker])
            assert held[victim] > 0
            os.kill(pids[victim], signal.SIGKILL)

    with open_image(path, **opened) as source:
        stream_graph(source, tmp_path / "a.zarr", nodes_per_megapixel=NODES, **options)
        stream_graph(
            source, tmp_path / "b.zarr", nodes_per_megapixel=NODES, progress=kill_one,
            run=ClusterPass(client, path, **opened), **options,
        )  # fmt: skip
    client.wait_for_workers(2)
    assert len(set(pids.values()) - set(client.run(os.getpid).values())) == 1
    assert sha256_tree(tmp_path / "a.zarr") == sha256_tree(tmp_path / "b.zarr")


def test_a_file_that_breaks_is_named_and_the_run_goes_on_elsewhere(tmp_path, client, monkeypatch):
    monkeypatch.setattr("spixgraph.graph.stream.image_plan.SAMPLE_PX", 10_000)
    monkeypatch.setattr("spixgraph.io.sample.SAMPLE_PX", 10_000)
    monkeypatch.setattr("spixgraph.io.sample.SPREAD_PX", 10_000)
    monkeypatch.setattr("spixgraph.io.sample._PART_ZYX", (1, 64, 64))
    path = written(tmp_path, (1, 400, 150, 1))
    options: dict[str, Any] = {"nodes_per_megapixel": NODES, "block_zyx": (1, 32, 32)}
    whole = path.read_bytes()
    out = tmp_path / "b.zarr"
    with open_image(path) as source:
        stream_graph(source, tmp_path / "a.zarr", **options)
        path.write_bytes(whole[: len(whole) * 3 // 4])
        with pytest.raises(StoredDataError, match=r"a\.tif"):
            stream_graph(source, out, run=ClusterPass(client, path), **options)
    path.write_bytes(whole)
    with open_image(path) as source:
        stream_graph(source, out, resume=part_of(out).exists(), **options)
    assert sha256_tree(tmp_path / "a.zarr") == sha256_tree(out)


def test_workers_that_cannot_work_are_named_before_anything_runs(tmp_path, client, monkeypatch):
    path = written(tmp_path, (1, 100, 90, 1))
    run, out = ClusterPass(client, tmp_path / "moved.tif"), tmp_path / "g.zarr"
    options: dict[str, Any] = {"nodes_per_megapixel": NODES}
    with open_image(path) as source:
        with pytest.raises(ResourceError, match=r"2 of 2 .*moved\.tif is not there.*same absolute"):
            stream_graph(source, out, run=run, **options)
        other = written(tmp_path / "..", (1, 100, 80, 1)).rename(tmp_path / "moved.tif")
        with pytest.raises(InputError, match=r"moved\.tif is another image"):
            stream_graph(source, out, run=run, **options)
        assert other.exists()
        monkeypatch.setattr(tasks, "versions", lambda: {"numpy": "1.0"})
        with pytest.raises(ResourceError, match=r"it has numpy \d.*, the coordinator 1\.0"):
            stream_graph(source, out, run=ClusterPass(client, path), **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "moved.tif"]


def die(*_):
    """Go as a worker goes that the kernel kills for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_strip_that_kills_its_workers_ends_the_run(tmp_path, monkeypatch):
    path = written(tmp_path, (1, 100, 90, 1))
    monkeypatch.setattr(tasks, "describe_strip", die)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        connected("local") as client,
        open_image(path) as source,
    ):
        run = ClusterPass(client, path)
        with pytest.raises(ResourceError, match=r"describe-\w+-0 took 1 workers down.*fewer thr"):
            stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, run=run)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def break_off(*_):
    """Fail as the task of a broken file does."""
    raise StoredDataError("a.tif broke off")


def take_too_long(*_):
    """Fail as a task that waited for a store in vain."""
    raise TimeoutError("a.tif took too long")


@pytest.mark.parametrize(
    ("task", "error"), [(break_off, StoredDataError), (take_too_long, TimeoutError)]
)
def test_a_task_that_fails_as_the_wait_for_it_ends_is_told_by_its_own_error(
    tmp_path, client, monkeypatch, task, error
):
    path = written(tmp_path, (1, 100, 90, 1))
    monkeypatch.setattr(tasks, "describe_strip", task)
    result, n_late = Future.result, []

    def late(future, timeout=None):
        """Time out in the moment in which the task has failed."""
        if timeout is None:
            return result(future)
        while future.status != "error":
            time.sleep(0.01)
        n_late.append(timeout)
        raise TimeoutError(f"timed out after {timeout} s.")

    monkeypatch.setattr(Future, "result", late)
    with open_image(path) as source, pytest.raises(error, match=r"a\.tif (broke|took)"):
        stream_graph(
            source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, run=ClusterPass(client, path)
        )
    assert len(n_late) == 1


def test_addresses_that_cannot_be_met(monkeypatch):
    for bad in ("10.0.0.5:8786", "tcp://here", "loc"):
        with pytest.raises(InputError, match=f"--dask {re.escape(repr(bad))}.*dask scheduler"):
            connected(bad).__enter__()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    monkeypatch.setattr("spixgraph.graph.stream.cluster.connection._SCHEDULER_SECONDS", 1)
    with pytest.raises(ResourceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        connected("tcp://127.0.0.1:9").__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"spixgraph\[cluster\]"):
        connected("local").__enter__()


def test_control_c_ends_the_workers_too(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels_of((1, 512, 512, 1))[0, ..., 0].repeat(64, axis=0))
    out = tmp_path / "g.zarr"
    arguments = ["graph", path, out, "--dask", "local", "--workers", "2"]
    command = [sys.executable, stoppable.__file__, *arguments]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        journal = part_of(out) / WORK / "journal"
        while run.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 3):
            time.sleep(0.01)
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) >= 2
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        _, error = run.communicate(timeout=60)
    assert run.returncode == 1, error
    assert error.strip().splitlines()[-1].startswith("Error: stopped after "), error
    assert "Traceback" not in error
    _, left = psutil.wait_procs(workers, timeout=10)
    assert left == []
    with open_image(path) as source:
        stream_graph(source, out, nodes_per_megapixel=3000, resume=True)
        stream_graph(source, tmp_path / "whole.zarr", nodes_per_megapixel=3000)
    assert sha256_tree(out) == sha256_tree(tmp_path / "whole.zarr")
