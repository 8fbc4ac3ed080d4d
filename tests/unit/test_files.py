"""What has its final name is on the disk itself: each file is synced before, each folder after."""

import os

import numpy as np
import pytest

from spixgraph.files import atomic_path, sync_tree
from spixgraph.graph.stream import stream_graph
from spixgraph.io.images import ArraySource


@pytest.fixture
def synced(monkeypatch):
    """Inodes in the order in which they were synced, for real."""
    inodes, real = [], os.fsync

    def fsync(handle):
        inodes.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


def _inodes(folder):
    return {p.stat().st_ino for p in [folder, *folder.rglob("*")]}


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, synced):
    with atomic_path(tmp_path / "a.txt") as part:
        part.write_text("a")
        assert synced == []
    assert synced == [(tmp_path / "a.txt").stat().st_ino, tmp_path.stat().st_ino]


def test_a_folder_is_synced_with_all_that_is_in_it(tmp_path, synced):
    with atomic_path(tmp_path / "out") as part:
        (part / "deep").mkdir(parents=True)
        for i in range(20):
            (part / "deep" / str(i)).write_bytes(b"1")
        (part / "link").symlink_to("nowhere")
    assert synced[-1] == tmp_path.stat().st_ino
    inodes = {p.lstat().st_ino for p in (tmp_path / "out").rglob("*") if not p.is_symlink()}
    assert set(synced[:-1]) == inodes | {(tmp_path / "out").stat().st_ino}


def test_what_fails_is_not_synced(tmp_path, synced):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.txt") as part:
        part.write_text(str(1 / 0))
    assert synced == []


def test_an_error_of_the_disk_is_raised(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(5, "input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="input/output"), atomic_path(tmp_path / "a.txt") as part:
        part.write_text("a")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_sync_will_do(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(22, "invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    sync_tree(tmp_path)


def test_a_graph_is_synced_before_it_gets_its_name(tmp_path, synced):
    pixels = np.random.default_rng(0).integers(0, 255, (1, 40, 50, 1)).astype(np.uint8)
    stream_graph(ArraySource(pixels), tmp_path / "g", nodes_per_megapixel=3000)
    assert _inodes(tmp_path / "g") <= set(synced)
    assert synced[-1] == tmp_path.stat().st_ino
