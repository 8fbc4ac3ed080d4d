"""Jobs on a real server with real worker processes: results, restarts, kills, replicas, cancel."""

import io
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import zarr
from httpx import Response
from PIL import Image

from spixgraph.config.recipe import GraphRecipe, PaperParams, SlicParams
from spixgraph.serve.jobs.table import JobTable
from tests.serving.bad_images import png
from tests.serving.server import Served, grey_pixels, serving
from tests.toy_bundle import BASINS, RECIPE, write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(240)]
SLOW = GraphRecipe(
    superpixels=SlicParams(nodes_per_megapixel=20_000.0, sigma_px=0.0, max_iterations=30),
    graph=PaperParams(),
)


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    Image.fromarray(grey_pixels(160)).save(folder / "small.png")
    tifffile.imwrite(folder / "large.tif", np.tile(grey_pixels(256), (3, 6)))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=RECIPE)


@pytest.fixture(scope="module")
def slow_bundle(tmp_path_factory) -> Path:
    """Takes some seconds for `large.tif`, so that it can be caught at work."""
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=SLOW)


@pytest.fixture(scope="module")
def served(bundle, roots, tmp_path_factory):
    settings = {"SPIXGRAPH_ROOTS": str(roots), "SPIXGRAPH_MAX_JOBS": "5"}
    with serving(bundle, tmp_path_factory.mktemp("served"), settings) as found:
        yield found


def post(served: Served, path: Path) -> Response:
    return served.client.post("/jobs", json={"uri": f"file://{path}"})


def ask(served: Served, path: Path) -> str:
    response = post(served, path)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/jobs/{response.json()['id']}"
    return response.json()["id"]


def worker_of(served: Served) -> psutil.Process:
    for _ in range(200):
        for child in psutil.Process(served.process.pid).children():
            if "spixgraph.serve.jobs.worker" in child.cmdline():
                return child
        time.sleep(0.05)
    raise AssertionError("there is no worker")


def state_of(table: JobTable, job_id: str) -> str | None:
    job = table.get(job_id)
    return None if job is None else job.state


def image(response):
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_result_of_a_uri_is_the_mask_of_segment(served, roots):
    job_id = ask(served, roots / "small.png")
    job = served.wait_for(job_id, "done")
    assert job["progress"] == 1
    wanted = served.segment((roots / "small.png").read_bytes(), format="tiff")
    assert served.get(f"/jobs/{job_id}/result").content == wanted.content
    for form in ("png", "json", "geojson"):
        result = served.get(f"/jobs/{job_id}/result?format={form}")
        direct = served.segment((roots / "small.png").read_bytes(), format=form)
        assert result.status_code == 200, result.text
        if form == "png":
            assert result.content == direct.content
        else:
            assert result.json() == direct.json()
    areas = job["result"]["classes"]
    assert sum(row["pixels"] for row in areas) == 160 * 160
    assert str(roots) not in served.get("/jobs").text


def test_tiles_of_a_result(served, roots):
    job_id = ask(served, roots / "large.tif")
    job = served.wait_for(job_id, "done")
    assert job["result"]["levels"] == [[768, 1536], [384, 768]]
    base = f"/jobs/{job_id}/tiles"
    mask = tifffile.imread(io.BytesIO(served.get(f"/jobs/{job_id}/result").content))
    data = image(served.get(f"{base}/data/0/0/1/2"))
    np.testing.assert_array_equal(data[..., 0], mask[512:, 1024:])
    for channel, layer in ((1, "outlines"), (2, "uncertainty")):
        stored = tifffile.imread(
            io.BytesIO(served.get(f"/jobs/{job_id}/result?layer={layer}").content)
        )
        np.testing.assert_array_equal(data[..., channel], stored[512:, 1024:])
    assert image(served.get(f"{base}/image/0/0/0/0")).shape == (512, 512)
    assert "max-age" in served.get(f"{base}/image/0/0/0/0").headers["cache-control"]
    for missing in ("image/0/0/3/0", "image/9/0/0/0", "image/0/1/0/0", "other/0/0/0/0"):
        assert served.get(f"{base}/{missing}").status_code == 404


def test_uploads_and_samples_are_jobs_too(served):
    uploaded = served.post("/jobs", png(grey_pixels(100)), pixel_size_um="1,2,2").json()
    (name,) = [n for n in served.get("/samples").json()["samples"] if n.endswith("colonies")]
    sampled = served.client.post("/jobs", json={"sample": name}).json()
    done = served.wait_for(uploaded["id"], "done")
    row = done["result"]["classes"][1]
    assert row["um2"] == pytest.approx(4 * row["pixels"])
    assert served.wait_for(sampled["id"], "done")["result"]["pixel_size_um"] is not None


def test_a_failed_job_says_why(served, roots):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(roots / "rgb.png")
    job_id = ask(served, roots / "rgb.png")
    job = served.wait_for(job_id, "failed")
    assert "has 3 channel(s)" in job["error"]
    response = served.get(f"/jobs/{job_id}/result")
    assert response.status_code == 409
    assert "failed" in response.json()["error"]


def test_delete_forgets_an_ended_job_with_its_files(served, roots):
    job_id = ask(served, roots / "small.png")
    served.wait_for(job_id, "done")
    assert (served.state / "jobs" / job_id).is_dir()
    assert served.client.delete(f"/jobs/{job_id}").status_code == 204
    assert served.get(f"/jobs/{job_id}").status_code == 404
    assert not (served.state / "jobs" / job_id).exists()


def test_probabilities_are_kept_where_they_are_asked_for(served, roots):
    body = {"uri": f"file://{roots}/small.png", "probabilities": True}
    job_id = served.client.post("/jobs", json=body).json()["id"]
    served.wait_for(job_id, "done")
    shares = served.get(f"/jobs/{job_id}/result?layer=probabilities")
    data = (roots / "small.png").read_bytes()
    answer = served.segment(data, format="zip", extras="probabilities")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("probabilities.tif") == shares.content
    other = ask(served, roots / "small.png")
    served.wait_for(other, "done")
    assert served.get(f"/jobs/{other}/result?layer=probabilities").status_code == 404
    for query in ("layer=x", "layer=outlines&format=png"):
        assert served.get(f"/jobs/{other}/result?{query}").status_code == 400


def test_an_image_at_an_allowed_address(bundle, tmp_path):
    pytest.importorskip("aiohttp", reason="the extra remote is not installed")
    tifffile.imwrite(tmp_path / "flat.tif", grey_pixels(160))
    write_zarr(tmp_path / "site/a b.zarr", grey_pixels(160))
    with file_server(tmp_path / "site") as address:
        settings = {"SPIXGRAPH_REMOTE_ROOTS": f"{address} s3://bucket/images"}
        with serving(bundle, tmp_path / "served", settings) as served:
            job_id = served.client.post("/jobs", json={"uri": f"{address}/a%20b.zarr"}).json()["id"]
            served.wait_for(job_id, "done")
            wanted = served.segment((tmp_path / "flat.tif").read_bytes(), format="tiff").content
            assert served.get(f"/jobs/{job_id}/result").content == wanted
            for uri in ("http://127.0.0.1:1/a.zarr", f"{address}/../a", f"{address}.evil/a"):
                assert served.client.post("/jobs", json={"uri": uri}).status_code == 403
            gone = served.client.post("/jobs", json={"uri": f"{address}/gone.zarr"}).json()["id"]
            assert address not in served.wait_for(gone, "failed")["error"]


def test_a_job_streams_and_goes_on_after_a_kill(tmp_path):
    """An image that is too large for /segment here; the graph of a killed worker is not lost."""
    bundle = write_toy_bundle(tmp_path / "bundle", recipe=BASINS)
    folder = tmp_path / "roots"
    folder.mkdir()
    tifffile.imwrite(folder / "wide.tif", np.tile(grey_pixels(256), (12, 16)), tile=(256, 256))
    memory = 100
    settings = {"SPIXGRAPH_ROOTS": str(folder), "SPIXGRAPH_MAX_MEMORY_MB": str(memory)}
    with serving(bundle, tmp_path, settings) as served:
        assert served.segment((folder / "wide.tif").read_bytes()).status_code == 413
        whole = served.wait_for(ask(served, folder / "wide.tif"), "done")
        assert whole["result"]["memory_predicted_bytes"] <= memory * 1e6
        killed = ask(served, folder / "wide.tif")
        part = served.state / "jobs" / killed
        graph = _kill_in(served, killed, "network", "mask")
        assert (part / "attempt-2/mask.tif.part/graph.zarr").stat().st_ino == graph
        job = served.wait_for(killed, "done")
        assert job["attempt"] == 2
        masks = [served.get(f"/jobs/{i}/result").content for i in (killed, whole["id"])]
        assert masks[0] == masks[1]
        assert sorted(p.name for p in part.iterdir()) == ["attempt-2"]
        left = {p.name for p in (part / "attempt-2").iterdir()}
        files = {f"{name}.tif" for name in ("mask", "outlines", "uncertainty", "view")}
        assert left == files | {"summary.json"}


def _kill_in(served: Served, job_id: str, *steps: str) -> int:
    """Kill the worker in one of some steps; return the inode of the graph once it is taken over."""
    worker = worker_of(served)
    end = time.monotonic() + 60
    while served.get(f"/jobs/{job_id}").json()["step"] not in steps:
        assert time.monotonic() < end
        time.sleep(0.01)
    folder = served.state / "jobs" / job_id
    inode = (folder / "attempt-1/mask.tif.part/graph.zarr").stat().st_ino
    worker.kill()
    while not (folder / "attempt-2").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    return inode


def write_zarr(path: Path, pixels) -> None:
    array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, chunks=(64, 64))
    array[:] = pixels


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_cancel_restart_kill_and_two_replicas(slow_bundle, roots, tmp_path):
    settings = {"SPIXGRAPH_ROOTS": str(roots), "SPIXGRAPH_MAX_JOBS": "5"}
    with serving(slow_bundle, tmp_path, settings) as served:
        _cancel(served, roots)
        _too_many(served, roots)
        survivor = ask(served, roots / "large.tif")
        served.wait_for(survivor, "running")
        worker = worker_of(served)
    assert not worker.is_running()
    table = JobTable(tmp_path / "state/jobs.sqlite")
    assert state_of(table, survivor) == "queued"
    with serving(slow_bundle, tmp_path, settings) as served:
        job = served.wait_for(survivor, "done")
        assert job["attempt"] == 1  # an ordered stop costs none
        _killed_worker(served, roots)
        _killed_service(served, roots, table)
    with (
        serving(slow_bundle, tmp_path, settings) as one,
        serving(slow_bundle, tmp_path, settings) as two,
    ):
        _replicas(one, two, roots)


def _cancel(served: Served, roots: Path) -> None:
    running, waiting = (ask(served, roots / "large.tif") for _ in range(2))
    served.wait_for(running, "running")
    assert served.client.delete(f"/jobs/{waiting}").json()["state"] == "canceled"
    assert served.client.delete(f"/jobs/{running}").status_code == 202
    assert served.wait_for(running, "canceled")["progress"] < 1
    end = time.monotonic() + 60
    while list((served.state / "jobs").glob("*/*")):
        assert time.monotonic() < end
        time.sleep(0.05)


def _too_many(served: Served, roots: Path) -> None:
    """Jobs are asked for faster than one is done: five wait, then the next is refused."""
    ids: list[str] = []
    while (response := post(served, roots / "large.tif")).status_code == 202 and len(ids) < 50:
        ids.append(response.json()["id"])
    assert len(ids) >= 5
    assert response.status_code == 429
    assert response.headers["retry-after"]
    for job_id in reversed(ids):  # those that wait first, so that none of them is begun
        served.client.delete(f"/jobs/{job_id}")
    for job_id in ids:
        served.wait_for(job_id, "canceled")


def _killed_worker(served: Served, roots: Path) -> None:
    job_id = ask(served, roots / "large.tif")
    served.wait_for(job_id, "running")
    worker_of(served).kill()
    assert served.wait_for(job_id, "done")["attempt"] == 2


def _killed_service(served: Served, roots: Path, table: JobTable) -> None:
    """A kill that nobody can handle: the worker ends by itself, the lease frees the job."""
    job_id = ask(served, roots / "large.tif")
    served.wait_for(job_id, "running")
    worker = worker_of(served)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(10)
    worker.wait(10)
    assert state_of(table, job_id) == "running"
    with table._transaction() as db:  # as if the lease had run out already
        db.execute("UPDATE jobs SET lease = 0")


def _replicas(one: Served, two: Served, roots: Path) -> None:
    """Two services on one table: every job is done once, whoever took it."""
    left = [job["id"] for job in one.get("/jobs").json()["jobs"] if job["state"] != "canceled"]
    ids = [ask(served, roots / "small.png") for served in (one, two, one, two)]
    for job_id in (*left, *ids):
        done = two.wait_for(job_id, "done", "failed", seconds=60)
        assert done["state"] == "done", done
    assert {one.get(f"/jobs/{job_id}").json()["attempt"] for job_id in ids} == {1}
    masks = {one.get(f"/jobs/{job_id}/result").content for job_id in ids}
    assert len(masks) == 1
