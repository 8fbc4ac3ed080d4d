from pathlib import Path

import pytest

from spixgraph.files import code_sha256
from spixgraph.stages.reuse import keep_or_make


class Maker:
    """Writes the name, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, name: str, path: Path) -> None:
        self.made.append(name)
        path.write_text(name)


def test_only_new_and_changed_outputs_are_made(tmp_path: Path):
    first, second = Maker(), Maker()
    keep_or_make(tmp_path, {"a": 1, "b": 1}, first, suffix=".txt")
    keep_or_make(tmp_path, {"a": 1, "b": 2, "c": 1}, second, suffix=".txt")
    assert first.made == ["a", "b"]
    assert second.made == ["b", "c"]


def test_outputs_of_images_that_are_gone_are_removed(tmp_path: Path):
    keep_or_make(tmp_path, {"a": 1, "b": 1}, Maker(), suffix=".txt")
    keep_or_make(tmp_path, {"b": 1}, Maker(), suffix=".txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.txt", "index.json"]


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path):
    class Stops(Maker):
        def __call__(self, name: str, path: Path) -> None:
            if name == "b":
                raise KeyboardInterrupt
            super().__call__(name, path)

    wanted = {"a": 1, "b": 1}
    with pytest.raises(KeyboardInterrupt):
        keep_or_make(tmp_path, wanted, Stops(), suffix=".txt")
    again = Maker()
    keep_or_make(tmp_path, wanted, again, suffix=".txt")
    assert again.made == ["b"]


def test_a_lost_output_is_made_again(tmp_path: Path):
    keep_or_make(tmp_path, {"a": 1}, Maker(), suffix=".txt")
    (tmp_path / "a.txt").unlink()
    again = Maker()
    keep_or_make(tmp_path, {"a": 1}, again, suffix=".txt")
    assert again.made == ["a"]


def test_code_hash_differs_between_rooms():
    assert code_sha256("io") == code_sha256("io")
    assert len({code_sha256("io"), code_sha256("graph"), code_sha256()}) == 3
    assert code_sha256("io", "predict/card.py") not in {
        code_sha256("io"),
        code_sha256("io", "files.py"),
    }
