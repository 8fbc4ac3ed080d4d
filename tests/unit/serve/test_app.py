import dataclasses
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from spixgraph.cli import main
from spixgraph.errors import StoredDataError
from spixgraph.predict import memory
from spixgraph.predict.bundle import bundle_sha256
from spixgraph.predict.painting import uncertainty_of
from spixgraph.serve.admission import Admission
from spixgraph.serve.app import make_app
from spixgraph.serve.keys import add_key, load_keys
from spixgraph.serve.metrics import Metrics
from spixgraph.serve.polygons import polygons_of
from spixgraph.serve.running import Running, start_running
from spixgraph.serve.segmenter import open_segmenter
from spixgraph.serve.settings import ServeSettings
from tests.toy_bundle import blob_image, write_toy_bundle

ALL = slice(None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle")


@pytest.fixture(scope="module")
def running(bundle, tmp_path_factory) -> Iterator[Running]:
    settings = ServeSettings(state=tmp_path_factory.mktemp("state"), device="cpu")
    made = start_running(settings, bundle, version="v1", metrics=Metrics())
    yield made
    made.stop()


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def client_of(running: Running, **changes) -> TestClient:
    settings = dataclasses.replace(running.settings, **changes)
    app = make_app(settings)
    app.state.running = dataclasses.replace(
        running, settings=settings, admission=Admission(settings.queue), metrics=app.state.metrics
    )
    app.state.metrics.say_model(running.segmenter.describe())
    return TestClient(app, raise_server_exceptions=False)


def state_of(client: TestClient) -> Any:
    app: Any = client.app
    return app.state


@pytest.fixture
def client(running, scratch) -> TestClient:
    return client_of(running)


def pixels(seed=5, channels=1):
    return blob_image(seed=seed, channels=channels).read(ALL, ALL, ALL)[0]


def png(array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array.squeeze()).save(out, "PNG")
    return out.getvalue()


def tiff(array, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array.squeeze(), photometric="minisblack", **options)
    return out.getvalue()


def post(client, data: bytes, headers=None, **fields):
    return client.post("/segment", files={"image": ("i", data)}, data=fields, headers=headers)


def by_command(tmp_path, bundle, data: bytes, suffix: str, out_suffix: str) -> bytes:
    image, out = tmp_path / f"image{suffix}", tmp_path / f"mask{out_suffix}"
    image.write_bytes(data)
    with pytest.raises(SystemExit, match="0"):
        main(["segment", str(image), str(out), "--model", str(bundle)])
    return out.read_bytes()


def error_of(response) -> str:
    assert response.text.count("\n") == 1
    assert "Traceback" not in response.text
    return response.json()["error"]


@pytest.mark.parametrize(
    ("make", "suffix", "fields", "headers", "out"),
    [
        (png, ".png", {}, {}, ".png"),
        (tiff, ".tif", {}, {}, ".tif"),
        (png, ".png", {"format": "tiff"}, {}, ".tif"),
        (tiff, ".tif", {}, {"accept": "image/png"}, ".png"),
        (tiff, ".tif", {}, {"accept": "text/html;q=0.9, */*"}, ".tif"),
        (tiff, ".tif", {"format": "PNG"}, {"accept": "image/tiff"}, ".png"),
    ],
)
def test_mask_has_the_bytes_of_the_command(
    client, tmp_path, bundle, scratch, make, suffix, fields, headers, out
):
    data = make(pixels())
    response = post(client, data, headers, **fields)
    assert response.status_code == 200
    assert response.headers["content-type"] == {".png": "image/png", ".tif": "image/tiff"}[out]
    assert response.content == by_command(tmp_path, bundle, data, suffix, out)
    assert list(scratch.iterdir()) == []


def test_model_says_what_is_served(client, bundle):
    said = client.get("/model").json()
    assert said["name"] == "spixgraph-toy"
    assert said["version"] == "v1"
    assert said["bundle_sha256"] == bundle_sha256(bundle)
    assert said["schema_version"] == 1
    assert [c["name"] for c in said["classes"]] == ["background", "cell"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"this is text\n", "neither PNG nor TIFF"),
        (b"", "neither PNG nor TIFF"),
        (png(pixels())[:300], "the image"),
        (tiff(pixels())[:9], "the image"),
        (tiff(pixels())[:600], "the image"),
    ],
)
def test_bad_image_is_400(client, scratch, data, message):
    response = post(client, data)
    assert response.status_code == 400
    assert message in error_of(response)
    assert str(scratch) not in response.text
    assert list(scratch.iterdir()) == []


def test_form_without_an_image_is_400(client):
    for response in (
        client.post("/segment"),
        client.post("/segment", content=b"raw"),
        client.post("/segment", data={"image": "text"}),
        client.post("/segment", files={"picture": ("i", png(pixels()))}),
        client.post("/segment", content=b"x", headers={"content-type": "multipart/form-data"}),
    ):
        assert response.status_code == 400
        error_of(response)


def test_unknown_format_is_400(client):
    response = post(client, png(pixels()), format="jpeg")
    assert response.status_code == 400
    assert error_of(response) == "format must be png, tiff, json, geojson, zip, got 'jpeg'"


def test_wrong_channels_are_422(client, scratch):
    response = post(client, png(pixels(channels=3)))
    assert response.status_code == 422
    assert "has 3 channel(s)" in error_of(response)
    assert list(scratch.iterdir()) == []


def test_volume_is_422(client):
    volume = np.stack([pixels()[..., 0]] * 3)
    response = post(client, tiff(volume, metadata={"axes": "ZYX"}))
    assert response.status_code == 422
    assert "3D" in error_of(response)


@pytest.mark.parametrize("make", [png, tiff])
def test_image_too_large_for_memory_is_413_before_it_is_decoded(client, monkeypatch, make):
    monkeypatch.setattr(memory, "available_memory_bytes", lambda: 50_000_000)
    response = post(client, make(pixels()))
    assert response.status_code == 413
    assert "MiB" in error_of(response)


def test_body_above_the_limit_is_413(running):
    client = client_of(running, max_body_bytes=2_000)
    response = post(client, tiff(pixels()))
    assert response.status_code == 413
    assert "0.002 MB are allowed" in error_of(response)
    assert client.get("/model").status_code == 200


def test_body_of_unknown_length_is_counted(running):
    client = client_of(running, max_body_bytes=2_000)
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'

    def chunks():
        yield head
        for _ in range(10):
            yield bytes(1000)

    kind = {"content-type": "multipart/form-data; boundary=b"}
    response = client.post("/segment", content=chunks(), headers=kind)
    assert "content-length" not in response.request.headers
    assert response.status_code == 413
    error_of(response)


def test_other_routes_are_json_too(client):
    assert client.get("/nothing").status_code == 404
    response = client.get("/segment")
    assert response.status_code == 405
    assert error_of(response) == "Method Not Allowed"


def with_predictor(client, predictor) -> None:
    running = state_of(client).running
    model = dataclasses.replace(running.segmenter.model, predictor=predictor)
    segmenter = dataclasses.replace(running.segmenter, model=model)
    state_of(client).running = dataclasses.replace(running, segmenter=segmenter)


def test_bug_is_500_and_says_nothing_of_the_inside(client, scratch):
    def predictor(*_):
        raise RuntimeError("secret")

    with_predictor(client, predictor)
    response = post(client, png(pixels()))
    assert response.status_code == 500
    assert error_of(response) == "internal error; see the log of the server"
    assert list(scratch.iterdir()) == []


def test_one_prediction_at_a_time_and_the_loop_stays_free(client, running):
    now, most = 0, 0
    inside, answered = threading.Event(), threading.Event()

    def predictor(x, edge_index, edge_attr):
        nonlocal now, most
        now += 1
        most = max(most, now)
        inside.set()
        assert answered.wait(60)
        time.sleep(0.1)  # time for another one to come in, where it may
        now -= 1
        return running.segmenter.model.predictor(x, edge_index, edge_attr)

    with_predictor(client, predictor)
    with client:
        posts = [threading.Thread(target=post, args=(client, png(pixels()))) for _ in range(3)]
        for thread in posts:
            thread.start()
        assert inside.wait(60)
        assert client.get("/model").status_code == 200
        answered.set()
        for thread in posts:
            thread.join()
    assert most == 1


def test_too_many_requests_are_429_with_the_time_to_come_again(running):
    client, gate = client_of(running, queue=1), threading.Event()

    def predictor(*features):
        gate.wait(10)
        return running.segmenter.model.predictor(*features)

    with_predictor(client, predictor)
    with client:
        first = threading.Thread(target=post, args=(client, png(pixels())))
        first.start()
        while not state_of(client).running.admission.running:
            time.sleep(0.01)
        response = post(client, png(pixels()))
        gate.set()
        first.join()
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        assert "1 is the limit" in error_of(response)
        assert post(client, png(pixels())).status_code == 200


def test_a_request_that_takes_too_long_is_504_and_frees_the_slot(running, scratch):
    client = client_of(running, timeout_s=0.05)

    def predictor(*features):
        time.sleep(0.2)
        return running.segmenter.model.predictor(*features)

    with_predictor(client, predictor)
    response = post(client, png(pixels()))
    assert response.status_code == 504
    assert "send it as a job" in error_of(response)
    assert state_of(client).running.admission.inside == 0
    assert list(scratch.iterdir()) == []


def test_before_the_model_is_open_requests_are_503():
    client = TestClient(make_app(ServeSettings()))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/model").status_code == 503
    assert client.get("/metrics").status_code == 200


def test_json_answer_holds_areas_and_the_mask(client, tmp_path, bundle):
    data = png(pixels())
    said = post(client, data, format="json", pixel_size_um="1,0.5,0.5", extras="outlines").json()
    mask = mask_of(by_command(tmp_path, bundle, data, ".png", ".tif"))
    runs = said["mask"]
    again = np.repeat(np.array(runs["values"], np.uint8), runs["lengths"])
    np.testing.assert_array_equal(again.reshape(said["shape_zyx"])[0], mask)
    for row in said["classes"]:
        assert row["pixels"] == (mask == row["id"]).sum()
        assert row["um2"] == pytest.approx(row["pixels"] * 0.25)
    assert sum(said["outlines"]["lengths"]) == mask.size
    assert json.loads(post(client, data).headers["x-class-areas"])[0]["id"] == 0


def test_geojson_outlines_are_the_mask(client, tmp_path, bundle):
    data = png(pixels())
    response = post(client, data, headers={"accept": "application/geo+json"}, classes="1")
    assert response.headers["content-type"] == "application/geo+json"
    (feature,) = response.json()["features"]
    mask = mask_of(by_command(tmp_path, bundle, data, ".png", ".tif"))
    assert feature["properties"]["classification"] == {"name": "cell", "color": [255, 176, 0]}
    assert feature["geometry"]["coordinates"] == polygons_of(mask == 1)
    assert post(client, data, format="geojson", classes="7").status_code == 422


def test_zip_holds_probabilities_uncertainty_and_outlines(client):
    extras = "probabilities,uncertainty,outlines"
    response = post(client, png(pixels()), format="zip", extras=extras)
    again = post(client, png(pixels()), format="zip", extras=extras)
    assert response.content == again.content
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        names = set(archive.namelist())
        shares = mask_of(archive.read("probabilities.tif"))
        doubt = mask_of(archive.read("uncertainty.tif"))
        lines = mask_of(archive.read("outlines.tif"))
        mask = mask_of(archive.read("mask.tif"))
    assert names == {f"{n}.tif" for n in (*extras.split(","), "mask")} | {"areas.json"}
    assert abs(shares.astype(int).sum(0) - 255).max() <= 1
    clear = shares[0] != shares[1]
    np.testing.assert_array_equal(shares.argmax(0)[clear], mask[clear])
    np.testing.assert_array_equal(doubt, uncertainty_of(shares))
    assert set(np.unique(lines)) == {0, 255}
    for extra in ("probabilities", "uncertainty"):
        assert post(client, png(pixels()), extras=extra).status_code == 422


def mask_of(data: bytes):
    return tifffile.imread(io.BytesIO(data))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["png", "tiff", "ome"])
def test_formats_of_the_same_pixels_give_the_same_mask(client, dtype, kind):
    image = pixels().astype(dtype) * (257 if dtype == np.uint16 else 1)
    data = png(image) if kind == "png" else tiff(image, ome=kind == "ome", compression="zlib")
    wanted = post(client, png(pixels()), format="tiff").content
    response = post(client, data, format="tiff")
    assert response.status_code == 200, response.text
    np.testing.assert_array_equal(mask_of(response.content), mask_of(wanted))


def test_keys_are_asked_for_where_they_are_configured(running, tmp_path):
    key = add_key(tmp_path / "keys", "anna")
    keys = load_keys(tmp_path / "keys")
    client = client_of(running)
    state_of(client).running = dataclasses.replace(state_of(client).running, keys=keys)
    for route in ("/model", "/jobs", "/samples", "/metrics"):
        assert client.get(route).status_code == 401
    assert client.get("/model", headers={"x-api-key": key[:-1]}).status_code == 401
    assert client.get("/model", headers={"authorization": f"Bearer {key}"}).status_code == 200
    assert client.get("/model", headers={"x-api-key": key}).status_code == 200
    for route in ("/", "/page/style.css", "/healthz", "/readyz", "/docs", "/openapi.json"):
        assert client.get(route).status_code == 200
    assert client.get("/openapi.json").json()["security"] == [{"key": []}]


def test_another_web_site_may_not_send(client):
    headers = {"sec-fetch-site": "cross-site"}
    assert post(client, png(pixels()), headers=headers).status_code == 403
    assert client.get("/model", headers=headers).status_code == 200


def test_metrics_tell_requests_pixels_and_memory(client):
    post(client, png(pixels()))
    text = client.get("/metrics").text
    assert 'spixgraph_requests_total{route="/segment",status="200"} 1.0' in text
    assert f"spixgraph_pixels_total {pixels().size}.0" in text
    for name in ("memory_predicted_bytes", "memory_used_bytes", "queue_inside", "model_info"):
        assert f"spixgraph_{name}" in text
    assert 'spixgraph_jobs{state="queued"} 0.0' in text


def routes_of(client: TestClient) -> Any:
    app: Any = client.app
    return app.routes


def test_every_route_is_in_the_openapi_document(client):
    document = client.get("/openapi.json").json()
    inner = {"/", "/docs", "/page/{name}", "/openapi.json"}
    routes = {re.sub(r":int", "", route.path) for route in routes_of(client)} - inner
    assert routes == set(document["paths"])


def test_parts_of_the_page_are_served_and_nothing_beside(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for part in re.findall(r'"(/page/[^"]+)"', page.text):
        assert client.get(part).status_code == 200
    assert "http" not in re.sub(r"<!doctype html>", "", page.text)
    for name in ("..%2fapp.py", "app.py", "%2e%2e", ""):
        assert client.get(f"/page/{name}").status_code == 404


def test_model_that_cannot_serve_fails_at_the_start(tmp_path, bundle):
    card = json.loads((bundle / "card.json").read_text())
    card["node_features"][0]["name"] = "other"
    path = write_toy_bundle(tmp_path / "b", node_features=card["node_features"])
    with pytest.raises(StoredDataError, match="trained on"):
        open_segmenter(path, version="v1")


def test_service_needs_neither_torch_nor_mlflow():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['mlflow'] = None\n"
        "import spixgraph.serve.service, spixgraph.serve.app, spixgraph.serve.jobs.worker\n"
        "heavy = {'matplotlib', 'sklearn', 'pandas', 'dask', 'onnx', 'IPython', 'networkx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_watching_process_opens_no_model():
    code = (
        "import sys; import spixgraph.serve.service\n"
        "assert not {'numba', 'onnxruntime', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
