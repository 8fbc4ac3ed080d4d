import dataclasses
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from spixgraph.cli import main
from spixgraph.errors import InputError, StoredDataError
from spixgraph.predict import memory
from spixgraph.predict.bundle import bundle_sha256
from spixgraph.serve.app import MAX_BODY_ENV, make_app, max_body_bytes
from spixgraph.serve.segmenter import Segmenter, open_segmenter
from tests.toy_bundle import blob_image, write_toy_bundle

ALL = slice(None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle")


@pytest.fixture(scope="module")
def segmenter(bundle) -> Segmenter:
    return open_segmenter(bundle, version="v1", device="cpu")


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def client(segmenter, scratch) -> TestClient:
    app = make_app()
    app.state.segmenter = segmenter
    return TestClient(app, raise_server_exceptions=False)


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
    assert error_of(response) == "format must be png or tiff, got 'jpeg'"


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


def test_body_above_the_limit_is_413(client, monkeypatch):
    monkeypatch.setenv(MAX_BODY_ENV, "0.002")
    response = post(client, tiff(pixels()))
    assert response.status_code == 413
    assert "0.002 MB are allowed" in error_of(response)
    assert client.get("/model").status_code == 200


def test_body_of_unknown_length_is_counted(client, monkeypatch):
    monkeypatch.setenv(MAX_BODY_ENV, "0.002")
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


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", ""])
def test_bad_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv(MAX_BODY_ENV, text)
    with pytest.raises(InputError, match=MAX_BODY_ENV):
        max_body_bytes()


def test_other_routes_are_json_too(client):
    assert client.get("/nothing").status_code == 404
    response = client.get("/segment")
    assert response.status_code == 405
    assert error_of(response) == "Method Not Allowed"


def test_bug_is_500_and_says_nothing_of_the_inside(client, segmenter, scratch):
    def predictor(*_):
        raise RuntimeError("secret")

    broken = dataclasses.replace(segmenter.model, predictor=predictor)
    client.app.state.segmenter = dataclasses.replace(segmenter, model=broken)
    response = post(client, png(pixels()))
    assert response.status_code == 500
    assert error_of(response) == "internal error; see the log of the server"
    assert list(scratch.iterdir()) == []


def test_one_prediction_at_a_time_and_the_loop_stays_free(client, segmenter):
    running, most = 0, 0

    def predictor(x, edge_index, edge_attr):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.3)
        running -= 1
        return segmenter.model.predictor(x, edge_index, edge_attr)

    slow = dataclasses.replace(segmenter.model, predictor=predictor)
    client.app.state.segmenter = dataclasses.replace(segmenter, model=slow)
    with client:
        posts = [threading.Thread(target=post, args=(client, png(pixels()))) for _ in range(3)]
        for thread in posts:
            thread.start()
        time.sleep(0.1)
        start = time.perf_counter()
        client.get("/model")
        waited = time.perf_counter() - start
        for thread in posts:
            thread.join()
    assert most == 1
    assert waited < 0.25


def test_model_that_cannot_serve_fails_at_the_start(tmp_path, bundle):
    card = json.loads((bundle / "card.json").read_text())
    card["node_features"][0]["name"] = "other"
    path = write_toy_bundle(tmp_path / "b", node_features=card["node_features"])
    with pytest.raises(StoredDataError, match="trained on"):
        open_segmenter(path, version="v1")


def test_service_needs_neither_torch_nor_mlflow():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['mlflow'] = None\n"
        "import spixgraph.serve.service\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
