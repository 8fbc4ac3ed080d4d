"""The commands `spixgraph data check` and `spixgraph data phantom`."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from spixgraph.cli import main
from spixgraph.cli.data import data
from spixgraph.errors import InputError


def invoke(*arguments):
    result = CliRunner().invoke(data, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "phantom"
    told = invoke("phantom", out, "--size", "96x128", "--images", "5", "--seed", "2")
    assert f"spixgraph data check {out} --classes background,colony" in told
    return out


def test_check_prints_tables(phantom):
    told = invoke("check", phantom, "--classes", "background,colony")
    for part in ("5 images, 2D, 1 channel(s), 0.06 megapixels; pixel size 0.65 um", "train",
                 "colony", "sha256"):  # fmt: skip
        assert part in told


def test_check_prints_json(phantom):
    told = json.loads(invoke("check", phantom, "--json"))
    assert told["n_dims"] == 2
    assert told["class_names"] == ["class_0", "class_1"]
    assert sum(told["class_pixels"]) == 5 * 96 * 128
    assert told["rows"][0]["id"] == "colonies_000"
    assert invoke("check", phantom, "--json") == invoke("check", phantom, "--json")


def test_where(phantom):
    with pytest.raises(InputError, match="split train has no image"):
        invoke("check", phantom, "--where", "split=val")
    for where in ("split", "=train", "split=train --where split=val"):
        with pytest.raises(InputError, match="must be COLUMN=VALUE, each column once"):
            invoke("check", phantom, "--where", *where.split(" "))


def test_shared_groups(phantom, tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(phantom / folder)
    text = (phantom / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_text(text.replace("colonies_001,val", "colonies_000,val"))
    with pytest.raises(InputError, match="group colonies_000 is in train and val"):
        invoke("check", tmp_path)
    told = invoke("check", tmp_path, "--allow-shared-groups")
    assert "warning: group colonies_000 is in train and val" in told


def test_faults_are_an_exit_status(phantom, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", str(phantom), "--classes", "background"])
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: data set phantom has")
    assert "class ids [1], but 1 classes are declared" in told
    assert "Traceback" not in told


def test_a_truncated_file_is_told_in_one_line(tmp_path):
    invoke("phantom", tmp_path / "a", "--kind", "nuclei3d", "--size", "6x60x70", "--images", 3)
    path = tmp_path / "a" / "images" / "nuclei3d_000.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code = f"from spixgraph.cli import main; main(['data', 'check', {str(tmp_path / 'a')!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first == "error: data set a has 1 fault(s):"
    assert len(rest) == 1
    assert "nuclei3d_000.tif cannot be read" in rest[0]


def test_phantom_in_3d(tmp_path):
    invoke("phantom", tmp_path / "a", "--kind", "nuclei3d", "--size", "6x60x70", "--images", 3)
    told = invoke("check", tmp_path / "a")
    assert "3 images, 3D" in told


@pytest.mark.parametrize("size", ["100", "axb", "1x2x3x4", "-1x5", "3x"])
def test_bad_size(tmp_path, size):
    with pytest.raises(InputError, match="must be YxX or ZxYxX"):
        invoke("phantom", tmp_path / "a", "--size", size)


def test_help_teaches():
    assert "spixgraph data check phantom --classes background,colony" in invoke("check", "--help")
    assert "--kind nuclei3d --size 64x512x512" in invoke("phantom", "--help")
