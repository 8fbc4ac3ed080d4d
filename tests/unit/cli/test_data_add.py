import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from spixgraph.cli import main
from spixgraph.cli.data_add import add_images
from spixgraph.errors import InputError
from spixgraph.io.dataset import load_dataset


def write_pair(folder, name, seed, classes=2, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    for kind, top in (("images", 255), ("masks", classes)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, top, shape).astype(np.uint8)
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    rows = [("a", "g1", "train"), ("b", "g2", "val"), ("c", "g3", "test")]
    for seed, (name, _, _) in enumerate(rows):
        write_pair(root, name, seed)
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "image", "mask", "group", "split", "day"])
        for name, group, split in rows:
            writer.writerow([name, f"images/{name}.png", f"masks/{name}.png", group, split, "mon"])
    return root


@pytest.fixture
def new(tmp_path):
    root = tmp_path / "new"
    for seed, name in enumerate(("n1", "n2", "n3")):
        write_pair(root, name, 10 + seed)
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "image", "mask", "group", "pixel_size_um", "lens"])
        for name, group in (("n1", "g3"), ("n2", "g8"), ("n3", "g8")):
            writer.writerow([name, f"images/{name}.png", f"masks/{name}.png", group, "0.5", "40x"])
    return root


def rows_of(root):
    with (root / "manifest.csv").open(newline="") as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}


def snapshot(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_new_groups_go_to_train_and_known_ones_stay_on_their_side(data, new):
    done = add_images(data, new, split_by_group=False, seed=0)
    assert {item.id: item.split for item in done.items} == {
        "n1": "test", "n2": "train", "n3": "train"
    }  # fmt: skip
    rows = rows_of(data)
    assert list(rows) == ["a", "b", "c", "n1", "n2", "n3"]
    assert rows["a"]["day"] == "mon"
    assert rows["n1"]["day"] == ""
    assert rows["n1"]["pixel_size_um"] == "0.5 0.5 0.5"
    _, report = load_dataset(data)
    assert len(report.rows) == 6


def test_twice_is_once(data, new):
    add_images(data, new, split_by_group=True, seed=0)
    before = snapshot(data)
    done = add_images(data, new, split_by_group=True, seed=0)
    assert (done.items, done.n_known) == ((), 3)
    assert snapshot(data) == before


def test_groups_are_spread_by_their_name_alone(data, tmp_path):
    sides = []
    for order in ((*range(40),), (*range(39, -1, -1),)):
        copy = tmp_path / str(order[0])
        shutil.copytree(data, copy)
        for number in order:
            part = tmp_path / f"{order[0]}-{number}"
            write_pair(part, f"x{number:02}", 100 + number, shape=(4, 4))
            add_images(copy, part, split_by_group=True, seed=1)
        sides.append({name: row["split"] for name, row in rows_of(copy).items()})
    assert sides[0] == sides[1]
    counts = [list(sides[0].values()).count(split) for split in ("train", "val", "test")]
    assert counts[0] > 15
    assert min(counts) >= 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda new: write_pair(new, "n1", 10, classes=1, shape=(9, 9)), "n1"),
        (lambda new: shutil.copy(new / "images/n1.png", new / "images/n2.png"), "equal pixels"),
        (lambda new: (new / "masks/n3.png").write_bytes(b"no"), "n3"),
        (
            lambda new: Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(
                new / "images/n1.png"
            ),
            "mixed channel counts",
        ),
    ],
)
def test_what_would_spoil_the_data_set_changes_nothing(data, new, spoil, message):
    before = snapshot(data)
    spoil(new)
    if message == "n1":
        write_pair(new, "n1", 10)
        (new / "masks/n1.png").unlink()
    with pytest.raises(InputError, match=message):
        add_images(data, new, split_by_group=False, seed=0)
    assert snapshot(data) == before


def test_an_id_that_is_taken(data, new):
    before = snapshot(data)
    (new / "images").mkdir(exist_ok=True)
    text = (new / "manifest.csv").read_text().replace("n1,images", "a,images")
    (new / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match="id a is taken by another image"):
        add_images(data, new, split_by_group=False, seed=0)
    assert snapshot(data) == before


def test_what_a_killed_call_left_is_taken_up(data, new):
    shutil.copy(new / "images/n1.png", data / "images/n1.png")
    assert len(add_images(data, new, split_by_group=False, seed=0).items) == 3
    (data / "images/other.png").write_bytes(b"mine")


def test_a_manifest_with_splits_is_needed(data, new):
    (data / "manifest.csv").write_text("id,image,mask,group\n")
    with pytest.raises(InputError, match="no column split"):
        add_images(data, new, split_by_group=False, seed=0)
    (data / "manifest.csv").unlink()
    with pytest.raises(InputError, match=r"no manifest\.csv to add to"):
        add_images(data, new, split_by_group=False, seed=0)


def test_what_a_stage_makes_is_refused_and_what_dvc_tracks_is_to_be_added(
    data, new, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages: {phantom: {cmd: x, outs: [{path: data, md5: a.dir}]}}")

    def add(status):
        with pytest.raises(SystemExit) as end:
            main(["data", "add", "data", str(new)])
        printed = capsys.readouterr()
        assert end.value.code == status, printed.err
        return printed.out + printed.err

    before = (data / "manifest.csv").read_bytes()
    assert "data is made by the stage phantom" in add(1)
    assert (data / "manifest.csv").read_bytes() == before
    lock.write_text("stages: {phantom: {cmd: x, outs: [{path: other, md5: a.dir}]}}")
    (tmp_path / "data.dvc").touch()
    assert add(0).endswith("next: dvc add data && dvc repro\n")
