"""From file to file: the mask of the driver in memory, whatever the workers and the memory."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.files import sha256_file
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.blocks.plan import N_OCTAVES, N_OCTAVES_VOLUME
from spixgraph.graph.pixel_samples import place_names
from spixgraph.io.images import ArraySource, open_image
from spixgraph.io.masks import read_mask
from spixgraph.predict import stream
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.decoder import class_probabilities
from spixgraph.predict.driver import open_model, segment_source
from spixgraph.predict.outputs import Results, ResultWriter
from spixgraph.predict.painting import outlines_of, uncertainty_of
from spixgraph.predict.stream import segment_to_file
from tests.toy_bundle import BASINS, blob_image, write_toy_bundle

SHAPES = {
    "image": (1, 1100, 1300, 1),
    "channels": (1, 600, 530, 3),
    "stack": (3, 530, 300, 1),
    "volume": (70, 80, 150, 1),
}


def source_of(kind) -> ArraySource:
    """Blobs in noise, of uneven shapes."""
    z, y, x, c = SHAPES[kind]
    rng = np.random.default_rng(3)
    blob = blob_image(max(y, x), channels=c).read(*(slice(None),) * 3)[:, :y, :x]
    noise = rng.integers(0, 12, (z, y, x, c))
    size = (1.0, 1.0, 1.0) if kind == "volume" else (9.0, 0.5, 0.5)
    return ArraySource((blob.astype(int) + noise).clip(0, 255).astype(np.uint8), size)


def model_of(path, kind, *, decoder, n_hidden=0):
    source = source_of(kind)
    is_volume = kind == "volume"
    n_octaves = N_OCTAVES_VOLUME if is_volume else N_OCTAVES
    maps = pixel_map_names(SHAPES[kind][3], n_octaves, is_volume=is_volume)
    columns = (*maps, *place_names(is_volume=is_volume)) if decoder else ()
    options = {"source": source, "recipe": BASINS, "scaled_per_image": decoder}
    bundle = load_bundle(write_toy_bundle(path, decoder=columns, n_hidden=n_hidden, **options))
    return source, open_model(bundle, device="cpu", threads=1)


@pytest.fixture(scope="module", params=["superpixels", "pixels"])
def scene(request, tmp_path_factory):
    """An image of 15 blocks and its model, without and with a decoder."""
    path = tmp_path_factory.mktemp("b") / "bundle"
    decoder = request.param == "pixels"
    return model_of(path, "image", decoder=decoder, n_hidden=5 * decoder)


@pytest.mark.parametrize(("decoder", "n_hidden"), [(False, 0), (True, 0), (True, 6)])
@pytest.mark.parametrize("kind", SHAPES)
def test_mask_is_that_of_the_driver(tmp_path, kind, decoder, n_hidden):
    source, model = model_of(tmp_path / "b", kind, decoder=decoder, n_hidden=n_hidden)
    found = segment_source(source, model)
    done = segment_to_file(source, model, tmp_path / "m.tif", workers=2)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), found.mask)
    assert set(np.unique(found.mask)) == {0, 1}
    assert done.n_regions == len(found.logits)
    assert done.n_pixels == {k: int((found.mask == k).sum()) for k in (0, 1)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "m.tif"]
    if decoder:  # pixels of one superpixel differ
        ids = model.class_ids[found.logits.argmax(1)][found.labels]
        assert (ids != found.mask).mean() > 0.01


def test_bytes_do_not_depend_on_workers_or_parts(tmp_path, scene, monkeypatch):
    source, model = scene
    hashes = set()
    for workers, nodes in ((1, 65_536), (2, 65_536), (3, 1500)):
        monkeypatch.setattr("spixgraph.predict.contract.PART_NODES", nodes)
        out = tmp_path / f"m{workers}.tif"
        done = segment_to_file(source, model, out, workers=workers)
        assert done.plan.max_nodes == nodes
        assert nodes > done.n_regions or nodes < done.n_regions / 2
        hashes.add(sha256_file(out))
    assert len(hashes) == 1


def test_layers_are_those_of_the_segmentation_in_memory(tmp_path, scene):
    source, model = scene
    out, shares = tmp_path / "m.tif", tmp_path / "p.tif"
    doubt, lines = tmp_path / "u.tif", tmp_path / "o.tif"
    segment_to_file(source, model, Results(out, shares, doubt, lines), workers=2)
    stored = tifffile.imread(shares).astype(int)
    assert stored.shape == (2, 1100, 1300)
    assert np.abs(stored.sum(0) - 255).max() <= 1
    mask, clear = read_mask(out)[0], stored[0] != stored[1]
    np.testing.assert_array_equal(stored.argmax(0)[clear], mask[clear])
    found = segment_source(source, model, shares=True)
    assert found.shares is not None
    np.testing.assert_array_equal(found.shares[:, 0], stored)
    np.testing.assert_array_equal(tifffile.imread(doubt), uncertainty_of(found.shares)[0])
    np.testing.assert_array_equal(tifffile.imread(lines), outlines_of(found.labels)[0])
    if model.pixel_scaling is None:
        wanted = np.rint(255 * class_probabilities(found.logits)[found.labels[0]])
        np.testing.assert_array_equal(np.moveaxis(stored, 0, -1), wanted)


def test_temperature_changes_probabilities_alone(tmp_path, scene):
    source, model = scene
    stored = {}
    for temperature in (1.0, 3.0):
        cooled = dataclasses.replace(model, temperature=temperature)
        found = segment_source(source, cooled, shares=True)
        segment_to_file(source, cooled, Results(tmp_path / "m.tif", tmp_path / "p.tif"))
        assert found.shares is not None
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), found.mask)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "p.tif"), found.shares[:, 0])
        stored[temperature] = found, found.shares.max(0).mean()
    (hot, sure_of_hot), (cold, sure_of_cold) = stored[3.0], stored[1.0]
    np.testing.assert_array_equal(hot.mask, cold.mask)
    assert sure_of_hot < sure_of_cold - 1
    np.testing.assert_allclose(hot.logits * 3, cold.logits, rtol=1e-6)


def test_a_region_of_interest_is_that_of_its_pixels(tmp_path, scene):
    source, model = scene
    roi = (slice(0, 1), slice(256, 1100), slice(0, 768))
    done = segment_to_file(source, model, tmp_path / "m.tif", roi=roi)
    assert done.shape_zyx == read_mask(tmp_path / "m.tif").shape == (1, 844, 768)


class Stop(Exception):
    """The power is cut."""


def stopping(monkeypatch, target, after):
    """Let a function of `stream` fail at its call number `after`."""
    real = getattr(stream, target)
    calls: list[None] = []

    def wrapped(*args, **kwargs):
        calls.append(None)
        if len(calls) > after:
            raise Stop
        return real(*args, **kwargs)

    monkeypatch.setattr(stream, target, wrapped)


@pytest.mark.parametrize("where", ["network", "first band", "last band", "finish"])
def test_a_stopped_run_goes_on(tmp_path, scene, monkeypatch, where):
    source, model = scene
    out = tmp_path / "m.tif"
    segment_to_file(source, model, out)
    wanted = sha256_file(out)
    out.unlink()
    with monkeypatch.context() as patch:
        if where == "network":
            stopping(patch, "run_network", 0)
        elif where == "finish":
            patch.setattr(ResultWriter, "finish", lambda self: (_ for _ in ()).throw(Stop))
        else:
            write, done = ResultWriter.write, []

            def limited(self, band, painted, pool):
                done.append(band)
                if len(done) > (0 if where == "first band" else 2):
                    raise Stop
                return write(self, band, painted, pool)

            patch.setattr(ResultWriter, "write", limited)
        with pytest.raises(Stop):
            segment_to_file(source, model, out)
    assert not out.exists()
    with pytest.raises(InputError, match=r"m\.tif\.part is of a run that was stopped.*--resume"):
        segment_to_file(source, model, out)
    steps = []
    if where != "network":
        stopping(monkeypatch, "run_network", 0)  # it is not run again
    stopping(monkeypatch, "stream_graph", 0)
    segment_to_file(source, model, out, resume=True, progress=lambda s, n: steps.append((s, n)))
    assert sha256_file(out) == wanted
    for step in ("graph", "network", "mask"):
        assert sum(n for s, n in steps if s == step) == pytest.approx(1100 * 1300, abs=5)
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"]


def test_resume_is_of_the_same_run(tmp_path, scene, monkeypatch):
    source, model = scene
    stopping(monkeypatch, "run_network", 0)
    with pytest.raises(Stop):
        segment_to_file(source, model, tmp_path / "m.tif")
    pixels = source.read(*(slice(None),) * 3)
    other = ArraySource(255 - pixels, (9.0, 0.5, 0.5))
    with pytest.raises(InputError, match="of another image, model or region"):
        segment_to_file(other, model, tmp_path / "m.tif", resume=True)


def test_what_was_begun_in_vain_is_removed(tmp_path, scene):
    source, model = scene

    class Failing(ArraySource):
        def read(self, z, y, x):
            if y.start > 600:
                raise StoredDataError("the file is cut off")
            return super().read(z, y, x)

    failing = Failing(source.read(*(slice(None),) * 3), (9.0, 0.5, 0.5))
    with pytest.raises(StoredDataError, match="cut off"):
        segment_to_file(failing, model, tmp_path / "m.tif")
    assert not list(tmp_path.iterdir())


def test_full_disk_is_one_line(tmp_path, scene, monkeypatch):
    source, model = scene

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream, "run_network", full)
    with pytest.raises(ResourceError, match=r"No space.*make room; .*--resume"):
        segment_to_file(source, model, tmp_path / "m.tif")


def test_other_pixel_features_are_refused(tmp_path):
    source, model = model_of(tmp_path / "b", "channels", decoder=True)
    scaling = model.pixel_scaling
    assert scaling is not None
    names = ("old", *scaling.names[1:])
    other = dataclasses.replace(model, pixel_scaling=dataclasses.replace(scaling, names=names))
    for run in (segment_source, lambda s, m: segment_to_file(s, m, tmp_path / "m.tif")):
        with pytest.raises(StoredDataError, match=r"pixel features.*trained on"):
            run(source, other)


def test_each_pixel_is_read_once_and_once_more_to_decode(tmp_path, scene):
    _, model = scene
    source = source_of("image")
    path = tmp_path / "i.tif"
    tifffile.imwrite(path, source.read(*(slice(None),) * 3)[0, ..., 0])
    counts = np.zeros((1100, 1300), int)
    with open_image(path, pixel_size_um=(9.0, 0.5, 0.5)) as lazy:
        read = lazy.read

        def counting(z, y, x):
            counts[y, x] += 1
            return read(z, y, x)

        lazy.read = counting  # type: ignore[method-assign]  # a counting reader
        segment_to_file(lazy, model, tmp_path / "m.tif")
    corners = 3  # of 64 pixels, to know the image again
    assert counts.max() <= 2 + (model.pixel_scaling is not None) + corners
    assert np.median(counts) == 1 + (model.pixel_scaling is not None)


def test_streaming_needs_no_torch(tmp_path):
    model_of(tmp_path / "b", "stack", decoder=True)
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['mlflow'] = None\n"
        "from spixgraph.cli import main; main(['segment', '--help'])\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
