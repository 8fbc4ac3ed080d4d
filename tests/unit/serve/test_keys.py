import stat

import pytest

from spixgraph.errors import InputError, StoredDataError
from spixgraph.serve.keys import add_key, load_keys


def test_key_is_known_and_its_text_is_nowhere(tmp_path):
    path = tmp_path / "keys"
    anna, bert = add_key(path, "anna"), add_key(path, "bert")
    keys = load_keys(path)
    assert (keys.name_of(anna), keys.name_of(bert)) == ("anna", "bert")
    assert anna not in path.read_text()
    assert len(anna) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["", "x", "\udcff", "a" * 10_000])
def test_other_keys_are_not_known(tmp_path, key):
    add_key(tmp_path / "keys", "anna")
    assert load_keys(tmp_path / "keys").name_of(key) is None


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "x" * 65])
def test_bad_name(tmp_path, name):
    with pytest.raises(InputError, match="must be letters"):
        add_key(tmp_path / "keys", name)


def test_taken_name(tmp_path):
    add_key(tmp_path / "keys", "anna")
    with pytest.raises(InputError, match="has a key anna already"):
        add_key(tmp_path / "keys", "anna")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "anna:secret\n", f"anna:{'0' * 64}\nanna:{'1' * 64}\n", "anna\n"]
)
def test_broken_file(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(StoredDataError, match="must hold lines name:sha256"):
        load_keys(tmp_path / "keys")
