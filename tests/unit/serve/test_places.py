import os

import pytest

from spixgraph.errors import InputError
from spixgraph.serve.jobs.places import (
    ForbiddenError,
    MissingError,
    require_remote_root,
    resolve_uri,
)


@pytest.fixture
def root(tmp_path):
    inside, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (inside / "plate 1", inside / "a.zarr/0", inside / "bad.zarr", outside):
        folder.mkdir(parents=True)
    for path in (inside / "plate 1/ä.tif", outside / "secret.tif", inside / "a.zarr/0/c"):
        path.touch()
    (inside / "link.tif").symlink_to(outside / "secret.tif")
    (inside / "links").symlink_to(outside)
    (inside / "inner.tif").symlink_to(inside / "plate 1/ä.tif")
    (inside / "bad.zarr/0").symlink_to(outside)
    os.mkfifo(inside / "pipe.tif")
    return inside


def uri(path):
    return f"file://{path}"


def test_files_and_zarr_folders_below_a_root(root, tmp_path):
    assert resolve_uri(uri(root / "plate%201/%C3%A4.tif"), [root]) == root / "plate 1/ä.tif"
    assert resolve_uri(uri(root / "a.zarr"), [tmp_path / "other", root]) == root / "a.zarr"
    local = f"file://localhost{root}/a.zarr"
    assert resolve_uri(local, [root]) == root / "a.zarr"


@pytest.mark.parametrize(
    "make",
    [
        lambda r: uri(r / "../outside/secret.tif"),
        lambda r: uri(r / "plate 1/../../outside/secret.tif"),
        lambda r: uri(r) + "/%2e%2e/outside/secret.tif",
        lambda r: uri(r) + "/..%2foutside/secret.tif",
        lambda r: uri(r) + "/plate%201/%00.tif",
        lambda r: uri(r.parent / "outside/secret.tif"),
        lambda r: uri(str(r) + "2/x.tif"),
        lambda r: uri(r),
        lambda r: uri(r / "link.tif"),
        lambda r: uri(r / "inner.tif"),
        lambda r: uri(r / "links/secret.tif"),
        lambda r: uri(r / "bad.zarr"),
        lambda r: uri(r / "pipe.tif"),
        lambda r: f"file://host{r}/a.zarr",
        lambda r: f"{uri(r)}/a.zarr?x=1",
        lambda r: f"{uri(r)}/a.zarr#x",
        lambda r: f"{r}/a.zarr",
        lambda r: f"http://127.0.0.1{r}/a.zarr",
        lambda r: "s3://bucket/x.tif",
        lambda r: "file:plate 1/x.tif",
        lambda r: "file://[::1/x",
        lambda r: "",
    ],
)
def test_tricks_are_refused(root, make):
    with pytest.raises(ForbiddenError):
        resolve_uri(make(root), [root])


def test_nothing_is_allowed_without_roots(root):
    with pytest.raises(ForbiddenError, match="SPIXGRAPH_ROOTS"):
        resolve_uri(uri(root / "a.zarr"), [])


def test_what_is_not_there_is_missing(root):
    for name in ("gone.tif", "a.zarr/0/c/d", "x" * 5000):
        with pytest.raises(MissingError):
            resolve_uri(uri(root / name), [root])


def test_addresses_below_an_allowed_address(root):
    allowed = [require_remote_root("s3://bucket/images/"), require_remote_root("https://h.org")]
    for address in ("s3://bucket/images/a/b.zarr", "https://h.org/x%20y.zarr"):
        assert resolve_uri(address, [root], allowed) == address


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/images",
        "s3://bucket/images/",
        "s3://bucket/images2/a.zarr",
        "s3://other/images/a.zarr",
        "https://bucket/images/a.zarr",
        "s3://bucket/images/../secret.zarr",
        "s3://bucket/images/./a.zarr",
        "s3://bucket/images//a.zarr",
        "s3://bucket/images/%2e%2E/secret.zarr",
        "s3://bucket/images/a%2Fb.zarr",
        "s3://bucket/images/a%00.zarr",
        "s3://bucket/images/a\\..\\b.zarr",
        "s3://bucket/images/a.zarr?versionId=1",
        "s3://bucket/images/a.zarr#x",
        "s3://me@bucket/images/a.zarr",
        "s3://bucket/images/\u00e4.zarr",
        "s3://bucket/images/a\n.zarr",
        "S3://bucket/images/a.zarr",
        "s3://[::1/images/a.zarr",
        "ftp://bucket/images/a.zarr",
        "file+s3://bucket/images/a.zarr",
    ],
)
def test_tricks_with_addresses_are_refused(root, address):
    with pytest.raises(ForbiddenError):
        resolve_uri(address, [root], ["s3://bucket/images"])


@pytest.mark.parametrize("text", ["bucket/images", "ftp://h/x", "s3://", "s3://b/../x", "s3://[::"])
def test_a_root_that_is_no_address_is_an_error(text):
    with pytest.raises(InputError):
        require_remote_root(text)
