"""What comes from outside is refused with its own status; the service stays up and clean."""

import io
import json
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile

from tests.serving.bad_images import BAD_IMAGES, one_strip, png, tiff, zeros
from tests.serving.server import grey_pixels, serving
from tests.toy_bundle import write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(240)]
BOUNDARY = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("roots")
    (folder / "a.png").write_bytes(png())
    (folder.parent / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory, roots):
    bundle = write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle")
    settings = {
        "SPIXGRAPH_MAX_BODY_MB": "1",
        "SPIXGRAPH_MAX_MEMORY_MB": "2000",
        "SPIXGRAPH_ROOTS": str(roots),
        "SPIXGRAPH_QUEUE": "8",
    }
    with serving(bundle, tmp_path_factory.mktemp("served"), settings) as found:
        found.segment(png())
        yield found


@pytest.fixture(autouse=True)
def _stays_up_and_clean(served):
    yield
    assert served.get("/healthz").status_code == 200
    assert served.left_behind() == []


def error_of(response: httpx.Response, statuses: set[int]) -> str:
    assert response.status_code in statuses, response.text
    assert "Traceback" not in response.text
    assert response.text.count("\n") == 1
    return response.json()["error"]


@pytest.mark.parametrize("name", list(BAD_IMAGES))
def test_bad_image(served, name):
    data, statuses = BAD_IMAGES[name]
    before = served.rss_bytes()
    for route in ("/segment", "/jobs"):
        response = served.post(route, data)
        if route == "/jobs" and response.status_code == 202:  # found when it is opened
            job = served.wait_for(response.json()["id"], "done", "failed")
            assert job["state"] == "failed"
            assert "Traceback" not in job["error"]
            assert str(served.state) not in job["error"]
            assert served.client.delete(f"/jobs/{job['id']}").status_code == 204
            continue
        message = error_of(response, statuses)
        assert str(served.scratch) not in message
    assert served.rss_bytes() - before < 100e6
    assert list((served.state / "jobs").glob("*")) == []


def test_a_strip_that_inflates_without_end_is_cut_where_the_header_says(served):
    before = served.rss_bytes()
    response = served.segment(one_strip(zeros(600_000_000), codec=(3, 1, 8)))
    assert response.status_code in {200, 400}
    assert served.rss_bytes() - before < 100e6


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_tiny_images_are_segmented(served, shape):
    response = served.segment(tiff(np.full(shape, 7, np.uint8)))
    assert response.status_code == 200, response.text
    assert tifffile.imread(io.BytesIO(response.content)).shape == shape


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"format": "jpeg"}, 400),
        ({"format": "x" * 900}, 400),
        ({"axes": "../../etc"}, 400),
        ({"axes": "QQ"}, 422),
        ({"axes": "ZYXCT"}, 422),
        ({"pixel_size_um": "nan,1,1"}, 400),
        ({"pixel_size_um": "-1,1,1"}, 400),
        ({"pixel_size_um": "1"}, 400),
        ({"pixel_size_um": "1,1,inf"}, 400),
        ({"classes": "abc"}, 400),
        ({"classes": "-1"}, 400),
        ({"classes": "7", "format": "geojson"}, 422),
        ({"extras": "everything"}, 400),
        ({"extras": "probabilities"}, 422),
        ({"model": "other"}, 400),
        ({str(i): "x" for i in range(9)}, 400),
        ({"format": "png" * 600_000}, 413),
    ],
)
def test_bad_field(served, fields, status):
    error_of(served.segment(png(), **fields), {status})


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 400),
        ({"content": b"raw"}, 400),
        ({"content": png(), "headers": {"content-type": "image/png"}}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": BOUNDARY}, 400),
        ({"content": PART + png(), "headers": BOUNDARY}, 400),
        ({"data": {"image": "text"}}, 400),
        ({"files": {"picture": ("i", png())}}, 400),
        ({"files": [("image", ("a", png())), ("image", ("b", png()))]}, 400),
        ({"files": {"image": ("i", bytes(1_100_000))}}, 413),
        ({"content": iter([PART, *[bytes(100_000)] * 12]), "headers": BOUNDARY}, 413),
    ],
)
def test_bad_form(served, options, status):
    error_of(served.client.post("/segment", **options), {status})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"[" * 50_000, 400),
        (b"\xff\xfe", 400),
        (b'{"uri": "' + b"x" * 200_000 + b'"}', 413),
        (b"{}", 400),
        (b'{"uri": 7}', 400),
        (b'{"uri": null}', 400),
        (b'{"uri": "file:///x", "sample": "y"}', 400),
        (b'{"uri": "file:///x", "path": "y"}', 400),
        (b'{"uri": "file:///x", "axes": 7, "pixel_size_um": "a"}', 400),
        (b'{"sample": "none such"}', 422),
        (b'{"sample": "../secret.png"}', 422),
    ],
)
def test_bad_job(served, body, status):
    kind = {"content-type": "application/json"}
    error_of(served.client.post("/jobs", content=body, headers=kind), {status})
    assert list((served.state / "jobs").glob("*")) == []


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("{roots}/link.png", 403),
        ("{roots}/../secret.png", 403),
        ("{roots}/%2e%2e/secret.png", 403),
        ("{roots}/a.png%00.tif", 403),
        ("/etc/passwd", 403),
        ("//host{roots}/a.png", 403),
        ("{roots}/gone.png", 404),
    ],
)
def test_bad_uri(served, roots, uri, status):
    text = "file://" + uri.format(roots=roots)
    error_of(served.client.post("/jobs", json={"uri": text}), {status})


@pytest.mark.parametrize("scheme", ["http", "https", "s3", "ftp", "data", "gopher", ""])
def test_other_schemes_are_not_read(served, scheme):
    uri = f"{scheme}://127.0.0.1/a.png"
    error_of(served.client.post("/jobs", json={"uri": uri}), {403})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/page/../../../../etc/passwd", 404),
        ("GET", "/page/%2e%2e%2fapp.py", 404),
        ("GET", "/page/..%5capp.py", 404),
        ("GET", "/jobs/%00", 404),
        ("GET", "/jobs/' OR 1=1 --", 404),
        ("GET", "/jobs/nothing/result", 404),
        ("DELETE", "/jobs/nothing", 404),
        ("GET", "/jobs/x/tiles/image/0/0/-1/0", 404),
        ("GET", f"/jobs/x/tiles/image/0/0/0/{10**30}", 404),
        ("GET", "/jobs/x/tiles/../../0/0/0/0", 404),
        ("DELETE", "/segment", 405),
        ("PUT", "/jobs", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_bad_path(served, method, path, status):
    request = served.client.build_request(method, "/")
    request.url = request.url.copy_with(raw_path=path.replace(" ", "%20").encode())
    response = served.client.send(request)
    error_of(response, {status})


def test_a_crowd_gets_429_and_everybody_else_the_right_mask(served):
    data = tiff(grey_pixels(512), compression="zlib")
    wanted = served.segment(data).content
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(served.segment(data))) for _ in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 200:
            assert answer.content == wanted
        else:
            assert int(answer.headers["retry-after"]) >= 1


def test_nothing_of_all_this_is_in_the_log_as_a_bug(served):
    assert "Traceback" not in served.log.read_text()


def test_jobs_of_another_key_are_as_if_there_were_none(tmp_path):
    from spixgraph.serve.keys import add_key

    keys = [add_key(tmp_path / "keys", name) for name in ("anna", "bert")]
    anna, bert = ({"authorization": f"Bearer {key}"} for key in keys)
    bundle = write_toy_bundle(tmp_path / "bundle")
    settings = {"SPIXGRAPH_KEYS": str(tmp_path / "keys")}
    with serving(bundle, tmp_path / "served", settings) as served:
        made = served.client.post("/jobs", files={"image": png()}, headers=anna).json()
        for headers in (bert, {}, {"authorization": "Bearer x"}):
            assert served.get(f"/jobs/{made['id']}", headers=headers).status_code in {401, 404}
        assert served.get("/jobs", headers=bert).json()["jobs"] == []
        assert json.dumps(served.get("/jobs", headers=anna).json()).count(made["id"]) == 1
        assert "anna" not in (tmp_path / "served/log").read_text()
