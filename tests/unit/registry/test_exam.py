"""The exam on real images, and the whole lifecycle from the command line."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spixgraph.cli import main
from spixgraph.cli import model as model_commands
from spixgraph.config.params import load_params
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import confusion
from spixgraph.io.dataset import load_splits
from spixgraph.io.images import open_image
from spixgraph.io.masks import read_mask
from spixgraph.predict.bundle import bundle_sha256, load_bundle
from spixgraph.predict.driver import segment_source
from spixgraph.registry.exam import TestImage, sit_exam
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import prepare
from spixgraph.stages.run import Run
from tests.toy_bundle import blob_image, write_toy_bundle
from tests.unit.registry.exams import PASSED

ALL = slice(None)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three images of discs, one per split, with a threshold as truth."""
    root = tmp_path_factory.mktemp("data")
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "image", "mask", "group", "split"])
        for seed, split in enumerate(("train", "val", "test", "test")):
            pixels = blob_image(seed=seed).read(ALL, ALL, ALL)[0, ..., 0]
            Image.fromarray(pixels).save(root / f"images/{seed}.png")
            Image.fromarray((pixels > 110).astype(np.uint8)).save(root / f"masks/{seed}.png")
            writer.writerow([seed, f"images/{seed}.png", f"masks/{seed}.png", seed, split])
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle")


def images(data: Path) -> list[TestImage]:
    return [TestImage(i, data / f"images/{i}.png", data / f"masks/{i}.png") for i in ("2", "3")]


def test_exam_counts_what_a_segmentation_gives(data, bundle):
    exam = sit_exam(bundle, images(data))
    assert exam.ids == ("2", "3")
    assert exam.classes == ("background", "cell")
    assert exam.megapixels == pytest.approx(2 * 48 * 48 / 1e6)
    assert exam.seconds > 0
    assert exam.predicted_bytes > exam.measured_bytes >= 0
    for counts, item in zip(exam.confusions, images(data), strict=True):
        with open_image(item.image) as source:
            mask = segment_source(source, load_bundle(bundle)).mask
        np.testing.assert_array_equal(counts, confusion(read_mask(item.mask), mask, n_classes=2))


def test_hash_of_the_test_split_is_of_its_pixels_and_truth(data, bundle, tmp_path):
    one = sit_exam(bundle, images(data)).test_sha256
    assert sit_exam(bundle, images(data)[::-1]).test_sha256 == one
    changed = tmp_path / "mask.png"
    truth = np.asarray(Image.open(data / "masks/3.png")).copy()
    truth[0, 0] ^= 1
    Image.fromarray(truth).save(changed)
    other = [images(data)[0], TestImage("3", data / "images/3.png", changed)]
    assert sit_exam(bundle, other).test_sha256 != one


def test_a_part_of_an_image_is_judged_as_an_image_of_its_own(data, bundle, tmp_path):
    rows, columns = slice(16, 48), slice(0, 40)
    whole = images(data)[0]
    paths = {kind: tmp_path / f"{kind}.png" for kind in ("image", "mask")}
    for kind, path in paths.items():
        Image.fromarray(np.asarray(Image.open(getattr(whole, kind)))[rows, columns]).save(path)
    cut = sit_exam(bundle, [replace(whole, part=(16, 48, 0, 40))])
    own = sit_exam(bundle, [replace(whole, **paths)])
    np.testing.assert_array_equal(cut.confusions, own.confusions)
    assert cut.test_sha256 == own.test_sha256
    assert cut.megapixels == pytest.approx(32 * 40 / 1e6)


@pytest.mark.parametrize(("n_images", "n_excluded"), [(1, 0), (2, 0), (5, 0), (5, 1)])
def test_the_exam_has_the_test_split_that_training_left_out(
    tmp_path, monkeypatch, n_images, n_excluded
):
    root = tmp_path / "cells"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for seed in range(n_images):
        pixels = blob_image(160, seed=seed).read(ALL, ALL, ALL)[0, ..., 0]
        Image.fromarray(pixels).save(root / f"images/{seed}.png")
        Image.fromarray((pixels > 110).astype(np.uint8)).save(root / f"masks/{seed}.png")
    first = [item.id for item in load_splits(root, rng=np.random.default_rng(3)).split("test")]
    settings = {"source": "cells", "seed": 3, "exclude": {"test": first[:n_excluded]}}
    (tmp_path / "params.yaml").write_text(json.dumps({"prepare": settings}))
    monkeypatch.chdir(tmp_path)
    prepared = prepare(Run(Layout(tmp_path), root, load_params(tmp_path / "params.yaml")))
    wanted = {(item.id, item.part) for item in prepared.split("test")}
    for dataset in (None, root, Path("cells")):
        found = model_commands.test_images(dataset)
        assert {(item.id, item.part) for item in found} == wanted
        assert all(item.image.is_file() and item.mask.is_file() for item in found)
    assert (n_images == 1) == any(part for _, part in wanted)


def test_no_images_no_exam(bundle):
    with pytest.raises(InputError, match="test split is empty"):
        sit_exam(bundle, [])


def test_lifecycle_on_the_command_line(data, tmp_path, capsys):
    name = "spixgraph-lifecycle"

    def run(*args, status=0):
        with pytest.raises(SystemExit) as end:
            main(["model", *map(str, args)])
        printed = capsys.readouterr()
        assert end.value.code == status, printed.err
        return printed.err if status else printed.out

    bundles = [write_toy_bundle(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    for bundle in bundles:
        proof = tmp_path / f"{bundle.name}.json"
        proof.write_text(json.dumps({"bundle_sha256": bundle_sha256(bundle), **PASSED}))
    register = ("register", bundles[0], "--name", name, "--verification", tmp_path / "0.json")
    assert run(*register) == f"{name} version 1 (candidate)\n"
    promote = ("promote", name, "--data", data)
    said = run(*promote, "--version", 1)
    assert "ok    parity: ONNX differs" in said
    assert said.endswith("version 1 is the champion, through the gate\n")
    assert "already" in run(*promote, "--version", 1)
    run("register", bundles[1], "--name", name)
    assert "--force and --why" in run(*promote, "--version", 2, "--force", status=1)
    forced = run(*promote, "--version", 2, "--force", "--why", "to see it")
    assert "FAULT parity" in forced
    assert forced.endswith("by force\n")
    shown = run("show", f"{name}@champion")
    for text in ("version 2", bundle_sha256(bundles[1]), "to see it", "gate.verdict", "not known"):
        assert text in shown
    value = json.loads(run("show", f"{name}@1", "--json"))
    assert value["aliases"] == ["previous"]
    assert value["tags"]["gate.verdict"] == "passed"
    assert value["restore"] == []
    assert run("rollback", name) == f"{name} version 1 is the champion again\n"
    rows = [row for row in json.loads(run("list", "--json")) if row["name"] == name]
    assert [(r["version"], r["aliases"]) for r in rows] == [(1, ["champion"]), (2, ["candidate"])]
    run("fetch", f"{name}@champion", tmp_path / "out")
    assert bundle_sha256(tmp_path / "out") == bundle_sha256(bundles[0])
