"""Tables of a graph on disk, read by position, against Zarr."""

import numpy as np
import pytest
import zarr

from spixgraph.errors import StoredDataError
from spixgraph.graph.partitions import take_rows
from spixgraph.graph.stored_rows import StoredRows


def stored(path, values, *, compressors=None, chunks=(300, 7)):
    array = zarr.create_array(
        path, shape=values.shape, chunks=chunks, dtype=values.dtype, compressors=compressors
    )
    array[:] = values
    return path


def test_rows_are_those_of_zarr(tmp_path):
    values = np.random.default_rng(0).normal(size=(1000, 7)).astype(np.float32)
    values[300:600] = 0  # a chunk that Zarr does not write
    rows = StoredRows.of(stored(tmp_path / "x", values))
    assert isinstance(rows, StoredRows)
    assert rows.shape == (1000, 7)
    for begin, end in ((0, 1000), (5, 6), (299, 301), (250, 700), (999, 2000), (40, 40)):
        np.testing.assert_array_equal(rows[begin:end], values[begin:end])
    some = np.array([0, 1, 298, 299, 300, 450, 899, 900, 999])
    np.testing.assert_array_equal(take_rows(rows, some), values[some])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.int64])
@pytest.mark.parametrize("shape", [(1000,), (1000, 4, 3)])
def test_rows_may_have_any_shape_and_type(tmp_path, shape, dtype):
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    rows = StoredRows.of(stored(tmp_path / "x", values, chunks=(300, *shape[1:])))
    assert isinstance(rows, StoredRows)
    found = rows[250:650]
    assert found.dtype == dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, values[250:650])
    np.testing.assert_array_equal(rows[:], values)


@pytest.mark.parametrize("options", [{"compressors": "auto"}, {"chunks": (300, 3)}])
def test_what_is_stored_otherwise_is_left_to_zarr(tmp_path, options):
    values = np.arange(7000, dtype=np.float32).reshape(1000, 7)
    rows = StoredRows.of(stored(tmp_path / "x", values, **options))
    assert not isinstance(rows, StoredRows)
    np.testing.assert_array_equal(rows[200:400], values[200:400])


def test_a_file_that_is_cut_off_is_stored_data_error(tmp_path):
    values = np.ones((1000, 7), np.float32)
    rows = StoredRows.of(stored(tmp_path / "x", values))
    with (tmp_path / "x" / "c" / "0" / "0").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(StoredDataError, match="cut off"):
        rows[0:300]
