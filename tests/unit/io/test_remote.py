"""Zarr images behind addresses, from servers on loopback."""

import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import zarr

from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.images import image_sha256, open_image

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")

PIXELS = np.random.default_rng(0).integers(0, 60000, (2, 300, 400), dtype=np.uint16)
AXES = [{"name": "c", "type": "channel"}] + [
    {"name": a, "type": "space", "unit": "micrometer"} for a in "yx"
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An OME-Zarr 0.5 image of two channels in a folder that is served."""
    root = tmp_path_factory.mktemp("served")
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5, 0.5]}]}
    ome = {"version": "0.5", "multiscales": [{"axes": AXES, "datasets": [level]}]}
    group = zarr.create_group(root / "bucket" / "a.zarr", attributes={"ome": ome})
    group.create_array("0", data=PIXELS, chunks=(1, 128, 128))
    return root


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


class S3(Quiet):
    """As much of S3 as reading needs: objects, missing keys, and lists (which are empty here)."""

    def do_GET(self):
        if "list-type=2" in self.path:
            self.answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        else:
            super().do_GET()

    def send_error(self, code, message=None, explain=None):
        self.answer(code, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>")

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class Broken(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503)

    def log_message(self, format, *args):
        pass


@contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(address, folder):
    with open_image(address) as source, open_image(folder / "bucket" / "a.zarr") as local:
        assert source.info == local.info
        assert source.info.pixel_size_um == (0.5, 0.5, 0.5)
        block = source.read(slice(0, 1), slice(100, 200), slice(30, 300))
        np.testing.assert_array_equal(block[0], PIXELS[:, 100:200, 30:300].transpose(1, 2, 0))
        assert image_sha256(source) == image_sha256(local)


def test_http(folder):
    with served(partial(Quiet, directory=folder)) as url:
        check(f"{url}/bucket/a.zarr", folder)


def test_s3(folder, monkeypatch):
    pytest.importorskip("s3fs", reason="the extra `remote` is not installed")
    from fsspec.config import conf

    with served(partial(S3, directory=folder)) as url:
        options = {"anon": True, "endpoint_url": url, "client_kwargs": {"region_name": "x"}}
        monkeypatch.setitem(conf, "s3", options)
        check("s3://bucket/a.zarr", folder)


def test_what_is_not_there_is_one_line(folder):
    with served(partial(Quiet, directory=folder)) as url:
        with pytest.raises(StoredDataError, match=r"none\.zarr cannot be read.*check the address"):
            open_image(f"{url}/none.zarr")
        zarr.create_group(folder / "bare.zarr")
        with pytest.raises(StoredDataError, match="multiscales"):
            open_image(f"{url}/bare.zarr")
    with pytest.raises(StoredDataError, match="cannot be read"):
        open_image(f"{url}/bucket/a.zarr")  # the server is gone


def test_a_server_that_fails_later_is_an_error(folder):
    with served(partial(Quiet, directory=folder)) as url:
        source = open_image(f"{url}/bucket/a.zarr")
    with pytest.raises(StoredDataError, match="cannot be read"):
        source.read(slice(0, 1), slice(0, 9), slice(0, 9))
    with served(Broken) as url, pytest.raises(StoredDataError, match="503"):
        open_image(f"{url}/a.zarr")


def test_unknown_protocol_names_the_extra():
    with pytest.raises(InputError, match=r"foo://x cannot be opened.*spixgraph\[remote\]"):
        open_image("foo://x")


def test_without_the_extra_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"pip install 'spixgraph\[remote\]'"):
        open_image("https://example.org/a.zarr")


def test_axes_of_a_plain_array_are_asked_for(folder):
    zarr.create_array(folder / "plain.zarr", data=PIXELS, chunks=(1, 128, 128))
    with served(partial(Quiet, directory=folder)) as url:
        with pytest.raises(InputError, match="--axes"):
            open_image(f"{url}/plain.zarr")
        with open_image(f"{url}/plain.zarr", axes="CYX") as source:
            assert source.info.shape_zyxc == (1, 300, 400, 2)
